/** The examples for frameworks: real servers, real requests; what is queued arrives at the server's end. */
import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { environment, root } from './environment.mjs'
import { users, withSandbox } from './programs.mjs'

const examples = new URL('examples/frameworks/', root)
const tooOld = Number(process.versions.node.split('.')[0]) < 20 && 'Fastify 5 needs Node 20'
const lazy = { INTILERY_DELIVERY: 'batch', INTILERY_FLUSH_INTERVAL: '600' } // nothing leaves but at a flush or the end

function start(sandbox, args, more = {}) {
  const env = environment(sandbox, { ...lazy, PORT: '0', ...more })
  const child = spawn(process.execPath, args, { cwd: fileURLToPath(examples), env })
  let [out, err] = ['', '']
  child.stdout.on('data', (data) => {
    out += data
  })
  child.stderr.on('data', (data) => {
    err += data
  })
  const line = once(createInterface({ input: child.stdout }), 'line').then(([text]) => text)
  const ended = once(child, 'close').then(([code]) => ({ code, out, err }))
  return { child, line, ended }
}

for (const [file, skip] of [
  ['express.mjs', false],
  ['fastify.mjs', tooOld],
]) {
  test(`${file}: orders become events by the server's end`, { skip }, () =>
    withSandbox(async (sandbox) => {
      const { child, line, ended } = start(sandbox, [file])
      const url = await Promise.race([line, ended.then(({ err }) => assert.fail(err))])
      for (let i = 0; i < 5; ++i) {
        const answer = await fetch(`${url}/orders`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ userId: `user-${i}`, total: 30.5 }),
        })
        assert.deepEqual(await answer.json(), { accepted: true })
      }
      assert.equal(sandbox.eventCount(), 0) // no answer waited for it
      child.kill('SIGTERM')
      const { code, err } = await ended
      assert.equal(code, 0, err)
      assert.deepEqual(users(sandbox), Object.fromEntries(Array.from({ length: 5 }, (_, i) => [`user-${i}`, 1])))
      assert.equal(sandbox.events()[0].rawData.properties.total, 30.5)
    }),
  )
}

/** Calls a handler in a process that ends right after it, as hard as a freeze. */
async function call(sandbox, program) {
  const { ended } = start(sandbox, [
    '--input-type=module',
    '-e',
    `${program}\nconsole.log('answered')\nprocess.kill(process.pid, 'SIGKILL')`,
  ])
  const { out, err } = await ended
  assert.equal(out, 'answered\n', err)
}

test('next_route.mjs: the event is sent when the handler answers', () =>
  withSandbox(async (sandbox) => {
    await call(
      sandbox,
      `import assert from 'node:assert/strict'
      import { POST } from './next_route.mjs'
      const body = JSON.stringify({ userId: 'u', total: 30.5 })
      const answer = await POST(new Request('http://127.0.0.1/api/orders', { method: 'POST', body }))
      assert.deepEqual(await answer.json(), { accepted: true })`,
    )
    assert.deepEqual(users(sandbox), { u: 1 })
  }))

const invoke = (milliseconds) => `import { handler } from './lambda_handler.mjs'
const context = { getRemainingTimeInMillis: () => ${milliseconds} }
if ((await handler({ userId: 'u', total: 30.5 }, context)).statusCode !== 200) throw new Error('no answer')`

test('lambda_handler.mjs: the event is sent when the handler returns', () =>
  withSandbox(async (sandbox) => {
    await call(sandbox, invoke(3000))
    assert.deepEqual(users(sandbox), { u: 1 })
  }))

test('lambda_handler.mjs: it returns in time when the server hangs', () =>
  withSandbox(async (sandbox) => {
    sandbox.setFaults({ hang: true })
    const program = `const started = performance.now()
    ${invoke(400)}
    const took = performance.now() - started
    if (took < 150 || took > 5000) throw new Error(String(took))`
    await call(sandbox, program)
  }))
