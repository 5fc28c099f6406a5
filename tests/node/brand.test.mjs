// client.brand(…): one client, several brands.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { Client, ClosedError, ConfigurationError } from 'intilery'
import { Sandbox } from 'intilery/testing'

/** Runs `body` with a sandbox that knows two brands, and a client. */
async function withClient(body, options = {}) {
  const sandbox = await Sandbox.start({ brandIds: ['HEA', 'HEB'], rateLimit: 0 })
  const client = new Client({
    clientId: 'hea',
    accountId: 'hea',
    brandId: 'HEA',
    authToken: 'sandbox-token',
    endpoint: sandbox.url,
    ...options,
  })
  try {
    await body(client, sandbox)
  } finally {
    await client.close({ timeout: 10 })
    await sandbox.stop()
  }
}

function byBrand(sandbox) {
  const counts = {}
  for (const { brandId } of sandbox.events()) counts[brandId] = (counts[brandId] ?? 0) + 1
  return counts
}

test('a view sends to its brand and shares the rest', async () => {
  await withClient(async (client, sandbox) => {
    const heb = client.brand('HEB')
    assert.ok(heb instanceof Client)
    heb.identify({ userId: 'u', traits: { city: 'Bath' } })
    heb.send({ action: 'track', userId: 'u', event: 'Sent' })
    heb.track({ userId: 'u', event: 'Exact', properties: { big: 10n } })
    const delivery = heb.track({ userId: 'u', event: 'Viewed' })
    client.track({ userId: 'u', event: 'Login' })
    assert.equal((await heb.flush()).remaining, 0)
    assert.equal(client.stats().delivered, 5)
    assert.deepEqual(heb.stats().delivered, 5)
    assert.equal((await delivery).status, 200)
    assert.ok((await heb.verify([delivery], { userId: 'u' })).complete)
    assert.match(sandbox.requests().at(-1).path, /^\/track\/hea\/hea\/HEB\/v1\/profiles\//)
    assert.deepEqual(byBrand(sandbox), { HEA: 1, HEB: 4 })
    assert.deepEqual(JSON.parse(JSON.stringify(heb)), { state: 'running', queued: 0 })
  })
})

test("a view's events are its client's, and many views may come and go", async () => {
  await withClient(async (client, sandbox) => {
    const deliveries = []
    for (let i = 0; i < 2000; ++i) deliveries.push(client.brand('HEB').track({ userId: 'u', event: 'Viewed' }))
    await client.brand('HEB').drained()
    await Promise.all(deliveries)
    assert.deepEqual(byBrand(sandbox), { HEB: 2000 })

    const heb = client.brand('HEB')
    sandbox.setFaults({ status: 400, times: 1 })
    const failed = once(heb, 'failure')
    heb.brand('HEB').track({ userId: 'u', event: 'Viewed' })
    const [{ error }] = await failed
    assert.equal(error.code, 'rejected')
    const drained = once(client, 'drain')
    assert.equal(
      heb.on('drain', () => {}),
      heb,
    )
    assert.equal(client.listenerCount('drain'), 2)
    client.brand('HEB').track({ userId: 'u', event: 'Viewed' })
    await drained
  })
})

test('disposing of a view closes nothing, and close() of one closes the whole', async () => {
  await withClient(async (client) => {
    const heb = client.brand('HEB')
    if (Symbol.asyncDispose !== undefined) await heb[Symbol.asyncDispose]()
    await client.track({ userId: 'u', event: 'Login' })
    await heb.close()
    assert.throws(() => client.track({ userId: 'u', event: 'Login' }), ClosedError)
  })
})

test("a view's name is checked as the option is", async () => {
  await withClient(async (client) => {
    for (const name of ['', '../x', 'H B', 5, undefined]) {
      assert.throws(
        () => client.brand(name),
        (error) => error instanceof ConfigurationError && error.option === 'brandId',
        String(name),
      )
    }
  })
})

test("a mistake in a view's call is reported as any other", async () => {
  await withClient(
    async (client) => {
      const heb = client.brand('HEB')
      await assert.rejects(heb.track({ userId: 'u' }), { code: 'required' })
      await assert.rejects(heb.track({ userId: 'u', event: 'E', propertes: {} }), { code: 'unknown_field' })
    },
    { onInvalid: 'report' },
  )
})
