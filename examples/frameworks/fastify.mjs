/** node fastify.mjs */

import Fastify from 'fastify'
import { Client } from 'intilery'

const app = Fastify()
const events = Client.fromEnv()
app.addHook('onClose', () => events.close({ timeout: 10_000 })) // sends what is queued

app.post('/orders', async (request) => {
  const { userId, total } = request.body
  events.track({ userId, event: 'Order Completed', properties: { total } })
  return { accepted: true }
})

process.once('SIGTERM', async () => {
  await app.close()
  process.exit(0)
})
console.log(await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 3000) }))
