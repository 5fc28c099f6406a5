// Lost acknowledgements with onUnknown: 'check', and verify with a time.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigurationError } from 'intilery'
import { Sandbox } from 'intilery/testing'

const lostOnce = [{ lost_ack: true, times: 1 }]

async function withLost(options, clientOptions, body) {
  const sandbox = new Sandbox({ rateLimit: 0, faults: lostOnce, ...options })
  const client = sandbox.client({ onUnknown: 'check', ...clientOptions })
  try {
    await body(sandbox, client)
  } finally {
    await client.close({ timeout: 0 })
    await sandbox.stop()
  }
}

test('an event that is there by the check is not sent twice', async () => {
  await withLost({ visibleAfter: 100 }, { checkDelay: 300 }, async (sandbox, client) => {
    const receipt = await client.track({ userId: 'u', event: 'E' })
    assert.equal(receipt.readBack, true)
    assert.equal(receipt.route, 'event')
    assert.equal(receipt.attempts, 1)
    assert.deepEqual(
      sandbox.events().map(({ eventId }) => eventId),
      [receipt.eventId],
    )
    assert.equal(client.stats().readBack, 1)
    const next = await client.track({ userId: 'u', event: 'E' })
    assert.equal(next.readBack, false)
  })
})

test('the events of a batch that are there by the check have their event ids', async () => {
  await withLost({}, { checkDelay: 50, delivery: 'batch' }, async (sandbox, client) => {
    const receipts = await Promise.all(['a', 'b', 'a'].map((userId) => client.track({ userId, event: 'E' })))
    assert.deepEqual(
      receipts.map(({ readBack, route }) => [readBack, route]),
      Array(3).fill([true, 'batch']),
    )
    assert.deepEqual(new Set(receipts.map(({ eventId }) => eventId)), new Set(sandbox.events().map((e) => e.eventId)))
  })
})

test('what is shown later than the check is sent twice with the same message id', async () => {
  await withLost({ visibleAfter: 60_000 }, { checkDelay: 50 }, async (sandbox, client) => {
    const { messageId, readBack, attempts } = await client.track({ userId: 'u', event: 'E' })
    assert.deepEqual([readBack, attempts], [false, 2])
    assert.deepEqual(
      sandbox.events().map(({ rawData }) => rawData.messageId),
      [messageId, messageId],
    )
  })
})

test('verify reads the events of a time', async () => {
  await withLost({ faults: [] }, {}, async (_, client) => {
    const noon = new Date('2024-07-05T12:00:00Z')
    const later = new Date('2024-07-05T13:00:00Z')
    const receipt = await client.track({ userId: 'u', event: 'E', timestamp: noon })
    assert.ok((await client.verify([receipt], { start: noon, end: later })).complete)
    const { missing } = await client.verify([receipt], { start: later, timeout: 100 })
    assert.deepEqual(missing, [receipt.messageId])
    await assert.rejects(client.verify([receipt], { start: 'noon' }), ConfigurationError)
  })
})
