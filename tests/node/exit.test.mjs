// How programs end. Each test runs a real one.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { begin, many, run, start, users, withSandbox } from './programs.mjs'

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

test('process.exit amid sending sends the rest', async () => {
  await withSandbox(async (sandbox) => {
    const program = `${begin} ${many} await client.track({ userId: 'first', event: 'E' }); ${many} process.exit(0)`
    const ended = await run(sandbox, program)
    assert.deepEqual([ended.code, ended.err], [0, ''])
    assert.deepEqual(users(sandbox), { u: 4000, first: 1 })
  })
})

test('what is tracked in beforeExit is sent', async () => {
  await withSandbox(async (sandbox) => {
    const track = "client.track({ userId: 'late', event: 'E' })"
    const ended = await run(sandbox, `${begin} process.once('beforeExit', () => ${track})`)
    assert.deepEqual([ended.code, ended.err], [0, ''])
    assert.deepEqual(users(sandbox), { late: 1 })
  })
})

test('a server that closes its client on SIGTERM loses nothing', async () => {
  await withSandbox(async (sandbox) => {
    const server = start(
      sandbox,
      `${begin}
       import { createServer } from 'node:http'
       const server = createServer((request, response) => {
         client.track({ userId: 'u', event: 'Request', properties: { path: request.url } })
         response.end()
       })
       server.listen(0, '127.0.0.1', () => console.log(server.address().port))
       process.once('SIGTERM', () => {
         server.close(async () => {
           await client.close({ timeout: 10_000 })
           process.exit(0)
         })
         server.closeIdleConnections()
       })`,
    )
    const port = Number(await server.line())
    for (let i = 0; i < 50; ++i) await (await fetch(`http://127.0.0.1:${port}/${i}`)).arrayBuffer()
    server.child.kill('SIGTERM')
    const ended = await server.ended
    assert.deepEqual([ended.code, ended.err], [0, ''])
    assert.deepEqual(users(sandbox), { u: 50 })
  })
})

test('Ctrl-C that closes the client first loses nothing', async () => {
  await withSandbox(async (sandbox) => {
    const program = start(
      sandbox,
      `${begin}
       process.once('SIGINT', async () => {
         await client.close({ timeout: 10_000 })
         process.exit(130)
       })
       setInterval(() => {}, 1000)
       ${many}
       console.log('sending')`,
    )
    await program.line()
    program.child.kill('SIGINT')
    const ended = await program.ended
    assert.deepEqual([ended.code, ended.err], [130, ''])
    assert.deepEqual(users(sandbox), { u: 2000 })
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

test('workers that end, exit or are terminated amid sending neither crash nor double nor lose what they may not', async () => {
  await withSandbox(async (sandbox) => {
    const ended = await run(
      sandbox,
      `${begin}
       import { once } from 'node:events'
       import { Worker } from 'node:worker_threads'
       const program = \`
         const modules = Promise.all([import('node:worker_threads'), import('intilery')])
         modules.then(async ([{ parentPort, workerData }, { Client }]) => {
           const client = Client.fromEnv()
           const track = () => {
             for (let i = 0; i < 200; ++i) client.track({ userId: workerData, event: 'E' })
           }
           track()
           if (workerData === 'terminated') {
             parentPort.postMessage('sending')
             setInterval(track, 1)
           } else if (workerData === 'exits') {
             process.exit()
           } else if (workerData === 'closes') {
             await client.close()
           }
         })\`
       const work = async (workerData) => {
         const worker = new Worker(program, { eval: true, workerData })
         const exit = once(worker, 'exit')
         if (workerData === 'terminated') {
           await once(worker, 'message')
           await worker.terminate()
         }
         await exit
       }
       const kinds = ['ends', 'exits', 'closes', 'terminated', 'terminated', 'ends']
       client.track({ userId: 'main', event: 'E' })
       await Promise.all(kinds.map(work))
       await Promise.all(kinds.map(work))
       await client.track({ userId: 'main', event: 'E' })`,
    )
    assert.deepEqual([ended.code, ended.signal, ended.err], [0, null, ''])
    const { terminated, ...others } = users(sandbox)
    assert.deepEqual(others, { main: 2, ends: 800, exits: 400, closes: 400 })
  })
})

test('a hundred clients come and go without a trace', async () => {
  await withSandbox(async (sandbox) => {
    const ended = await run(
      sandbox,
      `${begin}
       import { readdirSync } from 'node:fs'
       import { setTimeout as sleep } from 'node:timers/promises'
       const held = () => ['task', 'fd'].map((what) => readdirSync('/proc/self/' + what).length)
       await client.track({ userId: 'first', event: 'E' })
       await client.close()
       const before = held()
       const clients = Array.from({ length: 100 }, () => Client.fromEnv())
       const cpu = process.cpuUsage()
       await sleep(500)
       const { user, system } = process.cpuUsage(cpu)
       if (user + system > 50_000) throw new Error('idle clients used CPU: ' + (user + system) / 1000 + ' ms')
       await Promise.all(clients.map((client, number) => client.track({ userId: 'user-' + number, event: 'E' })))
       await Promise.all(clients.map((client) => client.close()))
       while (held().some((count, kind) => count > before[kind])) await sleep(10)`,
    )
    assert.deepEqual([ended.code, ended.err], [0, ''])
    assert.equal(Object.keys(users(sandbox)).length, 101)
  })
})
