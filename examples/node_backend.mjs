// A small web backend: each call of it is tracked, and none waits for that.
import { createServer } from 'node:http'
import { Client } from 'intilery'

const client = Client.fromEnv()

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost')
  client.track({
    userId: searchParams.get('user') ?? 'visitor',
    event: 'Product Viewed',
    properties: { path: pathname, number: Number(searchParams.get('number')) },
  })
  response.end('ok\n')
})

server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))

process.on('SIGTERM', async () => {
  server.close()
  server.closeAllConnections()
  const { remaining } = await client.close({ timeout: 30_000 })
  process.exitCode = remaining === 0 ? 0 : 1
})
