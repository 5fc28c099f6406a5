// beforeSend: a function that may change or drop an event.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Client, ClosedError, ConfigurationError, DeliveryError, ValidationError } from 'intilery'
import { Sandbox } from 'intilery/testing'

/** Runs `body` with a sandbox and a client that has `options`, and ends both. */
async function withClient(options, body) {
  const sandbox = new Sandbox({ rateLimit: 0 })
  const client = sandbox.client(options)
  try {
    await body(client, sandbox)
  } finally {
    await client.close({ timeout: 5000 })
    await sandbox.stop()
  }
}

/** What arrived, without what every event gets of its own. */
const sent = (sandbox) =>
  sandbox.events().map(({ rawData: { timestamp, sentAt, messageId, context, ...rest } }) => rest)

const sorted = (events) => events.map((event) => JSON.stringify(event)).sort()

const when = new Date(1574087411444)

function fill(client) {
  client.identify({ userId: 'u', traits: { born: when }, context: { ip: '1' }, timestamp: when, anonymousId: 'a-1' })
  client.track({ userId: 'u', event: 'Order', properties: new Map([['revenue', 30n]]), messageId: 'm-1' })
  client.track({ userId: 'u', event: 'Login', properties: null, context: undefined })
  client.page({ anonymousId: 'a-1', properties: { path: '/' } })
  client.screen({ userId: 'u', name: 'Checkout' })
  client.sendEmail({ userId: 'u', assetId: 'asset-7', data: { code: null, big: 12345678901234567890n } })
  client.sendSms({ userId: 'u', assetId: 'asset-7', data: new Map([['code', '1234']]) })
  client.sendPush({ userId: 'u', assetId: 'asset-7', data: { toJSON: () => ({ code: '1234' }) } })
  client.startJourney({ userId: 'u', journeyId: 'j', stepId: '2', data: { plan: 'gold' } })
  client.startJourney({ userId: 'u', journeyId: 'j', stepId: null })
  client.send({ action: 'track', userId: 'u', event: 'Login' })
  client.send(new Map(Object.entries({ action: 'page', userId: 'u' })))
}

test('every call is seen as send takes it, with the values of the caller', async () => {
  const seen = []
  const beforeSend = (message) => {
    seen.push({ ...message })
    return message
  }
  await withClient({ beforeSend }, async (client) => {
    fill(client)
    await client.flush({ timeout: 10_000 })
    assert.equal(client.stats().delivered, 12)
  })
  assert.deepEqual(seen, [
    {
      action: 'identify',
      userId: 'u',
      anonymousId: 'a-1',
      traits: { born: when },
      context: { ip: '1' },
      timestamp: when,
    },
    { action: 'track', userId: 'u', event: 'Order', properties: new Map([['revenue', 30n]]), messageId: 'm-1' },
    { action: 'track', userId: 'u', event: 'Login' },
    { action: 'page', anonymousId: 'a-1', properties: { path: '/' } },
    { action: 'screen', userId: 'u', name: 'Checkout' },
    {
      action: 'track',
      userId: 'u',
      event: 'send_email',
      assetId: 'asset-7',
      code: null,
      big: 12345678901234567890n,
    },
    { action: 'track', userId: 'u', event: 'send_sms', assetId: 'asset-7', code: '1234' },
    { action: 'track', userId: 'u', event: 'send_push', assetId: 'asset-7', code: '1234' },
    {
      action: 'track',
      userId: 'u',
      event: 'start_journey',
      properties: { journeyIdToTrigger: 'j', stepIdToTrigger: '2' },
      plan: 'gold',
    },
    { action: 'track', userId: 'u', event: 'start_journey', properties: { journeyIdToTrigger: 'j' } },
    { action: 'track', userId: 'u', event: 'Login' },
    { action: 'page', userId: 'u' },
  ])
})

