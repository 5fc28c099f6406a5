import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { MemoryClient, Sandbox, useSandbox } from 'intilery/testing'
import { root } from './environment.mjs'

test('an expectation waits for its event and gives it', async () => {
  const sandbox = new Sandbox({ faults: [{ delay_ms: 50 }] })
  const client = sandbox.client()
  const when = new Date()
  const properties = { revenue: 30.5, when, items: [{ sku: 'a', n: 1 }] }
  const delivery = client.track({ userId: 'ABC/123', event: 'Order Completed', properties })
  const event = await sandbox.expect({ event: 'Order Completed', properties: { when, items: [{ sku: 'a' }] } })
  assert.equal(event.eventId, (await delivery).eventId)
  sandbox.expectNone({ event: 'Login' })
  assert.equal(sandbox.matching({ userId: 'ABC/123', brandId: 'HEA' }).length, 1)
  await client.close()
  await sandbox.stop()
})

test('a missed expectation says what arrived and in what the nearest differs', async () => {
  const sandbox = new Sandbox()
  const client = sandbox.client()
  await client.track({ userId: 'u', event: 'Order Completed', properties: { revenue: 30 } })
  const missed = sandbox.expect({ event: 'Order Completed', properties: { revenue: 30.5 } }, { timeout: 0 })
  await assert.rejects(missed, {
    name: 'AssertionError',
    message: `no event arrived that matches {"event":"Order Completed","properties":{"revenue":30.5}}
1 event arrived:
  1. track "Order Completed" of "u" {"revenue":30}
the nearest is 1:
  properties.revenue: expected 30.5, arrived 30`,
  })
  assert.throws(() => sandbox.expectNone({ userId: 'u' }), /no event should match .*, but 1 event does:/)
  await assert.rejects(sandbox.expect('Order Completed'), /must be an object/)
  await assert.rejects(
    sandbox.expect({ properties: { x: new Set() } }),
    /without a JSON form at properties\.x \(unsupported_type\)/,
  )
  await client.close()
  await sandbox.stop()
})

test("a sandbox's environment brings a program to it", async () => {
  const sandbox = new Sandbox({ brandIds: ['HEB'] })
  const program = `import { Client } from 'intilery'; Client.fromEnv().track({ userId: 'u', event: 'Login' })`
  const env = { ...process.env, ...sandbox.environment() }
  const { status } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { cwd: root, env })
  assert.equal(status, 0)
  await sandbox.expect({ event: 'Login', brandId: 'HEB' })
  await sandbox.stop()
})

test('a client in memory delivers into a list', async () => {
  const client = new MemoryClient()
  const receipt = await client.track({ userId: 'ABC/123', event: 'Login', properties: { n: 1 } })
  assert.equal(receipt.eventId, '00000000-0000-4000-8000-000000000001')
  const [{ context, timestamp, sentAt, ...message }] = client.sent
  const wanted = { action: 'track', userId: 'ABC/123', event: 'Login', properties: { n: 1 } }
  assert.deepEqual(message, { ...wanted, messageId: receipt.messageId })
  client.brand('HEB').page({ userId: 'u' })
  assert.equal((await client.expect({ event: 'page', brandId: 'HEB' })).action, 'page')
  await client.expectNone({ event: 'Logout' })
  await assert.rejects(client.expect({ event: 'Logout' }), /2 events arrived/)
  assert.equal(client.matching({ event: 'Login' }).length, 1)
  client.clear()
  assert.deepEqual(client.sent, [])
  assert.throws(() => client.track({ userId: 'u', event: 'E', properties: { x: Number.NaN } }), {
    path: 'properties.x',
  })
  await client.close()
})

test('a client in memory gets the answers that a test wants', async () => {
  const client = new MemoryClient({ brandId: 'HEB' })
  client.answer(400, { times: 1, body: '{"success": false, "message": "no such shop"}' })
  await assert.rejects(client.track({ userId: 'u', event: 'Login' }), /no such shop/)
  client.answer(503, { times: 2 })
  assert.equal((await client.track({ userId: 'u', event: 'Login' })).attempts, 3)
  assert.throws(() => client.answer(42), /from 200 to 599/)
  assert.throws(() => client.answer('400'), TypeError)
  await client.close()
})

