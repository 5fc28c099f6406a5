import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { performance } from 'node:perf_hooks'
import { test } from 'node:test'
import { inspect } from 'node:util'
import {
  AuthError,
  Client,
  ClosedError,
  ConfigurationError,
  DeliveryError,
  IntileryError,
  optionList,
  QueueFullError,
  TimeoutError,
  ValidationError,
} from 'intilery'
import { MemoryClient, Sandbox } from 'intilery/testing'

const account = { clientId: 'hea', accountId: 'hea', brandId: 'HEA', authToken: 'secret-token' }

/** Runs `body` with a sandbox, and stops that. */
async function withSandbox(options, body) {
  const sandbox = new Sandbox(options)
  try {
    await body(sandbox)
  } finally {
    await sandbox.stop()
  }
}

/** The error that `run` ends with. */
async function errorOf(run) {
  try {
    await run()
  } catch (error) {
    return error
  }
  return assert.fail('nothing was thrown')
}

test('require and import give the same client', () => {
  assert.equal(createRequire(import.meta.url)('intilery').Client, Client)
})

test('a delivery gives its receipt as a promise, to a callback, and after flush', async () => {
  await withSandbox({}, async (sandbox) => {
    const client = sandbox.client()
    const delivery = client.track({ userId: 'u', event: 'Login' })
    const receipt = await delivery
    assert.equal(receipt.status, 200)
    assert.equal(receipt.attempts, 1)
    assert.equal(receipt.route, 'event')
    assert.equal(receipt.messageId, delivery.messageId)
    assert.equal(receipt.eventId, sandbox.events()[0].eventId)
    assert.ok(receipt.latency > 0 && receipt.latency < 5000)
    assert.equal(delivery.done, true)

    const told = await new Promise((resolve) => {
      client.page({ anonymousId: 'a-1', properties: { path: '/' } }, (error, given) => resolve([error, given]))
    })
    assert.equal(told[0], null)
    assert.equal(told[1].status, 200)

    client.track({ userId: 'u', event: 'Viewed' })
    assert.equal((await client.flush({ timeout: 5000 })).remaining, 0)
    assert.equal(client.stats().delivered, 3)
    await client.close()
  })
})

test('every call arrives as the contract has it', async () => {
  await withSandbox({}, async (sandbox) => {
    const client = sandbox.client({ delivery: 'event' })
    client.identify({ userId: 'u', traits: { email: 'fred@example.com' }, timestamp: new Date(1574087411444) })
    client.track({ userId: 'u', event: 'Order', properties: { revenue: 30.5 }, messageId: 'm-1', context: { ip: '1' } })
    client.screen({ userId: 'u', name: 'Checkout' })
    client.sendEmail({ userId: 'u', assetId: 'asset-7', data: { code: '1234' } })
    client.startJourney({ userId: 'u', journeyId: 'j', stepId: '2', data: { plan: 'gold' } })
    client.send({ action: 'track', userId: 'u', event: 'Login' })
    await client.close()
    const sent = sandbox.events().map((event) => event.rawData)
    assert.deepEqual(
      sent.map((event) => event.action),
      ['identify', 'track', 'screen', 'track', 'track', 'track'],
    )
    assert.equal(sent[0].timestamp, '2019-11-18T14:30:11.444Z')
    assert.equal(sent[1].messageId, 'm-1')
    assert.equal(sent[1].context.ip, '1')
    assert.equal(sent[3].code, '1234')
    assert.deepEqual(sent[4].properties, { journeyIdToTrigger: 'j', stepIdToTrigger: '2' })
  })
})

