/** node express.mjs */

import express from 'express'
import { Client } from 'intilery'

const events = Client.fromEnv()
const app = express()
app.use(express.json())

app.post('/orders', (request, response) => {
  const { userId, total } = request.body
  // Not awaited: the answer does not wait for Intilery. `await` gives the receipt.
  events.track({ userId, event: 'Order Completed', properties: { total } })
  response.json({ accepted: true })
})

const server = app.listen(process.env.PORT ?? 3000, '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}`)
})

process.once('SIGTERM', () => {
  server.close(async () => {
    await events.close({ timeout: 10_000 }) // sends what is queued
    process.exit(0)
  })
  server.closeIdleConnections()
})
