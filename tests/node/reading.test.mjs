// client.events(…), client.profile(…), client.profiles(…).
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { AuthError, ClosedError, ConfigurationError, DeliveryError, TimeoutError, ValidationError } from 'intilery'
import { Sandbox } from 'intilery/testing'
import { environment, root } from './environment.mjs'

const moment = Date.UTC(2023, 10, 14, 22, 13, 20)
/** The second request waits for minutes. */
const slow = { rateLimit: 0.01, burst: 1 }

/** Runs `body` with a sandbox and a client. */
async function withClient(body, options = {}, sandboxOptions = { rateLimit: 0 }) {
  const sandbox = await Sandbox.start(sandboxOptions)
  const client = sandbox.client(options)
  try {
    await body(client, sandbox)
  } finally {
    await client.close({ timeout: 10 })
    await sandbox.stop()
  }
}

async function send(client, count, perMs = 1) {
  for (let i = 0; i < count; ++i) {
    client.track({
      userId: 'u',
      event: 'E',
      properties: { i },
      timestamp: new Date(moment + Math.floor(i / perMs)),
    })
  }
  await client.flush()
  const { queued, failed } = client.stats()
  assert.deepEqual([queued, failed], [0, 0])
}

const numbers = (events) => events.map((event) => event.rawData.properties.i)
const upTo = (count) => Array.from({ length: count }, (_, i) => i)

test('an event is read as it was sent', async () => {
  await withClient(async (client) => {
    const timestamp = new Date(moment)
    const sent = { userId: 'ABC/123', event: 'Order Completed', properties: { total: 30.5 }, timestamp }
    const receipt = await client.track(sent)
    const events = await client.events({ userId: 'ABC/123' }).toArray()
    assert.equal(events.length, 1)
    const { receivedTime, rawData, ...rest } = events[0]
    assert.ok(Math.abs(receivedTime - Date.now()) < 60_000)
    assert.deepEqual(rawData.properties, { total: 30.5 })
    assert.equal(rawData.messageId, receipt.messageId)
    assert.deepEqual(rest, {
      eventId: receipt.eventId,
      eventTime: timestamp,
      action: 'track',
      name: 'Order Completed',
      clientId: 'hea',
      accountId: 'hea',
      brandId: 'HEA',
      userId: 'ABC/123',
    })
  })
})

test('more events than the paging reaches are read, and the loop is never blocked', async () => {
  await withClient(
    async (client) => {
      await send(client, 10_320, 3)
      let turns = 0
      const timer = setInterval(() => ++turns, 1)
      const events = await client.events().toArray()
      clearInterval(timer)
      assert.deepEqual(
        numbers(events).sort((a, b) => a - b),
        upTo(10_320),
      )
      assert.ok(turns > 20, `${turns} turns of the loop`)
      let count = 0
      for await (const event of client.events({ sort: 'asc', limit: 10_010 })) count += event.name === 'E' ? 1 : 0
      assert.equal(count, 10_010)
    },
    { delivery: 'batch' },
  )
})

test('the vectors of reading hold', async () => {
  const vectors = JSON.parse(readFileSync(new URL('tests/vectors/reading.json', root), 'utf8'))
  await withClient(async (client, sandbox) => {
    for (const { name, read, query, path, error, languages = ['node'] } of vectors) {
      if (!languages.includes('node')) continue
      const asked = Object.fromEntries(
        Object.entries(query).map(([key, value]) => [key, value?.$ === 'instant' ? new Date(value.ms) : value]),
      )
      try {
        if (read === 'profile') {
          assert.equal(await client.profile(asked), null)
        } else {
          assert.equal((await client[read](asked).next()).done, true)
        }
        assert.equal(sandbox.requests().at(-1).path, `/track/hea/hea/HEA/v1/${path}`, name)
      } catch (thrown) {
        if (!(thrown instanceof ValidationError)) throw thrown
        assert.deepEqual({ code: thrown.code, path: thrown.path }, error, `${name}: ${thrown.message}`)
      }
    }
  })
})

test('what cannot be asked for is refused at the call', async () => {
  await withClient(async (client) => {
    for (const query of [
      null,
      'u',
      5,
      { include: new Set(['E']) },
      { start: new Date(Number.NaN) },
      { limit: 10n ** 400n },
    ]) {
      assert.throws(() => client.events(query), ValidationError)
    }
    assert.throws(() => client.events({ timeout: -1 }), ConfigurationError)
    await assert.rejects(client.profile(), ValidationError)
  })
})