for (const delivery of ['event', 'batch', 'auto']) {
  test(`delivery ${delivery}: each user in order, nothing lost, nothing doubled`, async () => {
    await withSandbox({ rateLimit: 0 }, async (sandbox) => {
      const client = sandbox.client({ delivery })
      for (let number = 0; number < 2000; ++number) {
        client.track({ userId: `user-${number % 7}`, event: 'Step', properties: { number } })
      }
      await client.close()
      const events = sandbox.events().map((event) => event.rawData)
      assert.equal(new Set(events.map((event) => event.messageId)).size, 2000)
      assert.equal(events.length, 2000)
      for (let user = 0; user < 7; ++user) {
        const numbers = events.filter((event) => event.userId === `user-${user}`).map((e) => e.properties.number)
        assert.deepEqual(
          numbers,
          [...numbers].sort((a, b) => a - b),
        )
      }
      assert.deepEqual(Object.keys(sandbox.stats().requests), ['200'])
    })
  })
}

test('the event loop turns while much is sent and awaited', async () => {
  await withSandbox({}, async (sandbox) => {
    const client = sandbox.client()
    let longest = 0
    let last = performance.now()
    const timer = setInterval(() => {
      longest = Math.max(longest, performance.now() - last)
      last = performance.now()
    }, 5)
    for (let round = 0; round < 50; ++round) {
      for (let i = 0; i < 400; ++i) client.track({ userId: `u${i % 20}`, event: 'E', properties: { i } })
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    await client.close()
    clearInterval(timer)
    assert.equal(sandbox.eventCount(), 20_000)
    assert.ok(longest < 250, `the loop stood still for ${longest} ms`)
    assert.ok(!('429' in sandbox.stats().requests))
  })
})

test('a mistake names its path and harms nothing else', async () => {
  await withSandbox({}, async (sandbox) => {
    const client = sandbox.client()
    const properties = { products: [{}, { price: Number.NaN }] }
    const error = await errorOf(() => client.track({ userId: 'u', event: 'Order', properties }))
    assert.ok(error instanceof ValidationError)
    assert.ok(error instanceof IntileryError)
    assert.equal(error.code, 'not_finite')
    assert.equal(error.path, 'properties.products[1].price')
    assert.match(error.message, /^properties\.products\[1\]\.price is NaN/)
    client.track({ userId: 'u', event: 'Login' })
    await client.close()
    assert.equal(sandbox.eventCount(), 1)
  })
})

test('a misspelt field is named, with the one that was meant', async () => {
  await withSandbox({}, async (sandbox) => {
    const client = sandbox.client()
    const error = await errorOf(() => client.track({ userId: 'u', event: 'E', propertes: {} }))
    assert.equal(error.code, 'unknown_field')
    assert.match(error.message, /did you mean "properties"/)
    await client.close()
  })
})

test('onInvalid: report makes a mistake a failed delivery', async () => {
  await withSandbox({}, async (sandbox) => {
    const client = sandbox.client({ onInvalid: 'report' })
    const error = await errorOf(() => client.track({ userId: 'u', event: 'E', properties: { s: new Set([1]) } }))
    assert.equal(error.code, 'unsupported_type')
    assert.deepEqual(client.stats().failedByReason, { unsupported_type: 1 })
    await client.close()
  })
})

for (const [options, option, code] of [
  [{}, 'clientId', 'required'],
  [{ ...account, authToken: 'secret\ntoken' }, 'authToken', 'invalid_value'],
  [{ ...account, endpoint: 'tracking.intilery.com' }, 'endpoint', 'invalid_value'],
  [{ ...account, endpoint: 'http://example.com' }, 'endpoint', 'invalid_value'],
  [{ ...account, flushat: 5 }, 'flushat', 'unknown_option'],
  [{ ...account, flushAt: '5' }, 'flushAt', 'wrong_type'],
  [{ ...account, flushAt: 0 }, 'flushAt', 'out_of_bounds'],
  [{ ...account, onFull: 'block' }, 'onFull', 'invalid_value'],
  [{ ...account, rateLimitStore: 'http://secret@redis' }, 'rateLimitStore', 'invalid_value'],
]) {
  test(`the wrong option ${option} is named (${code})`, async () => {
    const error = await errorOf(() => new Client(options))
    assert.ok(error instanceof ConfigurationError)
    assert.deepEqual([error.option, error.code], [option, code])
    assert.match(error.message, new RegExp(option))
    assert.doesNotMatch(error.message, /secret/)
  })
}

test('the token is shown nowhere', async () => {
  const client = new Client({ ...account, endpoint: 'http://127.0.0.1:9' })
  assert.doesNotMatch(inspect(client, { depth: 9, showHidden: true }) + JSON.stringify(client), /secret/)
  await client.close({ timeout: 0 })
})

test('a call after close is a ClosedError', async () => {
  await withSandbox({}, async (sandbox) => {
    const client = sandbox.client()
    await client.close()
    await client.close()
    assert.throws(() => client.track({ userId: 'u', event: 'E' }), ClosedError)
    assert.equal(client.stats().state, 'closed')
  })
})

test('a full queue fails the delivery, or the call', async () => {
  await withSandbox({}, async (sandbox) => {
    sandbox.setFaults({ delay_ms: 200 })
    const call = { userId: 'u', event: 'E', properties: { text: 'x'.repeat(900) } }
    const failing = sandbox.client({ maxQueueBytes: 1500 })
    const first = failing.track(call)
    assert.ok((await errorOf(() => failing.track(call))) instanceof QueueFullError)
    await first
    const raising = sandbox.client({ maxQueueBytes: 1500, onFull: 'raise' })
    raising.track(call)
    assert.throws(() => raising.track(call), QueueFullError)
    await raising.drained()
    await raising.track(call)
    await Promise.all([failing.close(), raising.close()])
  })
})

test('onFull dropOldest makes room, and each drop is a failed delivery', async () => {
  await withSandbox({ faults: [{ delay_ms: 300 }] }, async (sandbox) => {
    const client = sandbox.client({ maxQueueBytes: 5000, onFull: 'drop_oldest', delivery: 'event', maxConnections: 1 })
    const deliveries = [client.track({ userId: 'u', event: 'E' })]
    while (client.stats().inFlight === 0) await new Promise((resolve) => setTimeout(resolve, 1))
    for (let number = 0; number < 11; ++number) {
      deliveries.push(client.track({ userId: `u${number}`, event: 'E', properties: { text: 'x'.repeat(500) } }))
    }
    const results = await Promise.allSettled(deliveries)
    const dropped = results.filter((result) => result.status === 'rejected').map((result) => result.reason)
    assert.equal(results[0].status, 'fulfilled', 'it was under way')
    assert.equal(results.at(-1).status, 'fulfilled', 'the newest is kept')
    assert.ok(
      dropped.length > 0 && dropped.every((error) => error instanceof QueueFullError && error.code === 'dropped'),
    )
    assert.deepEqual(client.stats().failedByReason, { dropped: dropped.length })
    await client.close()
  })
})

test('clients that share a store are never over the rate', async (t) => {
  const { createServer } = await import('node:net')
  const { spawn } = await import('node:child_process')
  const { once } = await import('node:events')
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const port = String(probe.address().port)
  probe.close()
  await once(probe, 'close')
  const redis = spawn('redis-server', ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'])
  t.after(() => redis.kill('SIGKILL'))
  let said = ''
  for await (const text of redis.stdout) {
    said += text
    if (said.includes('Ready to accept connections')) break
  }
  await withSandbox({ rateLimit: 50, burst: 60 }, async (sandbox) => {
    const rateLimitStore = `redis://127.0.0.1:${port}`
    const clients = [1, 2, 3].map(() => sandbox.client({ rateLimitStore, delivery: 'event' }))
    for (let number = 0; number < 30; ++number) {
      for (const client of clients) client.track({ userId: `u${number}`, event: 'E' })
    }
    for (const client of clients) assert.equal((await client.close({ timeout: 20_000 })).failed, 0)
    assert.deepEqual(sandbox.stats().requests, { 200: 90 })
  })
})

test('a wrong token pauses until it is changed', async () => {
  await withSandbox({}, async (sandbox) => {
    const client = sandbox.client({ authToken: 'wrong', retryInitial: 10 })
    const delivery = client.track({ userId: 'u', event: 'E' })
    assert.equal((await client.flush({ timeout: 200 })).remaining, 1)
    assert.equal(client.stats().state, 'paused: auth')
    client.setAuthToken('sandbox-token')
    assert.ok((await delivery).attempts > 1)
    await client.close()

    const never = sandbox.client({ authToken: 'wrong', retryInitial: 10, deliveryTimeout: 100 })
    const error = await errorOf(() => never.track({ userId: 'u', event: 'E' }))
    assert.ok(error instanceof AuthError)
    assert.equal(error.status, 403)
    await never.close()
  })
})

test('a refused connection ends as expired', async () => {
  const gone = new Sandbox()
  await gone.stop()
  const client = gone.client({ retryInitial: 10, deliveryTimeout: 100 })
  const error = await errorOf(() => client.track({ userId: 'u', event: 'E' }))
  assert.ok(error instanceof DeliveryError)
  assert.deepEqual([error.reason, error.arrived, error.status], ['expired', 'no', undefined])
  await client.close()
})

test('what fails and is not observed goes to failure, and never to unhandledRejection', async () => {
  await withSandbox({ faults: [{ status: 400 }] }, async (sandbox) => {
    const client = sandbox.client()
    const failures = []
    client.on('failure', (failure) => failures.push(failure))
    const { messageId } = client.track({ userId: 'u', event: 'E' })
    await client.flush()
    assert.equal(failures.length, 1)
    assert.equal(failures[0].event.messageId, messageId)
    assert.equal(failures[0].error.reason, 'rejected')
    await client.close()
  })
})

test('verify finds what arrived and what did not', async () => {
  await withSandbox({}, async (sandbox) => {
    const client = sandbox.client()
    const deliveries = Array.from({ length: 120 }, () => client.track({ userId: 'a/b c', event: 'E' }))
    await client.flush()
    const found = await client.verify(deliveries, { userId: 'a/b c' })
    assert.deepEqual([found.expected, found.found, found.complete], [120, 120, true])
    const missing = await client.verify(['not-sent'], { timeout: 200 })
    assert.deepEqual(missing.missing, ['not-sent'])
    sandbox.setFaults()
    await client.close()
    await assert.rejects(client.verify(['x']), ClosedError)
  })
})

test('a time-out of a read is a TimeoutError', async () => {
  const silent = (await import('node:net')).createServer(() => {})
  await new Promise((resolve) => silent.listen(0, '127.0.0.1', resolve))
  const client = new Client({ ...account, endpoint: `http://127.0.0.1:${silent.address().port}` })
  await assert.rejects(client.verify(['x'], { timeout: 100 }), TimeoutError)
  await client.close({ timeout: 0 })
  silent.close()
})

test('drain tells when nothing waits', async () => {
  await withSandbox({}, async (sandbox) => {
    const client = sandbox.client()
    const drained = new Promise((resolve) => client.once('drain', resolve))
    client.track({ userId: 'u', event: 'E' })
    await drained
    assert.equal(client.stats().queued, 0)
    await client.close()
  })
})

test('a getter or toJSON may call the client again', async () => {
  await withSandbox({}, async (sandbox) => {
    const client = sandbox.client()
    const nested = {
      toJSON() {
        client.track({ userId: 'u', event: 'Inner' })
        return 1
      },
    }
    await client.track({ userId: 'u', event: 'Outer', properties: { nested } })
    await client.close()
    assert.deepEqual(
      sandbox.events().map((event) => event.rawData.event),
      ['Inner', 'Outer'],
    )
  })
})

test('the types have every option', async () => {
  const { readFileSync } = await import('node:fs')
  const types = readFileSync(new URL('../../node/index.d.ts', import.meta.url), 'utf8')
  const options = types.slice(types.indexOf('export interface Options'), types.indexOf('export type Properties'))
  const typed = [...options.matchAll(/^ {2}(\w+)\?:/gm)].map((match) => match[1])
  assert.deepEqual(typed, [...optionList().map((option) => option.name), 'beforeSend', 'logger', 'waitUntil'])
})

test('a null is faithful, and hides nothing that JSON.stringify would write as null', async () => {
  await withSandbox({}, async (sandbox) => {
    const client = sandbox.client()
    const track = (properties) => client.track({ userId: 'u', event: 'E', properties })
    const hidden = [
      [{ a: null, b: [1, Number.NaN] }, 'properties.b[1]'],
      [{ a: null, b: { c: new Date(Number.NaN) } }, 'properties.b.c'],
      [{ a: null, b: new Set([1]) }, 'properties.b'],
      [{ a: null, b: { toJSON: () => Number.NaN } }, 'properties.b'],
      [{ a: null, b: '\ud800' }, 'properties.b'],
    ]
    for (const [properties, path] of hidden) assert.equal((await errorOf(() => track(properties))).path, path)
    const faithful = {
      a: null,
      b: [null, { c: 1.5, d: undefined, e: 'null' }],
      f: new Date(0),
      g: new Map([['h', null]]),
    }
    track(faithful)
    await client.close()
    const [event] = sandbox.events()
    assert.deepEqual(event.rawData.properties, {
      a: null,
      b: [null, { c: 1.5, e: 'null' }],
      f: '1970-01-01T00:00:00.000Z',
      g: { h: null },
    })
  })
})

test('a user id and an event name arrive as they are, whatever they hold', async () => {
  const client = new MemoryClient()
  const texts = ['plain', 'Zoë', '日本語', '😀', 'a\0b', '\ufffd', '"\\\n', 'é'.repeat(40_000)]
  const pairs = texts.flatMap((userId) => texts.map((event) => [userId, event]))
  for (const [userId, event] of pairs) client.track({ userId, event, properties: { userId, event } })
  for (const userId of texts) client.identify({ userId, traits: { userId } })
  for (const userId of texts) client.page({ userId, properties: { userId } })
  await client.drained()
  const expected = [
    ...pairs.map(([userId, event]) => ({ userId, event, properties: { userId, event } })),
    ...texts.map((userId) => ({ userId, event: 'identify', traits: { userId } })),
    ...texts.map((userId) => ({ userId, event: 'page', properties: { userId } })),
  ]
  const inOrder = (messages) => messages.map((message) => JSON.stringify(message)).sort()
  const sent = client.sent.map(({ userId, event, traits, properties }) => ({ userId, event, traits, properties }))
  assert.deepEqual(inOrder(sent), inOrder(expected))
  await client.close()
})

test('halves of one character at the end of a user id and the beginning of an event name stay two halves', async () => {
  const client = new MemoryClient()
  const track = (userId, event) => client.track({ userId, event, properties: {} })
  assert.throws(() => track('a\ud83d', '\ude00b'), { code: 'invalid_text', path: 'userId' })
  assert.throws(() => track('a', '\ude00b'), { code: 'invalid_text', path: 'event' })
  assert.throws(() => track('a\ud83d', 'b'), { code: 'invalid_text', path: 'userId' })
  await client.close()
})

test('a member that no call knows is refused, though there be no more members than usual', async () => {
  const client = new MemoryClient()
  assert.throws(() => client.track({ userId: 'u', event: 'E', propertys: {} }), {
    code: 'unknown_field',
    path: 'propertys',
  })
  assert.throws(() => client.identify({ userId: 'u', trait: {} }), { code: 'unknown_field', path: 'trait' })
  const inherited = Object.assign(Object.create({ event: 'E' }), { userId: 'u', properties: {} })
  assert.equal((await client.track(inherited)).status, 200)
  await client.close()
})