test('what looks on changes nothing', async () => {
  const arrived = []
  for (const beforeSend of [undefined, (message) => message]) {
    await withClient({ beforeSend, delivery: 'event' }, async (client, sandbox) => {
      fill(client)
      await client.flush({ timeout: 10_000 })
      arrived.push(sorted(sent(sandbox)))
    })
  }
  assert.equal(arrived[0].length, 12)
  assert.deepEqual(arrived[1], arrived[0])
})

test('an event may be changed, and the object of the caller is not', async () => {
  const beforeSend = (message) => {
    message.userId = 'someone'
    delete message.context
    return message
  }
  await withClient({ beforeSend }, async (client, sandbox) => {
    const message = { action: 'track', userId: 'u', event: 'E', context: {} }
    const call = { userId: 'u', event: 'E', context: {} }
    client.send(message)
    client.track(call)
    await client.flush({ timeout: 5000 })
    assert.deepEqual(message, { action: 'track', userId: 'u', event: 'E', context: {} })
    assert.deepEqual(call, { userId: 'u', event: 'E', context: {} })
    const expected = { action: 'track', userId: 'someone', event: 'E' }
    assert.deepEqual(sent(sandbox), [expected, expected])
  })
})

test('another message may take its place', async () => {
  const beforeSend = () => ({ action: 'page', userId: 'v', messageId: 'm-2' })
  await withClient({ beforeSend }, async (client, sandbox) => {
    const delivery = client.track({ userId: 'u', event: 'E', messageId: 'm-1' })
    assert.equal(delivery.messageId, 'm-2')
    assert.equal((await delivery).messageId, 'm-2')
    assert.deepEqual(sent(sandbox), [{ action: 'page', event: 'page', userId: 'v' }])
  })
})

test('a dropped event is counted, and reported only to who asks', async () => {
  const lines = []
  const logger = Object.fromEntries(
    ['debug', 'info', 'warn', 'error'].map((name) => [name, (line) => lines.push(line)]),
  )
  const failures = []
  let next = null
  await withClient({ beforeSend: () => next, logger }, async (client, sandbox) => {
    await assert.rejects(client.track({ userId: 'u', event: 'E' }), (error) => {
      assert.ok(error instanceof DeliveryError)
      assert.deepEqual([error.reason, error.arrived, error.status], ['before_send', 'no', undefined])
      return true
    })
    next = undefined
    client.track({ userId: 'u', event: 'E' })
    await client.flush()
    client.on('failure', (failure) => failures.push(failure))
    client.track({ userId: 'u', event: 'E' })
    await client.drained()
    const { accepted, failed, failedByReason } = client.stats()
    assert.deepEqual([accepted, failed, failedByReason], [3, 3, { before_send: 3 }])
    await client.close()
    assert.throws(() => client.track({ userId: 'u', event: 'E' }), ClosedError)
    assert.equal(sandbox.eventCount(), 0)
  })
  assert.deepEqual([failures, lines], [[], []])
})

test('what it throws is the cause of a ValidationError, and nothing is sent', async () => {
  const cause = new RangeError('fred@example.com')
  const beforeSend = () => {
    throw cause
  }
  const isRight = (error) => {
    assert.ok(error instanceof ValidationError)
    assert.deepEqual([error.code, error.path, error.cause], ['before_send_failed', 'before_send', cause])
    assert.doesNotMatch(error.message + JSON.stringify(error), /fred/)
    return true
  }
  await withClient({ beforeSend }, async (client) => {
    assert.throws(() => client.track({ userId: 'u', event: 'E' }), isRight)
    assert.equal(client.stats().accepted, 0)
  })
  await withClient({ beforeSend, onInvalid: 'report' }, async (client, sandbox) => {
    await assert.rejects(client.track({ userId: 'u', event: 'E' }), isRight)
    await new Promise((resolve) => {
      client.track({ userId: 'u', event: 'E' }, (error) => resolve(isRight(error)))
    })
    const failure = new Promise((resolve) => client.on('failure', resolve))
    client.track({ userId: 'u', event: 'E' })
    isRight((await failure).error)
    assert.deepEqual(client.stats().failedByReason, { before_send_failed: 3 })
    assert.equal(sandbox.eventCount(), 0)
  })
})

