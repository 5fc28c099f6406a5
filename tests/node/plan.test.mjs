// Tracking plans from Node. tests/vectors/plan.json has the rules.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Client, ConfigurationError, ValidationError } from 'intilery'
import { Sandbox } from 'intilery/testing'

const account = { clientId: 'c', accountId: 'a', brandId: 'B', authToken: 't', dryRun: true }
const plan = {
  version: 1,
  events: {
    'Order Completed': {
      properties: {
        required: ['total'],
        properties: { total: { type: 'number', minimum: 0 }, currency: { enum: ['GBP'] } },
      },
    },
  },
}

test('a rejected event says all that is wrong', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'intilery-'))
  const path = join(folder, 'plan.json')
  writeFileSync(path, JSON.stringify(plan))
  for (const given of [plan, path]) {
    const client = new Client({ ...account, plan: given, planMode: 'reject' })
    assert.throws(
      () => client.track({ userId: 'u', event: 'Order Completed', properties: { currency: 'secret' } }),
      (error) => {
        assert.ok(error instanceof ValidationError)
        assert.deepEqual([error.code, error.path], ['enum', 'properties.currency'])
        assert.deepEqual(error.errors, [
          {
            code: 'enum',
            path: 'properties.currency',
            rule: '/events/Order Completed/properties/properties/currency/enum',
            message: 'properties.currency is none of the 1 value that the plan allows',
          },
          {
            code: 'required',
            path: 'properties.total',
            rule: '/events/Order Completed/properties/required/0',
            message: 'properties.total is required',
          },
        ])
        return true
      },
    )
    await client.close()
  }
  rmSync(folder, { recursive: true })
})

test('warn sends and counts', async () => {
  const sandbox = new Sandbox()
  const lines = []
  const logger = { debug() {}, info() {}, warn: (line) => lines.push(line), error() {} }
  const client = sandbox.client({ plan, logger })
  for (let i = 0; i < 3; ++i) client.track({ userId: 'u', event: 'Order Completed', properties: { total: -1 } })
  await client.close()
  assert.equal(sandbox.events().length, 3)
  assert.deepEqual(client.stats().planViolations, {
    'Order Completed: /events/Order Completed/properties/properties/total/minimum': 3,
  })
  assert.equal(lines.filter((line) => String(line).includes('properties.total must be at least 0')).length, 1)
  await sandbox.stop()
})

test('with onInvalid report the delivery fails, with the errors', async () => {
  const client = new Client({ ...account, plan, planMode: 'reject', onInvalid: 'report' })
  await assert.rejects(client.track({ userId: 'u', event: 'Order Completed' }), (error) => {
    assert.ok(error instanceof ValidationError)
    assert.deepEqual(
      error.errors.map(({ code, path }) => [code, path]),
      [['required', 'properties.total']],
    )
    return true
  })
  await client.close()
})

test('a plan that is wrong is refused when the client is made', () => {
  assert.throws(
    () => new Client({ ...account, plan: { version: 1, traits: { type: 'text' } } }),
    (error) =>
      error instanceof ConfigurationError &&
      error.option === 'plan' &&
      error.code === 'unknown_type' &&
      error.message.includes('/traits/type "text" is no type'),
  )
})
