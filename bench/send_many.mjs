/**
 * Rows a second, peak memory, and how long the event loop waits meanwhile: NDJSON by path, in a dry run and to the
 * sandbox, and objects.
 *
 *     node bench/send_many.mjs [rows]     # 1,000,000
 */

import { createWriteStream, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout } from 'node:timers/promises'
import { Client } from '../node/index.mjs'
import { Sandbox } from '../node/testing.mjs'

const rows = Number(process.argv[2] ?? 1_000_000)
const events = ['Order Completed', 'Product Viewed', 'Cart Updated']

function row(n) {
  return {
    user_id: `user-${(n * 7919) % 100_000}`,
    event: events[n % 3],
    timestamp: new Date(Date.UTC(2024, 0, 1) + n * 1000).toISOString(),
    product: { id: n, sku: `SKU-${n % 5000}`, price: (n % 10_000) / 100 },
    quantity: n % 7,
    title: `A title of a page, number ${n}`,
    member: n % 2 === 0,
  }
}

function* lines() {
  for (let n = 0; n < rows; n += 1000) {
    let text = ''
    for (let i = n; i < Math.min(n + 1000, rows); ++i) text += `${JSON.stringify(row(i))}\n`
    yield text
  }
}

function* objects() {
  for (let n = 0; n < rows; ++n) yield row(n)
}

const ms = (ns) => (ns / 1e6).toFixed(1)

function watchLoop() {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  return () => {
    delay.disable()
    return (
      `event loop: median ${ms(delay.percentile(50))} ms, 99 % ${ms(delay.percentile(99))} ms, ` +
      `worst ${ms(delay.max)} ms`
    )
  }
}

async function measure(what, client, source) {
  const loop = watchLoop()
  const started = performance.now()
  const cpu = process.cpuUsage()
  const sent = await client.sendMany(source)
  const seconds = (performance.now() - started) / 1000
  const { user, system } = process.cpuUsage(cpu)
  const waited = loop()
  if (sent.delivered !== rows) throw new Error(`only ${sent.delivered} of ${rows} rows were delivered`)
  await client.close()
  console.log(
    `${what.padEnd(24)} ${Math.round(rows / seconds)
      .toLocaleString('en')
      .padStart(10)} rows/s  ` +
      `${((user + system) / rows).toFixed(2)} us of CPU a row  ${waited}  ` +
      `${Math.round(process.memoryUsage.rss() / 1e6)} MB`,
  )
}

const folder = mkdtempSync(join(tmpdir(), 'intilery-'))
const sandbox = new Sandbox({ rateLimit: 0, maxStoredBytes: 1_000_000 })
try {
  const idle = watchLoop()
  await setTimeout(2000)
  console.log(`${'nothing, for comparison'.padEnd(24)} ${idle()}`)
  const file = join(folder, 'rows.ndjson')
  await pipeline(Readable.from(lines()), createWriteStream(file))
  const dry = () =>
    new Client({ clientId: 'hea', accountId: 'hea', brandId: 'HEA', authToken: 'sandbox-token', dryRun: true })
  await measure('NDJSON, nothing sent', dry(), file)
  await measure('objects, nothing sent', dry(), objects())
  await measure('NDJSON, to the sandbox', sandbox.client(), file) // its own time and memory are in the figures
} finally {
  await sandbox.stop()
  rmSync(folder, { recursive: true })
}
