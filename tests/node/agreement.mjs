// The Node part of tests/python/agreement.py: makes the calls of a file of cases, and writes what became of each.
// Arguments: the file, and "before_send" if one is to look on that changes nothing.
import { readFileSync } from 'node:fs'
import { ValidationError } from 'intilery'
import { Sandbox } from 'intilery/testing'
import { call, camel, decoded } from './vector_calls.mjs'

const [file, beforeSend] = process.argv.slice(2)
if (file !== undefined) {
  const sandbox = new Sandbox({ rateLimit: 0, maxRequestBytes: 100_000_000 })
  const clients = new Map()
  const results = []
  for (const line of readFileSync(file, 'utf8').trimEnd().split('\n')) {
    const test = JSON.parse(line)
    const key = JSON.stringify(test.options)
    if (!clients.has(key)) {
      const options = Object.fromEntries(
        Object.entries(test.options).map(([name, value]) => [camel(name), decoded(value)]),
      )
      if (beforeSend !== undefined) options.beforeSend = (message) => message
      clients.set(key, sandbox.client({ delivery: 'event', ...options }))
    }
    if (!test.languages.includes('node')) {
      results.push({})
      continue
    }
    try {
      results.push({ id: call(clients.get(key), test).messageId })
    } catch (error) {
      if (!(error instanceof ValidationError)) throw error
      results.push({ refused: [error.code, error.path, error.message] })
    }
  }
  for (const client of clients.values()) await client.close()
  const bodies = new Map(sandbox.requests().map(({ body }) => [JSON.parse(body).messageId, body]))
  const told = results.map(({ id, refused }) => JSON.stringify({ wire: bodies.get(id), refused }))
  process.stdout.write(`${told.join('\n')}\n`)
  await sandbox.stop()
}
