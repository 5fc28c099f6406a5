'use strict'
/** `sendMany`: a source's rows, on their way to their fates. */

const { Writable } = require('node:stream')
const { performance } = require('node:perf_hooks')
const { types, inspect } = require('node:util')
const { ClosedError, makeError } = require('./errors.cjs')
const { levels } = require('./log.cjs')
const { load } = require('./native.cjs')
const { makePlan, planNames, planText, refuse, resolve, unknown } = require('./plan.cjs')
const { RejectFile } = require('./reject_file.cjs')
const { isSame, openSource } = require('./row_source.cjs')
const { isFaithful, maxDepth, serialise } = require('./values.cjs')

const { openCheckpoint } = load('intilery')

// line_sender.hpp: LineSender::Step.
const steps = { hungry: 0, paused: 1, rejects: 2, full: 3, names: 4, stopped: 5, done: 6 }

/** The event loop is lent for so long at a time. */
const turn = 3
/** What is known is written down so often. */
const noteInterval = 200

const runNames = [
  'mapping',
  'onInvalid',
  'rejects',
  'onReject',
  'checkpoint',
  'limit',
  'signal',
  'onProgress',
  'objectMode',
]

/** What a call to the native side gave, if that is no error. */
function given(result) {
  if (result?.kind !== undefined) throw makeError(result)
  return result
}

function kindOf(value) {
  if (value === null) return 'null'
  if (typeof value === 'string') return 'text'
  return Array.isArray(value) ? 'an array' : `a ${typeof value}`
}

function checkOptions(options) {
  const names = [...planNames, ...runNames]
  for (const name of Object.keys(options)) {
    if (!names.includes(name)) throw unknown(name, name, names)
  }
  const { onInvalid = 'reject', limit, rejects, checkpoint } = options
  if (!['reject', 'stop'].includes(onInvalid)) {
    throw refuse('onInvalid', 'invalid_value', `onInvalid must be 'reject' or 'stop', not ${inspect(onInvalid)}`)
  }
  if (limit !== undefined && !(Number.isSafeInteger(limit) && limit >= 0)) {
    throw refuse('limit', 'invalid_value', `limit must be a number of rows, not ${inspect(limit)}`)
  }
  for (const name of ['onReject', 'onProgress']) {
    if (options[name] !== undefined && typeof options[name] !== 'function') {
      throw refuse(name, 'wrong_type', `${name} must be a function`)
    }
  }
  if (rejects !== undefined && typeof rejects !== 'string')
    throw refuse('rejects', 'wrong_type', 'rejects must be a path')
  if (checkpoint !== undefined && !['string', 'boolean'].includes(typeof checkpoint)) {
    throw refuse('checkpoint', 'wrong_type', 'checkpoint must be a path, or true for one beside the source')
  }
}

class AbortError extends Error {
  name = 'AbortError'
  code = 'ABORT_ERR'
}

function aborted(signal, report) {
  const error = new AbortError('the run was aborted', { cause: signal.reason })
  error.report = report
  return error
}

/** One call of `sendMany`, or one `Writable`. */
class Run {
  #client
  #wires
  #plan
  #options
  #source
  #checkpoint
  #rejects
  #timer
  #started = performance.now()
  #turnEnds = 0
  #closed = false
  #done = false
  #waiters = []
  /** Ends a wait for the source. */
  #interrupt
  /** Why the run must not go on. */
  #error
  /** The rows with a fate, those of the runs before this one, too, as the core writes them. */
  #settled = ''
  #total = [0, 0, 0, 0, 0]
  /** Of the runs before this one. */
  #before = [0, 0, 0, 0, 0]
  /** Rejected and failed rows that are not written yet. */
  #fresh = []
  #writing = Promise.resolve()
  #unseen = 0
  #firstUnseen
  /** The row that stops the run. */
  #mistake
  #saved
  /** What the program's `beforeSend` threw last. */
  #cause

  /**
   * Checks everything, before anything is sent.
   *
   * @param client what client.cjs says of a client, `rowAccess`
   * @param source undefined: its rows come by `write`
   */
  static async open(client, source, options) {
    const run = new Run()
    options = Object.fromEntries(
      Object.entries(options ?? {}).filter(([, value]) => value !== undefined && value !== null),
    )
    try {
      await run.#open(client, source, options)
    } catch (error) {
      await run.close()
      throw options.signal?.aborted && error === options.signal.reason ? aborted(options.signal, run.sent()) : error
    }
    return run
  }

