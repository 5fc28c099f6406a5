/**
 * What events cost the event loop.
 *
 *     node bench/node_loop.mjs [--json]
 *
 * Blocked: how long the loop is busy for each of 20,000 calls in a row, and with their fates, against as many
 * JSON.stringify of the same object, in alternating rounds. Delay: how late a timer is while 20,000 events a
 * second are sent, against a loop that does nothing but tick; in alternating slices of a second. The server is another
 * process, or what INTILERY_BENCH_ENDPOINT names.
 */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createHistogram, performance } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { Client } from '../node/index.mjs'

const calls = 20_000
const rounds = 15
const perSlice = 500
const perSecond = 20_000
const slices = 8
const sliceMs = 1_000

const order = JSON.parse(readFileSync(new URL('payload.json', import.meta.url)))

/** Takes everything, in a process of its own. */
async function serve() {
  const server = createServer((request, response) => {
    request.resume().on('end', () => response.end('{"success":true,"eventId":"00000000-0000-7000-8000-000000000000"}'))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  process.send(`http://127.0.0.1:${server.address().port}`)
  process.once('disconnect', () => process.exit())
}

/** What each slice of the calls took, in milliseconds. */
function timeSlices(call) {
  const times = []
  for (let slice = 0; slice < calls / perSlice; ++slice) {
    const start = performance.now()
    for (let i = 0; i < perSlice; ++i) call()
    times.push(performance.now() - start)
  }
  return times
}

/** How long the event loop is busy, waiting for nothing, until all that was sent has its fate. */
async function timeRest(client) {
  const before = performance.eventLoopUtilization()
  await client.drained()
  return performance.eventLoopUtilization(before).active
}

/** Nanoseconds a call: the sum of what each part took in its quickest round. Others' programs disturb most rounds. */
function perCall(rounds) {
  const quickest = rounds[0].map((_, part) => Math.min(...rounds.map((round) => round[part])))
  return Math.round((quickest.reduce((sum, time) => sum + time) * 1e6) / calls)
}

async function measureBlocking(client) {
  const stringified = []
  const tracked = []
  const rests = []
  let size = 0
  for (let round = 0; round < rounds; ++round) {
    const stringify = () => {
      size += JSON.stringify(order).length
    }
    stringified.push(timeSlices(stringify))
    const track = () => client.track({ userId: 'ABC/123', event: 'Order Completed', properties: order })
    tracked.push(timeSlices(track))
    rests.push([await timeRest(client)])
  }
  const [stringify, loop, fates] = [stringified, tracked, rests].map(perCall)
  return { size: size / calls / rounds, stringify, fates, blocked: loop + fates }
}

/** Ticks as often as timers do for a second; calls `work` with what is due. */
async function tick(delays, work) {
  const start = performance.now()
  let done = 0
  for (let last = start; last - start < sliceMs; ) {
    await new Promise((resolve) => setTimeout(resolve, 1))
    const now = performance.now()
    delays.record(Math.max(1, Math.round((now - last - 1) * 1e6)))
    const due = Math.floor(((now - start) * perSecond) / 1_000)
    work(due - done)
    done = due
    last = now // before the work, whose time so makes the next timer late
  }
  return done
}

async function measureDelay(client) {
  const idle = createHistogram()
  const loaded = createHistogram()
  let sent = 0
  for (let slice = 0; slice < slices; ++slice) {
    await tick(idle, () => {})
    sent += await tick(loaded, (count) => {
      for (let i = 0; i < count; ++i) {
        client.track({ userId: `user-${i}`, event: 'Order Completed', properties: order })
      }
    })
    await client.drained()
  }
  const p99 = (histogram) => histogram.percentile(99) / 1e6
  return { perSecond: (sent / slices / sliceMs) * 1_000, idle: p99(idle), loaded: p99(loaded) }
}

async function measure() {
  const server = process.env.INTILERY_BENCH_ENDPOINT ? undefined : fork(fileURLToPath(import.meta.url), ['serve'])
  const endpoint = server ? (await once(server, 'message'))[0] : process.env.INTILERY_BENCH_ENDPOINT
  const account = { clientId: 'hea', accountId: 'hea', brandId: 'HEA', authToken: 'sandbox-token' }
  const client = new Client({ ...account, endpoint, delivery: 'batch', rateLimit: 100_000 })
  const blocking = await measureBlocking(client)
  const delay = await measureDelay(client)
  const { failed } = client.stats()
  await client.close()
  server?.disconnect()
  if (failed > 0) throw new Error(`${failed} events failed: what was measured means nothing`)

  const figures = {
    blocked_ns: blocking.blocked,
    stringify_ns: blocking.stringify,
    fates_ns: blocking.fates,
    blocked_ratio: Number((blocking.blocked / blocking.stringify).toFixed(2)),
    events_per_second: Math.round(delay.perSecond),
    delay_p99_idle_ms: Number(delay.idle.toFixed(3)),
    delay_p99_ms: Number(delay.loaded.toFixed(3)),
    delay_p99_above_idle_ms: Number((delay.loaded - delay.idle).toFixed(3)),
  }
  if (process.argv.includes('--json')) {
    console.log(JSON.stringify(figures))
    return
  }
  console.log(`an object of ${blocking.size} bytes, ${calls} calls in a row, quickest of ${rounds} rounds`)
  console.log(`JSON.stringify: ${figures.stringify_ns} ns; the loop is blocked for ${figures.blocked_ns} ns an event,`)
  console.log(`of which its fate takes ${figures.fates_ns} ns; ratio ${figures.blocked_ratio}`)
  console.log(`at ${figures.events_per_second} events a second a timer is late by (p99) ${figures.delay_p99_ms} ms,`)
  console.log(`in an idle loop ${figures.delay_p99_idle_ms} ms: ${figures.delay_p99_above_idle_ms} ms above it`)
}

await (process.argv.includes('serve') ? serve() : measure())