for (const returned of [5, 'text', [{}], true, Promise.resolve({}), () => {}]) {
  test(`what is no object is refused (${Object.prototype.toString.call(returned)})`, async () => {
    await withClient({ beforeSend: () => returned }, async (client) => {
      assert.throws(
        () => client.track({ userId: 'u', event: 'E' }),
        (error) => {
          assert.deepEqual([error.code, error.path], ['wrong_type', 'before_send'])
          return true
        },
      )
    })
  })
}

test('what it returns is checked anew, so it may mend what is wrong, and spoil what is right', async () => {
  let change = ({ userId, ...rest }) => ({ ...rest, userId: String(userId) })
  await withClient({ beforeSend: (message) => change(message) }, async (client) => {
    assert.equal((await client.track({ userId: 5, event: 'E' })).status, 200)
    change = (message) => ({ ...message, properties: { x: [Number.NaN] } })
    assert.throws(
      () => client.track({ userId: 'u', event: 'E' }),
      (error) => error.code === 'not_finite' && error.path === 'properties.x[0]',
    )
  })
})

test('what is no message is refused before it', async () => {
  const seen = []
  await withClient({ beforeSend: (message) => seen.push(message) }, async (client) => {
    const errorOf = (call) => {
      try {
        call()
      } catch (error) {
        return [error.code, error.path]
      }
      return undefined
    }
    const email = (data) => errorOf(() => client.sendEmail({ userId: 'u', assetId: 'a', data }))
    assert.deepEqual(email({ userId: 'x' }), ['reserved_field', 'data.userId'])
    assert.deepEqual(email([1]), ['wrong_type', 'data'])
    assert.deepEqual(email('text'), ['wrong_type', 'data'])
    assert.deepEqual(email({ x: new Set([1]) }), ['unsupported_type', 'data.x'])
    assert.deepEqual(email(new Map([[1, 2]])), ['invalid_key', 'data'])
    assert.deepEqual(
      errorOf(() => client.startJourney({ userId: 'u', journeyId: 'j', data: { properties: {} } })),
      ['reserved_field', 'data.properties'],
    )
    for (const wrong of [[1], null, undefined, 5, 'text', () => {}]) {
      assert.deepEqual(
        errorOf(() => client.send(wrong)),
        ['wrong_type', ''],
      )
    }
    assert.deepEqual(
      errorOf(() => client.track({ userId: 'u', event: 'E', propertes: {} })),
      ['unknown_field', 'propertes'],
    )
  })
  assert.deepEqual(seen, [])
})

test('it may call the client again, and close it', async () => {
  let client
  let closing
  const beforeSend = (message) => {
    if (message.event === 'Outer') client.track({ userId: 'u', event: 'Inner' })
    if (message.event === 'Last') closing = client.close()
    return message
  }
  await withClient({ beforeSend }, async (made, sandbox) => {
    client = made
    const deliveries = []
    for (let i = 0; i < 2000; ++i) deliveries.push(client.track({ userId: 'u', event: 'Outer' }))
    const receipts = await Promise.all(deliveries)
    await client.flush()
    assert.equal(sandbox.eventCount(), 4000)
    const outer = sandbox.events().filter((event) => event.rawData.event === 'Outer')
    assert.deepEqual(
      receipts.map((receipt) => receipt.messageId),
      outer.map((event) => event.rawData.messageId),
    )
    try {
      await client.track({ userId: 'u', event: 'Last' })
    } catch (error) {
      assert.ok(error instanceof ClosedError) // the close was quicker than the rest of the call
    }
    await closing
    assert.equal(client.stats().state, 'closed')
  })
})

test('a beforeSend that is no function is named', () => {
  assert.throws(
    () => new Client({ clientId: 'a', accountId: 'a', brandId: 'B', authToken: 't', beforeSend: 5 }),
    (error) => error instanceof ConfigurationError && error.option === 'beforeSend' && error.code === 'wrong_type',
  )
})
