// How programs end. Each test runs a real one.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { Sandbox } from 'intilery/testing'
import { environment, root } from './environment.mjs'

async function run(sandbox, program, ...args) {
  const child = spawn(process.execPath, ['--input-type=module', '-e', program, ...args], {
    cwd: root,
    env: environment(sandbox),
  })
  let out = ''
  let err = ''
  child.stdout.on('data', (data) => {
    out += data
  })
  child.stderr.on('data', (data) => {
    err += data
  })
  const [code, signal] = await once(child, 'close')
  return { code, signal, out, err }
}

const begin = "import { Client } from 'intilery'; const client = Client.fromEnv();"
const many = 'for (let i = 0; i < 2000; ++i) client.track({ userId: "u", event: "E", properties: { i } });'

async function withSandbox(body) {
  const sandbox = new Sandbox()
  try {
    await body(sandbox)
  } finally {
    await sandbox.stop()
  }
}

test('a program that runs out of work stays until its events are through', async () => {
  await withSandbox(async (sandbox) => {
    const ended = await run(sandbox, `${begin} ${many}`)
    assert.deepEqual([ended.code, ended.err], [0, ''])
    assert.equal(sandbox.eventCount(), 2000)
  })
})

test('process.exit sends what is queued', async () => {
  await withSandbox(async (sandbox) => {
    const ended = await run(sandbox, `${begin} ${many} process.exit(3)`)
    assert.deepEqual([ended.code, ended.err], [3, ''])
    assert.equal(sandbox.eventCount(), 2000)
  })
})

test('an uncaught exception loses nothing', async () => {
  await withSandbox(async (sandbox) => {
    const ended = await run(sandbox, `${begin} ${many} throw new Error('mine')`)
    assert.equal(ended.code, 1)
    assert.equal(sandbox.eventCount(), 2000)
  })
})

test('process.exit waits no longer than exitTimeout, and says what is left', async () => {
  await withSandbox(async (sandbox) => {
    sandbox.setFaults({ delay_ms: 20_000 })
    const program =
      "import { Client } from 'intilery'; const client = Client.fromEnv({ exitTimeout: 200 });" +
      'client.track({ userId: "u", event: "E" }); process.exit(0)'
    const started = performance.now()
    const ended = await run(sandbox, program)
    assert.ok(performance.now() - started < 10_000)
    assert.match(ended.err, /1 event/)
    sandbox.setFaults()
  })
})

test('an idle client keeps no program alive and uses no CPU', async () => {
  await withSandbox(async (sandbox) => {
    const ended = await run(
      sandbox,
      `${begin} await client.track({ userId: "u", event: "E" })
       const before = process.cpuUsage()
       await new Promise((resolve) => setTimeout(resolve, 1000))
       const { user, system } = process.cpuUsage(before)
       console.log((user + system) / 1000)`,
    )
    assert.equal(ended.code, 0)
    assert.ok(Number(ended.out) < 30, `${ended.out} ms of CPU in a second`)
  })
})

test('a worker that ends with a client does not crash', async () => {
  await withSandbox(async (sandbox) => {
    const ended = await run(
      sandbox,
      `import { Worker } from 'node:worker_threads'
       const program = "import('intilery').then(({ Client }) => { const client = Client.fromEnv();"
         + "for (let i = 0; i < 100; ++i) client.track({ userId: 'u', event: 'E' }) })"
       for (let i = 0; i < 3; ++i) {
         const worker = new Worker(program, { eval: true })
         await new Promise((resolve) => worker.on('exit', resolve))
       }
       const stopped = new Worker(program, { eval: true })
       await new Promise((resolve) => stopped.on('online', resolve))
       await stopped.terminate()`,
    )
    assert.deepEqual([ended.code, ended.signal], [0, null], ended.err)
    assert.ok(sandbox.eventCount() >= 300)
  })
})
