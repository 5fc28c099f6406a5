// Programs of more than one process, and handlers that live for one request.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ConfigurationError } from 'intilery'
import { root } from './environment.mjs'
import { begin, run, start, users, withSandbox } from './programs.mjs'

const clusterProgram = `
import cluster from 'node:cluster'
import { createServer } from 'node:http'
import { Client } from 'intilery'

const client = Client.fromEnv()
if (cluster.isPrimary) {
  client.track({ userId: 'primary', event: 'Started' })
  let listening = 0
  cluster.on('listening', (_, { port }) => {
    if (++listening === 4) console.log(port)
  })
  for (let i = 0; i < 4; ++i) cluster.fork()
  process.once('SIGTERM', () => {
    for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGTERM')
  })
} else {
  const server = createServer((_, response) => {
    client.track({ userId: 'worker-' + process.pid, event: 'Request' })
    response.end(String(process.pid))
  })
  server.listen(0, '127.0.0.1')
  process.once('SIGTERM', () => {
    server.close(async () => {
      await client.close({ timeout: 10_000 })
      process.exit(0)
    })
    server.closeIdleConnections()
  })
}
`

test('a cluster of four workers loses nothing', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'intilery-cluster-'))
  try {
    mkdirSync(join(folder, 'node_modules'))
    symlinkSync(fileURLToPath(root), join(folder, 'node_modules', 'intilery'))
    writeFileSync(join(folder, 'cluster.mjs'), clusterProgram)
    await withSandbox(async (sandbox) => {
      const program = start(sandbox, undefined, { file: 'cluster.mjs', cwd: folder })
      const port = Number(await program.line())
      const expected = { primary: 1 }
      for (let i = 0; i < 100; ++i) {
        const response = await fetch(`http://127.0.0.1:${port}`, { headers: { connection: 'close' } })
        const user = `worker-${await response.text()}`
        expected[user] = (expected[user] ?? 0) + 1
      }
      program.child.kill('SIGTERM')
      const ended = await program.ended
      assert.deepEqual([ended.code, ended.err], [0, ''])
      assert.equal(Object.keys(expected).length, 5)
      assert.deepEqual(users(sandbox), expected)
    })
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('waitUntil is handed one promise for all that is pending, which never rejects', async () => {
  await withSandbox(async (sandbox) => {
    const promises = []
    const client = sandbox.client({ waitUntil: (promise) => promises.push(promise) })
    const deliveries = [1, 2, 3].map((number) => client.track({ userId: `u-${number}`, event: 'E' }))
    assert.equal(promises.length, 1)
    assert.equal(await promises[0], undefined)
    assert.ok(deliveries.every((delivery) => delivery.done))

    sandbox.setFaults({ status: 400 })
    const refused = client.track({ userId: 'u', event: 'E' }, () => {})
    assert.equal(promises.length, 2)
    assert.equal(await promises[1], undefined)
    assert.ok(refused.done)
    await client.close()
    assert.equal(promises.length, 2)
  })
})

test('a platform that stops the process once the promises are settled loses nothing', async () => {
  await withSandbox(async (sandbox) => {
    const ended = await run(
      sandbox,
      `import { Client } from 'intilery'
       const promises = []
       const client = Client.fromEnv({ waitUntil: (promise) => promises.push(promise) })
       for (let request = 0; request < 3; ++request) {
         for (let i = 0; i < 100; ++i) client.track({ userId: 'u', event: 'E' })
         await Promise.all(promises.splice(0))
       }
       process.kill(process.pid, 'SIGKILL')`,
    )
    assert.deepEqual([ended.signal, ended.err], ['SIGKILL', ''])
    assert.deepEqual(users(sandbox), { u: 300 })
  })
})

test('a waitUntil that throws, or calls the client, does no harm', async () => {
  await withSandbox(async (sandbox) => {
    const ended = await run(
      sandbox,
      `import { Client } from 'intilery'
       let calls = 0
       const client = Client.fromEnv({
         waitUntil() {
           client.track({ userId: 'nested', event: 'E' })
           if (++calls === 1) throw new Error('outside of a request')
         },
       })
       const receipt = await client.track({ userId: 'u', event: 'E' })
       console.log(receipt.status)`,
    )
    assert.deepEqual(
      [ended.code, ended.out, ended.err],
      [0, '200\n', 'intilery: waitUntil threw: outside of a request\n'],
    )
    assert.deepEqual(users(sandbox), { nested: 1, u: 1 })
    assert.throws(
      () => sandbox.client({ waitUntil: 5 }),
      (error) => error instanceof ConfigurationError && error.option === 'waitUntil',
    )
  })
})

test('a flush with nothing to wait for comes after the fates that are known, and keeps the program until then', async () => {
  await withSandbox(async (sandbox) => {
    const none = { delivered: 0, failed: 0, remaining: 0 }
    const client = sandbox.client()
    assert.deepEqual(await client.flush(), none)
    const delivery = client.track({ userId: 'u', event: 'E' })
    while (client.stats().queued > 0); // the loop does not turn: the fate is there, and not told
    await client.flush()
    assert.ok(delivery.done)
    assert.deepEqual(await Promise.all(Array.from({ length: 100 }, () => client.flush())), new Array(100).fill(none))
    await client.close()
    assert.deepEqual(await client.flush(), none)

    const ended = await run(sandbox, `${begin} await client.flush(); await client.close(); console.log('flushed')`)
    assert.deepEqual([ended.code, ended.out, ended.err], [0, 'flushed\n', ''])
  })
})

test('leaving an await using block closes', { skip: Symbol.asyncDispose === undefined }, async () => {
  await withSandbox(async (sandbox) => {
    const client = sandbox.client()
    client.track({ userId: 'u', event: 'E' })
    await client[Symbol.asyncDispose]()
    assert.equal(client.stats().state, 'closed')
    assert.equal(sandbox.eventCount(), 1)
  })
})
