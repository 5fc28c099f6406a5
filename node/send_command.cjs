'use strict'
/** `intilery send`: a file's lines as events, from the command line. docs/data.md has its exit codes. */

const { createWriteStream } = require('node:fs')
const { mkdtemp, rm } = require('node:fs/promises')
const { tmpdir } = require('node:os')
const { join } = require('node:path')
const { performance } = require('node:perf_hooks')
const { pipeline } = require('node:stream/promises')
const { parseArgs } = require('node:util')
const { Client, rowAccess } = require('./client.cjs')
const { IntileryError } = require('./errors.cjs')
const { camelCase } = require('./plan.cjs')
const { Run } = require('./send_many.cjs')

const exitCodes = { delivered: 0, incomplete: 1, usage: 2, stopped: 3, SIGINT: 130, SIGTERM: 143 }

const help = `usage: intilery send SOURCE [options]

Sends every line of SOURCE, JSON objects (.ndjson, .jsonl, also .gz and .zst; - is standard input), as an event, and
waits for their fates. The account comes from INTILERY_CLIENT_ID, INTILERY_ACCOUNT_ID, INTILERY_BRAND_ID and
INTILERY_AUTH_TOKEN. A run that was ended goes on where it was when the same command is given again. CSV, Parquet and
queries: pip install 'intilery[cli]'.

  intilery send orders.ndjson --event "Order Completed" --user-id customer --timestamp ordered_at

  --action NAME          track (default), identify, page or screen
  --event NAME           the name of every event
  --event-column NAME    the member that has each event's name
  --user-id NAME         the member with the user ids
  --anonymous-id NAME    the member with the ids of unknown visitors
  --timestamp NAME       the member that says when it happened
  --message-id NAME      the member with the message ids; default: made from the row
  --properties A,B,C     only these members become properties
  --exclude A,B,C        these members do not
  --mapping FILE         a JSON file with the options above
  --format ndjson        if the file's name does not tell
  --source-id TEXT       goes into the message ids; default: the file's name
  --on-invalid WHAT      a row that can be no event: reject (default) or stop
  --rejects FILE         the reject file; default: SOURCE.rejects.ndjson
  --checkpoint FILE      default: SOURCE.checkpoint
  --no-checkpoint        begin at the first row, and remember nothing
  --limit N              send the first rows only
  --dry-run              check every row, and send nothing
  --json                 report in JSON, for programs
  --client-id, --account-id, --brand-id, --endpoint    over the environment's

Exit codes: 0 every row was delivered; 1 some were rejected or failed, and are in the reject file; 2 the command does
not fit the source, nothing was sent; 3 the run was stopped before its end; 130 Ctrl-C, 143 terminated.`

const connection = ['client-id', 'account-id', 'brand-id', 'endpoint']
const texts = [
  'action',
  'event',
  'event-column',
  'user-id',
  'anonymous-id',
  'timestamp',
  'message-id',
  'properties',
  'exclude',
  'mapping',
  'format',
  'source-id',
  'on-invalid',
  'rejects',
  'checkpoint',
  'limit',
  ...connection,
]
const switches = ['no-checkpoint', 'dry-run', 'json', 'help']
const flags = Object.fromEntries([
  ...texts.map((name) => [name, { type: 'string' }]),
  ...switches.map((name) => [name, { type: 'boolean' }]),
])

const interrupted = () => new IntileryError({ code: 'interrupted', message: 'interrupted' })
const refuse = (message) => new IntileryError({ code: 'usage', message })

/** The options of `sendMany` that the flags say. */
function optionsOf(values) {
  const options = {}
  for (const name of texts) {
    if (values[name] !== undefined && !connection.includes(name))
      options[camelCase(name.replaceAll('-', '_'))] = values[name]
  }
  for (const name of ['properties', 'exclude']) {
    if (options[name] !== undefined) options[name] = options[name].split(',')
  }
  if (options.limit !== undefined) options.limit = Number(options.limit)
  return options
}

