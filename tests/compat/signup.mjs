/** A program for Segment's Node client. */

import { Analytics } from '@segment/analytics-node'

const analytics = new Analytics({ writeKey: process.env.SEGMENT_WRITE_KEY, host: process.env.SEGMENT_HOST, flushAt: 5 })
const heard = []
analytics.on('error', (error) => console.error(error))
analytics.on('identify', (ctx) => heard.push(`identify ${ctx.event.userId}`))
analytics.on('track', (ctx) => heard.push(`track ${ctx.event.event}`))

const timestamp = new Date('2024-07-05T11:00:00.250Z')
const { identify, track } = analytics
identify({
  userId: 'ABC/123',
  traits: { name: 'Fred', email: 'fred@example.com', friends: 42, joined: timestamp },
  context: { ip: '192.0.2.7', groupId: 'acme' },
  timestamp,
})
track({
  userId: 'ABC/123',
  event: 'Order Completed',
  properties: { revenue: 30.5, products: [{ sku: 'a', price: 10 }], coupon: null, note: undefined },
  timestamp: '2024-07-05T11:00:00.250Z',
  messageId: 'order-1',
})
analytics.page({
  userId: 'ABC/123',
  category: 'Docs',
  name: 'Node',
  properties: { url: 'https://example.com/docs', path: '/docs' },
  timestamp,
})
analytics.page({ anonymousId: 'visitor-1', name: 'Cart', timestamp })
analytics.screen({ userId: 'ABC/123', category: 'App', name: 'Home', properties: { theme: 'dark' }, timestamp })
const viewed = new Promise((resolve, reject) => {
  analytics.track(
    { anonymousId: 'visitor-1', event: 'Cart Viewed', integrations: { All: false, Vero: true }, timestamp },
    (error, ctx) => (error ? reject(error) : resolve(ctx.event.event)),
  )
})
await analytics.flush()
heard.push(`callback ${await viewed}`)
await analytics.closeAndFlush({ timeout: 10_000 })
console.log(heard.sort().join(', '))
