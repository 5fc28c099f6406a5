// Runs tests/vectors (see its README) through the public client into the sandbox.
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ValidationError, version } from 'intilery'
import { Sandbox } from 'intilery/testing'

const folder = new URL('../vectors/', import.meta.url)

/** JSON.parse, but `{"$": …}` stays and a number keeps what only its text says. */
function special(given) {
  switch (given.$) {
    case 'nan':
      return Number.NaN
    case 'infinity':
      return Number.POSITIVE_INFINITY
    case '-infinity':
      return Number.NEGATIVE_INFINITY
    case 'integer':
      return BigInt(given.text)
    case 'double':
      return Number(given.text)
    case 'instant':
      return new Date(given.ms)
    case 'invalid_date':
      return new Date(Number.NaN)
    case 'set':
      return new Set([1])
    case 'bytes':
      return Buffer.from('x')
    case 'function':
      return () => {}
    case 'symbol':
      return Symbol('x')
    case 'undefined':
      return undefined
    case 'map':
      return new Map(given.entries.map(([key, value]) => [key, decoded(value)]))
    case 'int_key':
      return new Map([[1, 'x']])
    case 'cycle': {
      const cycle = {}
      cycle.self = cycle
      return cycle
    }
    case 'nested': {
      let nested = []
      for (let i = 1; i < given.levels; ++i) nested = [nested]
      return nested
    }
    case 'surrogate':
      return '\ud800'
    case 'text':
      return given.repeat.repeat(given.times)
    default:
      throw new Error(`no such value: ${given.$}`)
  }
}

function decoded(given) {
  if (Array.isArray(given)) return given.map(decoded)
  if (given === null || typeof given !== 'object') return given
  if ('$' in given) return special(given)
  return Object.fromEntries(Object.entries(given).map(([key, value]) => [key, decoded(value)]))
}

const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase())

function call(client, { call: name, args }) {
  const given = decoded(args)
  return name === 'send' ? client.send(given.message) : client[camel(name)](given)
}

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