/** A file with all of standard input: what cannot be read twice cannot be checked before it is sent. */
async function copyOfInput(signal) {
  const folder = await mkdtemp(join(tmpdir(), 'intilery-'))
  const path = join(folder, 'input.ndjson')
  const remove = () => rm(folder, { recursive: true, force: true })
  try {
    await pipeline(process.stdin, createWriteStream(path, { mode: 0o600 }), { signal })
  } catch (error) {
    await remove()
    throw error
  }
  return { path, remove }
}

/** @returns {Promise<number>} the exit code */
async function send(args) {
  const report = new Report(args)
  let source
  let values
  try {
    const parsed = parseArgs({ args, options: flags, allowPositionals: true })
    values = parsed.values
    report.json = values.json ?? false
    report.dryRun = values['dry-run'] ?? false
    if (values.help) {
      console.log(help)
      return exitCodes.delivered
    }
    if (parsed.positionals.length !== 1) throw refuse('give one source: a file, or - (--help has the options)')
    ;[source] = parsed.positionals
  } catch (error) {
    const pythons = /'--(sql|timezone|timestamp-format|delimiter)\b/.exec(error.message)?.[1]
    const hint = `--${pythons} is not of this command; Python's has it: pip install 'intilery[cli]'`
    report.json ||= args.includes('--json')
    return report.refuse(pythons === undefined ? error : refuse(hint))
  }

  // The first signal ends the run in good order, the second one at once.
  const ended = new AbortController()
  const signals = ['SIGINT', 'SIGTERM']
  const end = (signal) => {
    for (const name of signals) process.removeListener(name, end)
    ended.abort(signal)
  }
  for (const name of signals) process.on(name, end)

  const options = optionsOf(values)
  let input
  let client
  try {
    if (source === '-') {
      input = await copyOfInput(ended.signal)
      options.sourceId ??= ''
      options.rejects ??= 'intilery-rejects.ndjson'
      report.again = 'the same command again'
    }
    if (values['no-checkpoint']) options.checkpoint = undefined
    else if (source !== '-') options.checkpoint ??= true
    const given = connection.filter((name) => values[name] !== undefined)
    client = Client.fromEnv({
      ...Object.fromEntries(given.map((name) => [camelCase(name.replaceAll('-', '_')), values[name]])),
      ...(report.dryRun ? { dryRun: true } : {}),
      logger: report.logger,
    })
    const run = await Run.open(rowAccess(client), input?.path ?? source, {
      ...options,
      signal: ended.signal,
      onProgress: (sent) => report.show(sent, client),
    })
    return await follow(client, run, report, ended.signal)
  } catch (error) {
    if (!ended.signal.aborted) return report.refuse(error)
    report.refuse(interrupted())
    return exitCodes[ended.signal.reason]
  } finally {
    await client?.close({ timeout: 0 })
    await input?.remove()
    for (const name of signals) process.removeListener(name, end)
  }
}

async function follow(client, run, report, signal) {
  let code = exitCodes.delivered
  let why
  const refused = () => client.stats().state === 'paused: auth'
  const watch = setInterval(() => {
    if (refused()) {
      run.interrupt(
        new IntileryError({ code: 'auth', message: 'the service refuses the token (403): set INTILERY_AUTH_TOKEN' }),
      )
    }
  }, 200)
  try {
    await run.send()
  } catch (error) {
    code = signal.aborted ? exitCodes[signal.reason] : exitCodes.stopped
    why = signal.aborted ? interrupted() : error
  }
  clearInterval(watch)
  // What is on its way gets its fate now, or is sent again by the next run. The report says how much that is.
  report.silent = true
  await client.close({ timeout: refused() ? 0 : 2000 })
  try {
    await run.close()
  } catch (error) {
    code ||= exitCodes.stopped
    why ??= error
  }
  const sent = run.sent()
  if (code === exitCodes.delivered && sent.delivered < sent.rows) code = exitCodes.incomplete
  report.finish(sent, run, why, code)
  return code
}

const count = (number) => number.toLocaleString('en')

function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`
  const minutes = Math.floor(Math.round(seconds) / 60)
  return minutes < 60
    ? `${minutes} min ${Math.round(seconds) % 60} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

