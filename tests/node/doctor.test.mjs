import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ConfigurationError, diagnose } from 'intilery'
import { Sandbox } from 'intilery/testing'
import { environment } from './environment.mjs'

const cli = fileURLToPath(new URL('../../node/cli.cjs', import.meta.url))

function doctor(sandbox, args = [], more = {}) {
  return spawnSync(process.execPath, [cli, 'doctor', ...args], { encoding: 'utf8', env: environment(sandbox, more) })
}

test('a well client is told so without an event, and without blocking the event loop', async () => {
  const sandbox = new Sandbox()
  let turns = 0
  const timer = setInterval(() => turns++, 0)
  const checks = await diagnose({
    clientId: 'hea',
    accountId: 'hea',
    brandId: 'HEA',
    authToken: 'sandbox-token',
    endpoint: sandbox.url,
  })
  clearInterval(timer)
  assert.ok(turns > 0)
  const results = Object.fromEntries(checks.map(({ name, result }) => [name, result]))
  assert.equal(results.token, 'ok')
  assert.equal(results.batch, 'ok')
  assert.equal(checks.length, 12)
  assert.deepEqual(
    checks.filter(({ result }) => result === 'failed' || result === 'warning'),
    [],
  )
  assert.equal(sandbox.events().length, 0)
  await sandbox.stop()
})

test('what is missing has the names of this language', async () => {
  const [options] = await diagnose({ clientId: 'hea', authToken: 't' })
  assert.equal(options.result, 'failed')
  assert.equal(options.message, 'accountId and brandId are not given')
  await assert.rejects(diagnose({ endpiont: 'x' }), (error) => {
    assert.ok(error instanceof ConfigurationError)
    assert.match(error.message, /did you mean "endpoint"/)
    return true
  })
})

test('the command says what failed and what to do, and never the token', async () => {
  const sandbox = new Sandbox()
  const well = doctor(sandbox)
  assert.equal(well.status, 0, well.stdout)
  assert.match(well.stdout, /A client would deliver\.\n$/)
  assert.ok(!well.stdout.includes('\u001b'))
  const refused = doctor(sandbox, [], { INTILERY_AUTH_TOKEN: 's3cret' })
  assert.equal(refused.status, 1)
  assert.match(refused.stdout, /failed {3}token {13}refused \(status 403/)
  assert.match(refused.stdout, /-> authToken, clientId \(hea\), accountId \(hea\) and brandId \(HEA\) must fit/)
  assert.ok(!refused.stdout.includes('s3cret'))
  await sandbox.stop()
})

test('the command reports in JSON, and ends with 2 for what it cannot read', async () => {
  const sandbox = new Sandbox()
  const report = doctor(sandbox, ['--json', '--endpoint', 'http://127.0.0.1:1'])
  assert.equal(report.status, 1)
  const { ok, checks } = JSON.parse(report.stdout)
  assert.equal(ok, false)
  assert.equal(checks.find(({ name }) => name === 'connection').result, 'failed')
  const unreadable = doctor(sandbox, ['--json'], { INTILERY_FLUSH_AT: 'many' })
  assert.equal(unreadable.status, 2)
  assert.equal(JSON.parse(unreadable.stdout).code, 'wrong_type')
  const flag = doctor(sandbox, ['--endpiont', 'x'])
  assert.equal(flag.status, 2)
  assert.match(flag.stderr, /^intilery doctor: .*--endpiont/)
  await sandbox.stop()
})