test('a profile is found by each of its keys, and one email may be that of several', async () => {
  await withClient(async (client) => {
    const traits = { email: 'fred@example.com', age: 40 }
    await client.identify({ userId: 'ABC/123', traits })
    const profile = await client.profile({ userId: 'ABC/123' })
    assert.deepEqual([profile.userId, profile.traits, profile.meta.events], ['ABC/123', traits, 1])
    assert.equal((await client.profile({ email: 'fred@example.com' })).id, profile.id)
    assert.equal((await client.profile({ id: profile.id })).userId, 'ABC/123')
    assert.equal((await client.events({ id: profile.id }).toArray()).length, 1)
    assert.equal(await client.profile({ userId: 'nobody' }), null)
    assert.deepEqual(await client.events({ userId: 'nobody' }).toArray(), [])

    await client.identify({ userId: 'twin', traits })
    await assert.rejects(client.profile({ email: 'fred@example.com' }), { code: 'ambiguous' })
    assert.equal((await client.profiles({ email: 'fred@example.com' }).toArray()).length, 2)
    assert.equal((await client.events({ email: 'fred@example.com' }).toArray()).length, 2)
  })
})

test('all profiles are listed', async () => {
  await withClient(
    async (client) => {
      for (let i = 0; i < 201; ++i) client.identify({ userId: `user-${i}`, traits: { i } })
      await client.flush()
      const profiles = await client.profiles().toArray()
      assert.deepEqual(
        profiles.map((profile) => profile.traits.i).sort((a, b) => a - b),
        upTo(201),
      )
    },
    { delivery: 'batch' },
  )
})

test('calls of next do not wait for each other to be awaited', async () => {
  await withClient(async (client) => {
    await send(client, 150)
    const events = client.events({ sort: 'asc' })
    const taken = await Promise.all(upTo(152).map(() => events.next()))
    assert.deepEqual(numbers(taken.slice(0, 150).map(({ value }) => value)), upTo(150))
    assert.deepEqual(
      taken.slice(150).map(({ done }) => done),
      [true, true],
    )
  })
})

test('a view reads its own brand', async () => {
  await withClient(
    async (client, sandbox) => {
      await client.brand('HEB').events({ userId: 'u' }).toArray()
      assert.match(sandbox.requests().at(-1).path, /^\/track\/hea\/hea\/HEB\/v1\/profiles\//)
    },
    {},
    { brandIds: ['HEA', 'HEB'], rateLimit: 0 },
  )
})

test('a wrong token ends no reading', async () => {
  await withClient(
    async (client, sandbox) => {
      await send(client, 150)
      const events = client.events()
      const taken = []
      while (taken.length < 100) taken.push((await events.next()).value)
      sandbox.setToken('new')
      await assert.rejects(events.next(), AuthError)
      client.setAuthToken('new')
      for await (const event of events) taken.push(event)
      assert.deepEqual(numbers(taken).reverse(), upTo(150))
    },
    { logger: { debug() {}, info() {}, warn() {}, error() {} } },
  )
})

test('a 429 meanwhile loses nothing', async () => {
  await withClient(
    async (client) => {
      await send(client, 700)
      const before = client.stats().requests[429] ?? 0
      assert.equal((await client.events().toArray()).length, 700)
      assert.ok(client.stats().requests[429] > before)
    },
    { rateLimit: 1000, burst: 1000, delivery: 'batch' },
    { rateLimit: 3, burst: 5 },
  )
})

test('a reading that takes too long, and one whose client is closed, say so', async () => {
  await withClient(async (client) => {
    assert.deepEqual(await client.events({ timeout: Number.POSITIVE_INFINITY }).toArray(), [])
    await assert.rejects(client.events({ timeout: 20 }).next(), TimeoutError)
    const waiting = assert.rejects(client.events().next(), ClosedError)
    await client.close()
    await waiting
    await assert.rejects(client.profile({ userId: 'u' }), ClosedError)
  }, slow)
})

test('a dry run reads nothing', async () => {
  await withClient(
    async (client) => {
      await assert.rejects(
        client.events().next(),
        (error) => error instanceof DeliveryError && error.reason === 'dry_run',
      )
    },
    { dryRun: true, logger: { debug() {}, info() {}, warn() {}, error() {} } },
  )
})

test('a program stays until its reading is through, and process.exit waits for none', async () => {
  const sandbox = await Sandbox.start({ rateLimit: 0 })
  const run = (program) =>
    promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], {
      cwd: root,
      env: environment(sandbox),
    })
  const begin = "import { Client } from 'intilery'\n"
  const through = `${begin}
    Client.fromEnv().events().toArray().then((events) => console.log(events.length))`
  assert.equal((await run(through)).stdout, '0\n')
  const exits = `${begin}
    const client = Client.fromEnv({ rateLimit: 0.01, burst: 1 })
    await client.events().toArray()
    client.events().toArray()
    setTimeout(() => process.exit(), 10)`
  await run(exits)
  await sandbox.stop()
})
