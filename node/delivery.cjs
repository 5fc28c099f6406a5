'use strict'
/**
 * Deliveries and their fates, made so that an event that nobody asks about costs almost nothing: no promise, no receipt,
 * no error object and no id text exists before someone looks.
 */

const { inspect } = require('node:util')
const { makeError } = require('./errors.cjs')

// bindings/node/node_client.hpp has the same numbers.
const chunkSize = 1024
const idSize = 16

const routes = ['event', 'batch']

/** The events of `chunkSize` consecutive sequence numbers. Knows of a delivery only if somebody observes that. */
class Chunk {
  /** The native side writes each event's UUID here, or zeros. */
  ids = Buffer.allocUnsafeSlow(chunkSize * idSize)
  /** Of each event its `Fates`; before those come, its `Delivery` if it is observed or has an id of its own. */
  places = new Array(chunkSize)
  /** Where in its `Fates` an event stands. */
  rows = new Uint16Array(chunkSize)
  /** Events of this chunk without a fate, those not yet made included. */
  left = chunkSize

  /** Gives an event its fate. Returns false if it failed and nobody observes it. */
  settle(place, fates, row) {
    const observed = this.places[place]
    this.places[place] = fates
    this.rows[place] = row
    this.left -= 1
    return observed === undefined ? !fates.failed(row) : settled(observed, fates, row)
  }

  /** Its message id as text; empty if it has none. */
  messageId(place) {
    const from = place * idSize
    if (this.ids[from] === 0) return '' // a UUIDv7 begins with the time
    const hex = this.ids.hexSlice(from, from + idSize)
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
  }
}

/** Fates that came together, in the form described in bindings/node/node_client.cpp, `deliver_fates`. */
class Fates {
  #count
  #sequences
  #numbers
  #text
  #parsed

  constructor(count, buffer, text) {
    this.#count = count
    this.#sequences = new Float64Array(buffer, 0, count)
    this.#numbers = new Int32Array(buffer, count * 8)
    this.#text = text
  }

  get count() {
    return this.#count
  }

  sequence(row) {
    return this.#sequences[row]
  }

  /** Where the outcome of the row begins. */
  #outcome(row) {
    return 2 * this.#count + 4 * this.#numbers[row]
  }

  failed(row) {
    return this.#numbers[this.#outcome(row) + 3] >= 0
  }

  #texts() {
    this.#parsed ??= JSON.parse(this.#text)
    return this.#parsed
  }

  errorInfo(row) {
    return this.#texts().errors[this.#numbers[this.#outcome(row) + 3]]
  }

  receipt(row, messageId) {
    const at = this.#outcome(row)
    return {
      messageId,
      eventId: this.#texts().eventIds[this.#numbers[row]] ?? undefined,
      status: this.#numbers[at],
      attempts: this.#numbers[at + 1],
      route: routes[this.#numbers[at + 2] & 1],
      latency: this.#numbers[this.#count + row] / 1000,
      readBack: this.#numbers[at + 2] >= 2,
    }
  }
}

/** Calls what the program gave us. What it throws is the program's uncaught exception, and does not stop the others. */
function callOut(call) {
  try {
    call()
  } catch (error) {
    process.nextTick(() => {
      throw error
    })
  }
}

/**
 * Tells whoever observes a delivery of its fate. Returns false if it failed and nobody does.
 * @type {(delivery: Delivery, fates: Fates, row: number) => boolean}
 */
let settled

/** What the program's own function threw, of the few deliveries that failed so. */
const causes = new WeakMap()

const setCause = (delivery, cause) => causes.set(delivery, cause)
const causeOf = (delivery) => delivery && causes.get(delivery)

class Delivery {
  #chunk
  #place
  #custom
  /** What observes it: `{ callback }`, `{ promise, resolve, reject }`, or both. */
  #observer

  /**
   * @param {Chunk} chunk
   * @param {number} place
   * @param {string | undefined} custom its message id, if that is not in the chunk
   * @param {((error: Error | null, receipt?: object) => void) | undefined} callback
   */
  constructor(chunk, place, custom, callback) {
    this.#chunk = chunk
    this.#place = place
    this.#custom = custom
    this.#observer = callback === undefined ? undefined : { callback }
    if (callback !== undefined || custom !== undefined) chunk.places[place] = this
  }

  static {
    settled = (delivery, fates, row) => {
      const observer = delivery.#observer
      if (observer === undefined) return !fates.failed(row)
      const { callback } = observer
      if (observer.promise !== undefined) delivery.#settlePromise()
      if (callback !== undefined) {
        observer.callback = undefined
        const error = delivery.#error(fates)
        callOut(() => (error === null ? callback(null, delivery.#receipt(fates)) : callback(error)))
      }
      return true
    }
  }

  /** The id under which the event travels; empty for an event that was refused (`onInvalid: 'report'`). */
  get messageId() {
    return this.#custom ?? this.#chunk.messageId(this.#place)
  }

  get done() {
    return this.#fates !== undefined
  }

  // biome-ignore lint/suspicious/noThenProperty: a delivery can be awaited, and has no promise before it is
  then(onDelivered, onFailed) {
    return this.#observe().then(onDelivered, onFailed)
  }

  catch(onFailed) {
    return this.#observe().catch(onFailed)
  }

  finally(onDone) {
    return this.#observe().finally(onDone)
  }

  get [Symbol.toStringTag]() {
    return 'Delivery'
  }

  [inspect.custom]() {
    const fates = this.#fates
    const fate = fates === undefined ? 'pending' : fates.failed(this.#row) ? 'failed' : 'delivered'
    return `Delivery { messageId: '${this.messageId}', ${fate} }`
  }

  get #fates() {
    const what = this.#chunk.places[this.#place]
    return what instanceof Fates ? what : undefined
  }

  get #row() {
    return this.#chunk.rows[this.#place]
  }

  #observe() {
    this.#observer ??= {}
    const observer = this.#observer
    if (observer.promise === undefined) {
      observer.promise = new Promise((resolve, reject) => {
        observer.resolve = resolve
        observer.reject = reject
      })
      if (this.done) {
        this.#settlePromise()
      } else {
        this.#chunk.places[this.#place] = this
      }
    }
    return observer.promise
  }

  #settlePromise() {
    const fates = this.#fates
    const error = this.#error(fates)
    if (error === null) {
      this.#observer.resolve(this.#receipt(fates))
    } else {
      this.#observer.reject(error)
    }
  }

  #receipt(fates) {
    return fates.receipt(this.#row, this.messageId)
  }

  #error(fates) {
    return fates.failed(this.#row) ? makeError(fates.errorInfo(this.#row), this.messageId, causeOf(this)) : null
  }
}

module.exports = { Chunk, Delivery, Fates, callOut, causeOf, chunkSize, setCause }
