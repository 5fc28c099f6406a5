/**
 * How long `require('intilery')` takes, and how long it is from there to the first client, which loads the addon with
 * libcurl and all that this needs. Each in processes of its own; medians, and the best.
 *
 *     node bench/require_time.mjs [rounds] [--json]
 */

import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const rounds = Number(process.argv.slice(2).find((word) => /^\d+$/.test(word)) ?? 20)
const index = fileURLToPath(new URL('../node/index.cjs', import.meta.url))
const program = `
const start = process.hrtime.bigint()
const { Client } = require(${JSON.stringify(index)})
const loaded = process.hrtime.bigint()
new Client({ clientId: 'hea', accountId: 'hea', brandId: 'HEA', authToken: 'none', dryRun: true })
console.log(JSON.stringify([loaded - start, process.hrtime.bigint() - loaded].map((ns) => Number(ns) / 1e6)))`

const run = () => JSON.parse(execFileSync(process.execPath, ['-e', program], { encoding: 'utf8' }))
run() // the files are in the machine's memory from now on
const times = Array.from({ length: rounds }, run)
const sorted = (column) => times.map((row) => row[column]).sort((a, b) => a - b)
const figures = {
  require_ms: sorted(0)[rounds >> 1],
  require_best_ms: sorted(0)[0],
  first_client_ms: sorted(1)[rounds >> 1],
  first_client_best_ms: sorted(1)[0],
}
if (process.argv.includes('--json')) {
  console.log(JSON.stringify(figures))
} else {
  for (const [name, ms] of Object.entries(figures)) console.log(`${name.padEnd(24)} ${ms.toFixed(2)}`)
}
