// Sends the campaign's events from Node; arguments and output as sender.py has them.
import { writeFileSync } from 'node:fs'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { Client } from '../../node/index.mjs'

const [events, users, rate] = process.argv.slice(2, 5).map(Number)
const idsFile = process.argv[5]
const deliveredIds = []
const receipts = { delivered: 0, failed: 0 }
const due = new Map()

const told = (error, receipt) => {
  receipts[error ? 'failed' : 'delivered'] += 1
  if (!error && idsFile !== '-') deliveredIds.push(receipt.messageId)
}

const numbered = (user, values) => {
  const number = due.get(user) ?? 0
  due.set(user, number + 1)
  return { n: number, mark: `${user}/${number}/é😀`, ...values }
}

const send = (i) => {
  const block = Math.floor(i / 50)
  const place = i % 50
  const userId = `user-${(place < 2 ? block : i * 7919) % users}`
  if (place === 0) {
    client.identify({ userId, traits: numbered(userId, { email: 'fred@example.com', plan: null }) }, told)
  } else if (place === 1) {
    client.sendEmail({ userId, assetId: 'asset-7', data: numbered(userId, { code: '1234' }) }, told)
  } else if (place === 2) {
    const anonymousId = `visitor-${block % users}`
    client.page({ anonymousId, properties: numbered(anonymousId, { path: '/cart' }) }, told)
  } else {
    const note = 'x'.repeat(i % 1000 === 999 ? 40_000 : (i * 31) % 500)
    const properties = numbered(userId, { revenue: 30.25, items: [{ sku: 'a-1' }], note })
    client.track({ userId, event: 'Order Completed', properties }, told)
  }
}

const checkBalance = () => {
  const stats = client.stats()
  if (stats.accepted !== stats.delivered + stats.failed + stats.queued) {
    throw new Error(`accepted is not delivered + failed + queued: ${JSON.stringify(stats)}`)
  }
}

const client = Client.fromEnv()
const start = performance.now()
for (let i = 0; i < events; i += 1) {
  const early = rate === 0 ? 0 : start + (i * 1000) / rate - performance.now()
  if (early > 0) await setTimeout(Math.max(early, 10))
  send(i)
  if (i % 1000 === 0) {
    checkBalance()
    await setImmediate()
  }
}
await client.flush()
checkBalance()
await client.close()
const { accepted, delivered, failed, failedByReason, queued, requests } = client.stats()
if (idsFile !== '-') writeFileSync(idsFile, deliveredIds.map((id) => `${id}\n`).join(''))
console.log(
  JSON.stringify({ accepted, delivered, failed, failed_by_reason: failedByReason, queued, receipts, requests }),
)