  async #open(client, source, options) {
    checkOptions(options)
    options.signal?.throwIfAborted()
    this.#client = client
    this.#options = options
    this.#plan = await makePlan(options, options.mapping)
    this.#source =
      source === undefined ? { textIsBytes: false } : await openSource(source, this.#plan.format, options.signal)
    const columns = this.#source.names && resolve(this.#plan, this.#source.names)
    await this.#openCheckpoint()
    const before = this.#settled
    const { path, name } = this.#source
    this.#wires = given(
      client.wires.rowSender({
        action: this.#plan.action,
        event: this.#plan.event ?? '',
        source: this.#plan.sourceId ?? name ?? '',
        before,
        limit: options.limit,
        stop: options.onInvalid === 'stop',
        brand: client.brand,
      }),
    )
    const rejects = options.rejects ?? (path !== undefined && !options.onReject ? `${path}.rejects.ndjson` : undefined)
    if (rejects !== undefined) {
      this.#rejects = new RejectFile(rejects, before === '' ? undefined : (row) => this.#wires.isDone(row))
      await this.#rejects.resume()
    }
    if (columns !== undefined) this.#wires.setColumns(columns)
    if (client.beforeSend !== undefined) this.#change = (text, timed) => this.#callBeforeSend(text, timed)
    options.signal?.throwIfAborted()
    this.#timer = setInterval(() => this.#tick(), noteInterval)
    options.signal?.addEventListener('abort', this.#aborted)
    client.begin(this)
  }

