import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Sandbox } from 'intilery/testing'

const cli = fileURLToPath(new URL('../../node/cli.cjs', import.meta.url))
const good = { userId: 'u', event: 'E', timestamp: '2019-11-18T13:30:11.444Z' }

function post(url, body, token = 'sandbox-token') {
  return fetch(`${url}/track/hea/hea/HEA/v1/track`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'auth-token': token },
    body: JSON.stringify(body),
  })
}

test('the sandbox answers as the contract says', async () => {
  const sandbox = new Sandbox()
  const answer = await post(sandbox.url, good)
  assert.equal(answer.status, 200)
  assert.equal((await answer.json()).eventId, sandbox.events()[0].eventId)
  assert.equal((await post(sandbox.url, { ...good, userId: '' })).status, 400)
  assert.equal((await post(sandbox.url, good, 'wrong')).status, 403)
  assert.equal(sandbox.requests().length, 3)
  assert.equal(sandbox.requests()[0].headers['auth-token'], '[redacted]')
  await sandbox.stop()
})

test('an option or a fault that makes no sense is named', async () => {
  assert.throws(() => new Sandbox({ ratelimit: 5 }), /did you mean "rateLimit"/)
  assert.throws(() => new Sandbox({ port: '5' }), /port must be a number/)
  assert.throws(() => new Sandbox({ faults: [{ sttus: 503 }] }), /sttus/)
})

test('the command prints its URL first and ends on a signal', async () => {
  const child = spawn(process.execPath, [cli, 'sandbox'], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [first] = await once(child.stdout, 'data')
  const url = String(first).split('\n')[0]
  assert.equal((await post(url, good)).status, 200)
  child.kill('SIGTERM')
  const [code] = await once(child, 'exit')
  assert.equal(code, 0)
})

test('the command explains what it does not know', () => {
  const wrong = spawnSync(process.execPath, [cli, 'sandbx'], { encoding: 'utf8' })
  assert.equal(wrong.status, 2)
  assert.match(wrong.stderr, /there is no command "sandbx"/)
  const option = spawnSync(process.execPath, [cli, 'sandbox', '--prot', '1'], { encoding: 'utf8' })
  assert.equal(option.status, 2)
  assert.match(option.stderr, /--prot/)
})
