'use strict'
/** A program for Segment's Node client: an HTTP server's, with what its documentation advises for its end. */

const { Analytics } = require('@segment/analytics-node')
const http = require('node:http')

const analytics = new Analytics({
  writeKey: process.env.SEGMENT_WRITE_KEY,
  host: process.env.SEGMENT_HOST,
  maxRetries: 3,
  flushAt: 20,
  flushInterval: 1000,
  httpRequestTimeout: 5000,
})
let late = 0
analytics.on('call_after_close', () => {
  late += 1
})

const server = http.createServer((request, response) => {
  const number = Number(request.url.slice(1))
  analytics.track({
    userId: `user-${number % 3}`,
    event: 'Order Completed',
    properties: { number, total: number * 1.5 },
    context: { locale: 'en-GB' },
  })
  response.end('thanks')
})

server.listen(0, '127.0.0.1', async () => {
  const { port } = server.address()
  await Promise.all(Array.from({ length: 120 }, (_, i) => fetch(`http://127.0.0.1:${port}/${i}`)))
  await analytics.closeAndFlush()
  analytics.track({ userId: 'user-0', event: 'Too Late' })
  server.close()
  server.closeAllConnections()
  console.log(`${late} too late`)
})
