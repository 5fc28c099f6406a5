/**
 * What one track() costs the caller, against JSON.stringify of the same object, in one run with alternating rounds.
 *
 *     node --expose-gc bench/track_cost.mjs [rounds] [--json]
 *
 * The events go to the in-process sandbox, so the client's own thread and the event loop work as they do in a program.
 * Prints what the quickest tenth of the slices and their median took: other programs on the machine disturb the rest.
 */

import { readFileSync } from 'node:fs'
import { Client } from '../node/index.mjs'

const asJson = process.argv.includes('--json')
const rounds = Number(process.argv.slice(2).find((word) => /^\d+$/.test(word)) ?? 40)
const slices = 20
const perSlice = 100

const order = JSON.parse(readFileSync(new URL('payload.json', import.meta.url)))

/** Nanoseconds for each of `perSlice` calls. */
function time(call) {
  const start = process.hrtime.bigint()
  for (let i = 0; i < perSlice; ++i) call()
  return Number(process.hrtime.bigint() - start) / perSlice
}

const quantile = (values, part) => [...values].sort((a, b) => a - b)[Math.floor(values.length * part)]

const sandbox = process.env.INTILERY_BENCH_ENDPOINT
  ? undefined
  : await (await import('../node/testing.mjs')).Sandbox.start({ rateLimit: 0 })
const client = new Client({
  clientId: 'hea',
  accountId: 'hea',
  brandId: 'HEA',
  authToken: 'sandbox-token',
  endpoint: sandbox?.url ?? process.env.INTILERY_BENCH_ENDPOINT,
})

let size = 0
const stringify = () => {
  size += JSON.stringify(order).length
}
const track = () => {
  client.track({ userId: 'ABC/123', event: 'Order Completed', properties: order })
}

const stringified = []
const tracked = []
for (let round = 0; round < rounds; ++round) {
  // In slices, so that both have the same company: the client's thread and the sandbox work meanwhile.
  for (let slice = 0; slice < slices; ++slice) {
    stringified.push(time(stringify))
    tracked.push(time(track))
  }
  await client.drained() // outside the measured time: the queue must not fill
}
const { failed } = client.stats()
await client.close()
await sandbox?.stop()
if (failed > 0) throw new Error(`${failed} events failed: the measured time means nothing`)

const tenth = (values) => quantile(values, 0.1)
const median = (values) => quantile(values, 0.5)
const show = (values) => `${tenth(values).toFixed(0)} ns, median ${median(values).toFixed(0)} ns`
const ratio = (of) => (of(tracked) / of(stringified)).toFixed(2)
if (asJson) {
  const figures = { track_ns: tenth(tracked), stringify_ns: tenth(stringified), ratio: Number(ratio(tenth)) }
  console.log(JSON.stringify({ ...figures, median_ratio: Number(ratio(median)) }))
} else {
  console.log(`an object of ${size / rounds / slices / perSlice} bytes, ${rounds * slices} slices of ${perSlice} calls`)
  console.log(`JSON.stringify: quickest tenth ${show(stringified)}`)
  console.log(`client.track:   quickest tenth ${show(tracked)}`)
  console.log(`ratio: quickest tenth ${ratio(tenth)}, median ${ratio(median)}`)
}
