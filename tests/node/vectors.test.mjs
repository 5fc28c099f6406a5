// Runs tests/vectors (see its README) through the public client into the sandbox.
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ValidationError, version } from 'intilery'
import { Sandbox } from 'intilery/testing'
import { call, camel, decoded } from './vector_calls.mjs'

const folder = new URL('../vectors/', import.meta.url)

/** @returns {Promise<string | undefined>} what is wrong */
async function mismatch(vector, client, sandbox) {
  let delivery
  try {
    delivery = call(client, vector)
  } catch (error) {
    if (!(error instanceof ValidationError)) return String(error.stack)
    const got = { code: error.code, path: error.path }
    const { code, path } = vector.error ?? {}
    if (got.code === code && got.path === path) return undefined
    return `${JSON.stringify(got)} (${error.message}) instead of ${JSON.stringify(vector.error ?? vector.wire)}`
  }
  await delivery
  let { body } = sandbox.requests().at(-1)
  sandbox.clear()
  if (vector.wire === undefined) return `was accepted as ${body}`
  const wire = vector.wire.replaceAll('{library}', 'intilery-node').replaceAll('{version}', version)
  // Else it is the caller's own.
  if (!wire.includes(',"sentAt":')) body = body.replace(/,"sentAt":"[^"]{24}"}$/, '}')
  return body === wire ? undefined : `\n  ${body}\ninstead of\n  ${wire}`
}

const others = ['faults.json', 'reading.json'] // have tests of their own
for (const file of readdirSync(folder).filter((name) => name.endsWith('.json') && !others.includes(name))) {
  for (const beforeSend of [undefined, (message) => message]) {
    const name = beforeSend === undefined ? 'hold' : 'hold with a beforeSend that changes nothing'
    test(`the vectors of ${file} ${name}`, async () => {
      const vectors = JSON.parse(readFileSync(new URL(file, folder), 'utf8'))
      const sandbox = new Sandbox({ rateLimit: 0, maxRequestBytes: 100_000_000 })
      const clients = new Map()
      const wrong = []
      for (const vector of vectors) {
        if (vector.languages !== undefined && !vector.languages.includes('node')) continue
        const key = JSON.stringify(vector.options ?? {})
        if (!clients.has(key)) {
          const options = Object.entries(vector.options ?? {}).map(([name, value]) => [camel(name), decoded(value)])
          clients.set(key, sandbox.client({ delivery: 'event', beforeSend, ...Object.fromEntries(options) }))
        }
        const told = await mismatch(vector, clients.get(key), sandbox)
        if (told !== undefined) wrong.push(`${vector.name}: ${told}`)
      }
      for (const client of clients.values()) await client.close()
      await sandbox.stop()
      assert.equal(wrong.join('\n'), '')
    })
  }
}

/** A row's request body as rows/ndjson.json writes it. */
function wireOf({ body }) {
  return body
    .replace(/,"sentAt":"[^"]{24}"}$/, '}')
    .replace('intilery-node', '{library}')
    .replace(`"${version}"`, '"{version}"')
}

for (const vector of JSON.parse(readFileSync(new URL('rows/ndjson.json', folder), 'utf8'))) {
  test(`the lines of a file become the events that every language makes: ${vector.name}`, async () => {
    const at = mkdtempSync(join(tmpdir(), 'intilery-'))
    const path = join(at, 'rows.ndjson')
    writeFileSync(path, vector.text)
    const sandbox = new Sandbox({ rateLimit: 0 })
    const client = sandbox.client({ delivery: 'event' })
    const options = Object.entries(vector.options).map(([name, value]) => [camel(name), value])
    const sent = await client.sendMany(path, Object.fromEntries(options))
    let wire = sandbox.requests().map(wireOf)
    if (vector.wire[0].includes('{now}')) {
      wire = wire.map((body) => body.replace(/"timestamp":"[^"]{24}"/, '"timestamp":"{now}"'))
    }
    assert.deepEqual(wire.sort(), vector.wire)
    const lines = sent.rejects === undefined ? [] : readFileSync(sent.rejects, 'utf8').trimEnd().split('\n')
    const rejects = lines.map((line) => JSON.parse(line)).map(({ row, code, path }) => ({ row, code, path }))
    assert.deepEqual(rejects, vector.rejects ?? [])
    await client.close()
    await sandbox.stop()
    rmSync(at, { recursive: true })
  })
}