  async #openCheckpoint() {
    const { checkpoint } = this.#options
    if (checkpoint === undefined || checkpoint === false || this.#client.wires.dryRun) return // a dry run gets nowhere
    const { path } = this.#source
    if (checkpoint === true && path === undefined) {
      throw refuse('checkpoint', 'required', 'say where the checkpoint is to be: the source has no path of its own')
    }
    const file = checkpoint === true ? `${path}.checkpoint` : checkpoint
    const wires = given(openCheckpoint(file, planText(this.#plan)))
    this.#checkpoint = { path: file, wires }
    if (wires.state === undefined) return
    const { settled, tally, head } = JSON.parse(wires.state)
    if (path !== undefined && head && !(await isSame(path, head))) {
      const why = 'the source has changed at its beginning, or is shorter; go on as before, or remove it to begin anew'
      throw refuse('checkpoint', 'checkpoint_differs', `the checkpoint '${file}' is of another run: ${why}`)
    }
    this.#settled = settled
    this.#before = tally
  }

  get checkpoint() {
    return this.#checkpoint?.path
  }

  /** What is known of the rows; see `Sent` in index.d.ts. */
  sent() {
    const [rows, delivered, rejected, failed, resent] = this.#total.map((count, at) => count + this.#before[at])
    const { total } = this.#source ?? {}
    const { limit } = this.#options ?? {}
    return Object.freeze({
      rows,
      sent: rows - rejected,
      delivered,
      rejected,
      failed,
      remaining: rows - delivered - rejected - failed,
      resent,
      resumed: this.#before[0],
      total: total === undefined || limit === undefined ? total : Math.min(limit, total),
      seconds: (performance.now() - this.#started) / 1000,
      rejects: this.#rejects?.written ? this.#rejects.path : undefined,
    })
  }

  // The rows.

  /** Sends all rows of the source. */
  async send() {
    const { items } = this.#source
    const more = typeof items[Symbol.asyncIterator] === 'function'
    const iterator = items[more ? Symbol.asyncIterator : Symbol.iterator]()
    let ended = false
    try {
      for (;;) {
        const next = iterator.next()
        const { done, value } = more ? await this.#unlessInterrupted(next) : next
        ended = done
        if (done || !(this.#offer(value) || (await this.#pump()))) break
      }
    } finally {
      if (!ended) await this.#release(iterator)
    }
    await this.finish()
  }

  /** Lets go of a source that was not read to its end. */
  async #release(iterator) {
    if (this.#error !== undefined) this.#source.items.destroy?.() // a stream whose next piece may never come
    const returned = iterator.return?.()
    if (this.#error === undefined) await returned
    else Promise.resolve(returned).catch(() => {})
  }

  /** Sends one item of a source. Resolves when there is room for more. */
  async write(item) {
    this.#check()
    this.#timer.ref()
    if (!this.#done && !this.#offer(item)) await this.#pump()
  }

  /** Resolves when every row has its fate. */
  async finish() {
    this.#timer.ref()
    this.#wires.end()
    if (!this.#done) await this.#pump()
    await this.#settle()
  }

  /** Hands a piece of text or a row over. False: `#pump` must go on. */
  #offer(item) {
    if (types.isUint8Array(item)) {
      this.#wires.feed(item)
    } else if (typeof item === 'string') {
      this.#wires.feed(Buffer.from(this.#source.textIsBytes || item.endsWith('\n') ? item : `${item}\n`))
    } else {
      this.#addRow(item)
    }
    const now = performance.now()
    if (now > this.#turnEnds || this.#error !== undefined) return false
    return this.#step(this.#turnEnds - now) === steps.hungry
  }

  #addRow(row) {
    if (typeof row !== 'object' || row === null || Array.isArray(row)) {
      this.#wires.refuse(['wrong_type', kindOf(row)], inspect(row))
      return
    }
    let text
    try {
      text = JSON.stringify(row)
    } catch {
      // The exact serialiser knows more, or says why.
    }
    const exact = isFaithful(row, text, maxDepth + 1) ? text : serialise(row, maxDepth + 1)
    if (Array.isArray(exact)) this.#wires.refuse(exact, text ?? inspect(row))
    else this.#wires.add(exact)
  }

  /** Sends what was handed over, taking turns with the rest of the program. False: the run wants no more rows. */
  async #pump() {
    for (;;) {
      this.#check()
      const left = this.#turnEnds - performance.now()
      if (left <= 0) {
        await new Promise(setImmediate)
        this.#turnEnds = performance.now() + turn
        continue
      }
      switch (this.#step(left)) {
        case steps.hungry:
          return true
        case steps.done:
          this.#done = true
          return false
        case steps.full:
          await this.#moved()
          break
        case steps.names:
          this.#wires.setColumns(resolve(this.#plan, this.#wires.names()))
          break
        case steps.stopped:
          await this.#stop()
          break
        case steps.rejects:
          await this.#note()
          break
      }
    }
  }

  #step(time) {
    return given(this.#wires.step(time, this.#change))
  }

  /** Waits for the fates of the rows before the mistake. */
  async #stop() {
    await this.#settle()
    const { row, code, path, message } = this.#mistake
    const error = makeError(
      { kind: 'validation', code, path, message: `row ${row}: ${message}` },
      undefined,
      this.#cause,
    )
    error.row = row
    throw error
  }

  // Their fates.

  async #settle() {
    for (;;) {
      this.#check()
      this.#take()
      if (this.sent().remaining === 0) break
      if (this.#client.wires.stats().state === 'closed') throw this.#clientClosed()
      await this.#moved()
    }
    await this.#note()
    this.#check()
  }

  #clientClosed() {
    return new ClosedError({ code: 'closed', message: 'the client was closed before every row had its fate' })
  }

  /** Fates have come, says the client. */
  wake() {
    for (const resolve of this.#waiters.splice(0)) resolve()
  }

  /** Resolves when a fate has come, or after a while. */
  #moved() {
    return new Promise((resolve) => this.#waiters.push(resolve))
  }

  #tick() {
    this.#report()
    // A Writable that waits for its program keeps nothing alive.
    if (this.#source.items === undefined && this.#waiters.length === 0 && this.sent().remaining === 0) {
      this.#timer.unref()
    }
    this.wake()
  }

  /** Learns what became of the rows. */
  #take() {
    const { settled, total, rejects, failures, ended } = this.#wires.take()
    this.#settled = settled
    this.#total = total
    for (const { row, line, error, text } of rejects) {
      const { code, path, message } = error
      if (this.#options.onInvalid === 'stop') this.#mistake ??= { row, code, path, message }
      else this.#fresh.push({ row, code, path, message, line: line || undefined, text })
    }
    for (const { row, error, messageId, text } of failures) {
      const { code, message, arrived } = error
      this.#fresh.push({ row, code, path: '', message, arrived, messageId, text })
    }
    if (ended !== undefined) this.#error ??= makeError(ended)
  }

  /** Writes down what is known. Resolves when that is done, and never rejects: what fails ends the run. */
  #note() {
    this.#take()
    const rejects = this.#fresh
    const [, delivered, rejected, failed, resent] = this.#total
    const tally = [delivered + rejected + failed, delivered, rejected, failed, resent]
    const state = { settled: this.#settled, tally: tally.map((count, at) => count + this.#before[at]) }
    this.#fresh = []
    return this.#afterwards(() => this.#write(rejects, state))
  }

  async #write(rejects, state) {
    if (rejects.length > 0) {
      await this.#rejects?.write(
        rejects.map(({ messageId, text, ...known }) => ({ ...known, message_id: messageId, text })),
      )
      for (const { text, ...known } of this.#options.onReject ? rejects : []) {
        await this.#options.onReject({ ...known, values: parsed(text) })
      }
      if (this.#rejects === undefined && this.#options.onReject === undefined) {
        this.#unseen += rejects.length
        this.#firstUnseen ??= rejects[0]
      }
    }
    // After the rejects: a row whose fate is saved is in the reject file, if it belongs there.
    const text = JSON.stringify({ ...state, head: this.#source.head ?? null })
    if (this.#checkpoint !== undefined && text !== this.#saved) {
      given(this.#checkpoint.wires.save(text))
      this.#saved = text
    }
  }

  /** As `#note`, and tells the program. */
  #report() {
    this.#note()
    return this.#afterwards(() => this.#options.onProgress?.(this.sent()))
  }

  /** Does it when what is being written is. What fails ends the run. */
  #afterwards(work) {
    this.#writing = this.#writing.then(work).catch((error) => {
      this.#error ??= error
    })
    return this.#writing
  }

  // The end.

  /** Ends the run from outside: what waits for it sees the error. */
  interrupt(error) {
    this.#error ??= error
    this.#interrupt?.(error)
    this.wake()
  }

  #aborted = () => {
    this.interrupt(aborted(this.#options.signal, this.sent()))
  }

  #check() {
    if (this.#error !== undefined) throw this.#error
  }

  /** The promise's value, unless the run is interrupted meanwhile. */
  #unlessInterrupted(promise) {
    return new Promise((resolve, reject) => {
      this.#interrupt = reject
      if (this.#error !== undefined) reject(this.#error)
      Promise.resolve(promise).then(resolve, reject)
    })
  }

  /** Writes down the last fates, and lets go of all files. */
  async close() {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#timer)
    this.#options?.signal?.removeEventListener('abort', this.#aborted)
    try {
      if (this.#wires !== undefined) {
        const before = this.#error
        await this.#report()
        if (before === undefined) this.#check()
      }
    } finally {
      this.#client?.end(this)
      await this.#rejects?.close()
      this.#checkpoint?.wires.close()
      this.#tellUnseen()
    }
  }

  /** Nothing vanishes: what nobody asked to be told of is in the log. */
  #tellUnseen() {
    if (this.#unseen === 0) return
    const { row, message } = this.#firstUnseen
    const many = this.#unseen === 1 ? 'a row was' : `${this.#unseen} rows were`
    const hint = 'the option rejects or onReject has all'
    this.#client.log.write(
      levels.warning,
      `sendMany: ${many} not delivered, the first is row ${row}: ${message}; ${hint}`,
    )
  }

  #change

  /** What `beforeSend` makes of an event. Called by the native side, and never throws. */
  #callBeforeSend(text, timed) {
    const message = { ...JSON.parse(text), action: this.#plan.action }
    delete message.context
    if (!timed) delete message.timestamp
    let changed
    try {
      changed = this.#client.beforeSend(message)
    } catch (cause) {
      this.#cause = cause
      return ['before_send_failed', 'beforeSend failed, so the event is not sent; the cause of this error says why']
    }
    if (changed === undefined || changed === null) return ['before_send', 'beforeSend dropped the event']
    if (typeof changed !== 'object' || Array.isArray(changed) || types.isPromise(changed)) {
      const kind = types.isPromise(changed) ? 'a Promise' : kindOf(changed)
      return ['wrong_type', `beforeSend must return the message to send, an object, or nothing to drop it, not ${kind}`]
    }
    const exact = serialise(changed, maxDepth + 1)
    return Array.isArray(exact) ? { refused: exact } : exact
  }
}

function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

async function sendMany(client, source, options = {}) {
  if (source === undefined)
    throw refuse('source', 'required', 'give a source: a path, a stream, or an iterable of objects')
  const run = await Run.open(client, source, options)
  try {
    await run.send()
  } catch (error) {
    await run.close().catch(() => {})
    throw error
  }
  await run.close()
  return run.sent()
}

/** The rows that are written to it are sent; it finishes when every one has its fate. */
class RowWritable extends Writable {
  #opened
  #run

  constructor(client, options = {}) {
    const { objectMode = true, signal } = options
    super({ objectMode, signal, highWaterMark: objectMode ? 64 : 1 << 18 })
    this.#opened = () => Run.open(client, undefined, { ...options, signal: undefined })
  }

  /** What is known of the rows. */
  get report() {
    return this.#run?.sent()
  }

  _construct(callback) {
    this.#opened().then((run) => {
      this.#run = run
      callback()
    }, callback)
  }

  _write(item, _encoding, callback) {
    this.#run.write(item).then(() => callback(), callback)
  }

  _final(callback) {
    this.#run
      .finish()
      .then(() => this.#run.close())
      .then(() => callback(), callback)
  }

  _destroy(error, callback) {
    if (this.#run === undefined) return callback(error)
    if (error) this.#run.interrupt(error)
    this.#run.close().then(
      () => callback(error),
      (cause) => callback(error ?? cause),
    )
  }
}

module.exports = { Run, RowWritable, sendMany }