test('a client in memory never sends, whatever the environment says', async () => {
  const sandbox = new Sandbox()
  const before = { ...process.env }
  Object.assign(process.env, sandbox.environment())
  const client = MemoryClient.fromEnv()
  process.env = before
  client.track({ userId: 'u', event: 'Login' })
  await client.expect({ event: 'Login' })
  assert.equal(sandbox.requests().length, 0)
  await client.close()
  await sandbox.stop()
})

test('hooks that are none are refused', () => {
  assert.throws(() => useSandbox({}, {}), /takes the hooks/)
})

// The package as npm installs it, in a project of its own.
const project = mkdtempSync(join(tmpdir(), 'intilery-'))
after(() => rmSync(project, { recursive: true }))
mkdirSync(join(project, 'node_modules', 'intilery'), { recursive: true })
for (const part of ['node', 'build/node', 'package.json']) {
  cpSync(new URL(part, root), join(project, 'node_modules', 'intilery', part), { recursive: true })
}
symlinkSync(fileURLToPath(new URL('node_modules/vitest', root)), join(project, 'node_modules', 'vitest'))
writeFileSync(join(project, 'package.json'), '{"jest": {"testMatch": ["**/*.jest.cjs"]}}')

const tests = (use) => `
  const sandbox = ${use}

  test('its events arrive', async () => {
    sandbox.client().track({ userId: 'u', event: 'Login' })
    await sandbox.expect({ event: 'Login' })
    sandbox.setFaults({ status: 503 })
    sandbox.client().track({ userId: 'u', event: 'Logout' })
  })

  test('the next test finds the sandbox as new', async () => {
    if (sandbox.requests().length > 0) throw new Error('it is not')
    await sandbox.client().track({ userId: 'v', event: 'Viewed' })
    await sandbox.expect({ event: 'Logout' }, { timeout: 0 })
  })
`
const bin = (name) => fileURLToPath(new URL(`node_modules/${name}`, root))
const runners = [
  {
    name: 'node:test',
    file: 'own.test.mjs',
    text: `import { test } from 'node:test'\nimport { useSandbox } from 'intilery/testing'\n${tests('useSandbox()')}`,
    command: ['--test', 'own.test.mjs'],
  },
  {
    name: 'vitest',
    file: 'own.vitest.mjs',
    text: `import { afterAll, afterEach, test } from 'vitest'\nimport { useSandbox } from 'intilery/testing'\n${tests('useSandbox({}, { afterAll, afterEach })')}`,
    command: [bin('vitest/vitest.mjs'), 'run', '--dir', '.', '--root', '.', 'own.vitest'],
    config: ['vitest.config.mjs', `export default { test: { include: ['*.vitest.mjs'] } }`],
  },
  {
    name: 'jest',
    file: 'own.jest.cjs',
    // An expectation waits in real time, whatever a test does to the clock.
    text: `const { useSandbox } = require('intilery/testing')\njest.useFakeTimers()\n${tests('useSandbox()')}`,
    command: [bin('jest/bin/jest.js'), '--no-cache', '--watchman=false'],
  },
]

for (const { name, file, text, command, config } of runners) {
  test(`useSandbox serves ${name}`, () => {
    writeFileSync(join(project, file), text)
    if (config) writeFileSync(join(project, config[0]), config[1])
    const { NODE_TEST_CONTEXT, ...env } = process.env
    const options = { cwd: project, env: { ...env, NO_COLOR: '1' }, encoding: 'utf8', timeout: 120_000 }
    const { stdout, stderr, status } = spawnSync(process.execPath, command, options)
    const said = stdout + stderr
    assert.equal(status, 1, said)
    assert.match(said, /(1 failed.*1 passed|pass 1\n# fail 1|pass 1\nℹ fail 1)/s, said)
    assert.match(said, /no event arrived that matches \{"event":"Logout"\}/, said)
    assert.match(said, /event: expected "Logout", arrived "Viewed"/, said)
  })
}
