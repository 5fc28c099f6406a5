// A small web backend: each call of it is tracked, and `GET /metrics` tells Prometheus how that goes.
//
//   npx intilery sandbox   # in another terminal; its first line is the endpoint
//   export INTILERY_ENDPOINT=http://127.0.0.1:… INTILERY_AUTH_TOKEN=sandbox-token
//   export INTILERY_CLIENT_ID=hea INTILERY_ACCOUNT_ID=hea INTILERY_BRAND_ID=HEA
//   node examples/prometheus.mjs
import { createServer } from 'node:http'
import { Client } from 'intilery'
import { Counter, Gauge, Registry } from 'prom-client'

const states = ['running', 'paused: auth', 'paused: rate', 'paused: unreachable', 'closed']

// What each is in stats(), and the label of its parts. The names are those that OpenTelemetry's metrics get, too.
const list = [
  [Counter, 'intilery_events_accepted_total', 'Events that the client took.', (it) => it.accepted],
  [Counter, 'intilery_events_delivered_total', 'Events that Intilery acknowledged.', (it) => it.delivered],
  [Counter, 'intilery_events_failed_total', 'Events that were given up.', (it) => it.failedByReason, 'reason'],
  [Gauge, 'intilery_events_queued', 'Events without a fate yet.', (it) => it.queued],
  [Gauge, 'intilery_events_in_flight', 'Events in an unanswered request.', (it) => it.inFlight],
  [Counter, 'intilery_events_retried_total', 'Times that an event was sent again.', (it) => it.retried],
  [
    Counter,
    'intilery_requests_total',
    'Requests that ended; 0: no answer.',
    (it) => it.requests,
    'http_response_status_code',
  ],
  [Counter, 'intilery_bytes_sent_total', 'Request bodies, retries included.', (it) => it.bytesSent],
  [Gauge, 'intilery_queue_bytes', 'Size of the events without a fate yet.', (it) => it.queuedBytes],
  [Gauge, 'intilery_rate_left', 'Requests that may go now.', (it) => it.rateLeft],
  [
    Gauge,
    'intilery_state',
    '1 for the state that the client is in.',
    (it) => Object.fromEntries(states.map((state) => [state, Number(state === it.state)])),
    'state',
  ],
]

function collectClient(client, registry) {
  const metrics = list.map(([Kind, name, help, read, label]) => {
    const metric = new Kind({ name, help, labelNames: label ? [label] : [], registers: [registry] })
    return { metric, read, label }
  })
  // The first metric of a scrape reads the client once for all of them.
  metrics[0].metric.collect = () => {
    const stats = client.stats()
    for (const { metric, read, label } of metrics) {
      const value = read(stats)
      metric.reset()
      if (label === undefined) {
        metric.inc(value)
      } else {
        for (const [part, count] of Object.entries(value)) metric.inc({ [label]: part }, count)
      }
    }
  }
}

const client = Client.fromEnv()
const registry = new Registry()
collectClient(client, registry)

const server = createServer(async (request, response) => {
  if (request.url === '/metrics') {
    response.setHeader('content-type', registry.contentType)
    response.end(await registry.metrics())
  } else {
    client.track({ userId: 'visitor', event: 'Page Opened', properties: { path: request.url } })
    response.end('ok\n')
  }
})

server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, async () => {
    server.close()
    server.closeAllConnections()
    await client.close({ timeout: 30_000 })
  })
}