/** A word as a shell reads it. */
const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`)

/** Tells a person, or a program in JSON. Progress goes to standard error, the end to standard output. */
class Report {
  json = false
  dryRun = false
  /** The client's log is not shown any more. */
  silent = false
  #told = performance.now()
  #recent = []
  #live = process.stderr.isTTY === true
  #shown = false

  constructor(args) {
    this.again = ['npx intilery send', ...args.map(quoted)].join(' ')
  }

  get logger() {
    const print = (line) => this.silent || this.#print(line)
    return { debug: () => {}, info: () => {}, warn: print, error: print }
  }

  refuse(error) {
    const { message, code = '' } = error
    if (this.json) console.log(JSON.stringify({ error: message, code, exit_code: exitCodes.usage }))
    else this.#print(`intilery send: ${message}`)
    return exitCodes.usage
  }

  show(sent, client) {
    if (this.json || this.silent) return
    const now = performance.now()
    const { retried, state } = client.stats()
    const settled = sent.rows - sent.remaining
    this.#recent.push([now, settled])
    if (this.#recent.length > 50) this.#recent.shift() // ten seconds
    const [before, settledBefore] = this.#recent[0]
    const rate = ((settled - settledBefore) / Math.max(200, now - before)) * 1000
    if (!this.#live && now - this.#told < 2000) return
    this.#told = now
    const cells = [
      `rows ${count(sent.rows)}${sent.total === undefined ? '' : ` of ${count(sent.total)}`}`,
      `delivered ${count(sent.delivered)}`,
      `rejected ${count(sent.rejected)}`,
      `failed ${count(sent.failed)}`,
      `waiting ${count(sent.remaining)}`,
      `sent again ${count(retried)}`,
      `${count(Math.round(rate))} a second`,
      state,
    ]
    if (sent.total !== undefined && rate > 0) cells.push(`left ${duration((sent.total - settled) / rate)}`)
    const line = cells.join(', ')
    if (this.#live) {
      process.stderr.write(`\r\x1b[K${line.slice(0, (process.stderr.columns || 80) - 1)}`)
      this.#shown = true
    } else {
      this.#print(line)
    }
  }

  finish(sent, run, why, code) {
    this.#clear()
    const { checkpoint } = run
    if (this.json) {
      const error = why === undefined ? {} : { error: why.message, code: why.code ?? '' }
      const { total = null, rejects = null } = sent
      const more = { total, rejects, dry_run: this.dryRun, checkpoint: checkpoint ?? null, exit_code: code, ...error }
      console.log(JSON.stringify({ ...sent, ...more }))
      return
    }
    if (why !== undefined) this.#print(`intilery send: ${why.message}`)
    const rate = (sent.rows - sent.resumed) / Math.max(sent.seconds, 1e-3)
    const before = sent.resumed > 0 ? `, ${count(sent.resumed)} of them before this run` : ''
    const dry = this.dryRun ? ': a dry run, nothing was sent' : ''
    const lines = [
      `${count(sent.rows)} rows${before}, in ${duration(sent.seconds)} (${count(Math.round(rate))} a second)${dry}`,
      `  ${count(sent.delivered)} delivered${sent.resent > 0 ? ` (${count(sent.resent)} needed more than one request)` : ''}`,
    ]
    if (sent.rejected + sent.failed > 0) {
      const where = sent.rejects === undefined ? '' : `: see ${sent.rejects}`
      lines.push(`  ${count(sent.rejected)} rejected, ${count(sent.failed)} failed${where}`)
    }
    if (sent.remaining > 0) lines.push(`  ${count(sent.remaining)} without a fate yet`)
    if (why !== undefined) {
      const kept =
        checkpoint === undefined ? 'from the first row, with the same ids' : `${checkpoint} says where it was`
      lines.push(`To go on: ${this.again}`, `  (${kept})`)
    }
    console.log(lines.join('\n'))
  }

  #clear() {
    if (this.#shown) process.stderr.write('\r\x1b[K')
    this.#shown = false
  }

  #print(line) {
    this.#clear()
    process.stderr.write(`${line}\n`)
  }
}

module.exports = { send }
