/**
 * One Node client in a process of its own; compare.py runs this for each.
 *
 *     node bench/peers/client.mjs NAME MODE URL EVENTS FOLDER    # FOLDER: where NAME is installed
 *
 * MODE `send`: to a server that answers; prints what requiring it, a call, and an event until its acknowledgement cost,
 * and how long the event loop was busy for each. MODE `queue`: to a server that never answers, with the largest queue;
 * prints what a call cost and the memory that an event takes there. Each client is set up as its own documentation begins, but for the
 * address.
 */

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { performance } from 'node:perf_hooks'

const [name, mode, url, count, folder] = process.argv.slice(2)
const events = Number(count)
const large = mode === 'queue'
const order = JSON.parse(readFileSync(new URL('../payload.json', import.meta.url)))
const userId = 'ABC/123456'
const event = 'Order Completed'

const clients = {
  intilery({ Client }) {
    const client = new Client({
      clientId: 'hea',
      accountId: 'hea',
      brandId: 'HEA',
      authToken: 'sandbox-token',
      endpoint: url,
      delivery: 'batch',
      rateLimit: 100_000,
      maxQueueBytes: 4_000_000_000, // wall.py sends a million
      exitTimeout: 0,
    })
    return [(properties) => client.track({ userId, event, properties }), () => client.flush()]
  },
  '@segment/analytics-node'({ Analytics }) {
    const client = new Analytics({ writeKey: 'key', host: url })
    return [(properties) => client.track({ userId, event, properties }), () => client.flush()]
  },
  'posthog-node'({ PostHog }) {
    const client = new PostHog('key', { host: url, maxQueueSize: large ? 10_000_000 : 1000 })
    return [(properties) => client.capture({ distinctId: userId, event, properties }), () => client.flush()]
  },
  '@rudderstack/rudder-sdk-node'(module) {
    const Analytics = module.default ?? module
    const client = new Analytics('key', { dataPlaneUrl: url, maxInternalQueueSize: large ? 10_000_000 : 20_000 })
    let open = 0
    return [
      (properties) => {
        ++open
        client.track({ userId, event, properties }, () => --open)
      },
      async () => {
        while (open > 0) {
          await client.flush() // of the next 20
          await new Promise(setImmediate)
        }
      },
    ]
  },
  mixpanel({ init }) {
    const { hostname, port } = new URL(url)
    const client = init('token', { host: hostname, port, protocol: 'http', verbose: true })
    return inTurns((properties, done) => client.track(event, { ...properties, distinct_id: userId }, done))
  },
  'mixpanel track_batch'({ init }) {
    const { hostname, port } = new URL(url)
    const client = init('token', { host: hostname, port, protocol: 'http', verbose: true })
    let batch = []
    const pending = []
    const send = () => {
      const full = batch
      batch = []
      pending.push(new Promise((resolve) => client.track_batch(full, resolve)))
    }
    return [
      (properties) => {
        batch.push({ event, properties: { ...properties, distinct_id: userId } })
        if (batch.length === 50) send()
      },
      () => {
        if (batch.length > 0) send()
        return Promise.all(pending)
      },
      false,
    ]
  },
  '@amplitude/analytics-node'({ init, track, flush }) {
    init('key', { serverUrl: `${url}/2/httpapi`, logLevel: 0 })
    const pending = []
    return [
      (properties) => pending.push(track(event, properties, { user_id: userId }).promise),
      async () => {
        await flush().promise
        await Promise.all(pending.splice(0))
      },
    ]
  },
  'customerio-node'({ TrackClient }) {
    const client = new TrackClient('site', 'key', { url: `${url}/api/v1` })
    return inTurns((data, done) => client.track(userId, { name: event, data }).then(done, done))
  },
}

/** For a client that makes a request of each call at once: no more than 50 at a time, or the sockets run out. */
function inTurns(send) {
  const waiting = []
  let open = 0
  let idle = () => {}
  const next = () => {
    while (open < 50 && waiting.length > 0) {
      ++open
      send(waiting.pop(), () => {
        --open
        next()
      })
    }
    if (open === 0) idle()
  }
  return [
    (order) => {
      waiting.push(order)
      next()
    },
    () =>
      new Promise((resolve) => {
        idle = resolve
        next()
      }),
    false, // what waits, waits here
  ]
}

const started = performance.now()
const module =
  name === 'intilery'
    ? createRequire(import.meta.url)('../../node/index.cjs')
    : createRequire(`${folder}/`)(name.split(' ')[0])
const result = { import_ms: performance.now() - started }
/** Microseconds of processor time that this thread has had. */
const threadTime = () => Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e3

const [call, finish, queues = true] = clients[name](module)
if (large && !queues) {
  result.queue_bytes = null
} else if (large) {
  const before = process.memoryUsage.rss()
  const begun = performance.now()
  for (let i = 0; i < events; ++i) call(order)
  result.call_us = ((performance.now() - begun) * 1e3) / events
  result.queue_bytes = (process.memoryUsage.rss() - before) / events
} else {
  for (let i = 0; i < 100; ++i) call({ warm: true }) // connections, threads and caches are there before it counts
  await finish()
  const loop = performance.eventLoopUtilization()
  const cpu = process.cpuUsage()
  const own = threadTime()
  const begun = performance.now()
  for (let i = 0; i < events; ++i) call(order)
  const called = performance.now()
  result.call_cpu_us = (threadTime() - own) / events
  await finish()
  const { user, system } = process.cpuUsage(cpu)
  result.call_us = ((called - begun) * 1e3) / events
  result.cpu_us = (user + system) / events
  result.loop_us = (performance.eventLoopUtilization(loop).active * 1e3) / events
  result.wall_us = ((performance.now() - begun) * 1e3) / events
}
console.log(JSON.stringify(result))
process.exit(0) // what still waits for the silent server is not waited for
