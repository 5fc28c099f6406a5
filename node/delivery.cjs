'use strict'
/**
 * Deliveries and their fates, made so that an event that nobody asks about costs almost nothing: no promise, no receipt,
 * no error object and no id text exists before someone looks.
 */

const { inspect } = require('node:util')
const { makeError } = require('./errors.cjs')

// bindings/node/node_client.hpp has the same numbers.
const chunkSize = 1024
const idSize = 36

const routes = ['event', 'batch']

/** The events of `chunkSize` consecutive sequence numbers. */
class Chunk {
  /** The native side writes the events' UUIDs here, as text of `idSize` bytes each. */
  ids = Buffer.alloc(chunkSize * idSize)
  /** Deliveries without a fate. */
  deliveries = new Array(chunkSize)
  /** Events of this chunk without a fate, those not yet made included. */
  left = chunkSize
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
      route: routes[this.#numbers[at + 2]],
      latency: this.#numbers[this.#count + row] / 1000,
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

/** @type {(delivery: Delivery, fates: Fates, row: number) => boolean} */
let settle

class Delivery {
  #chunk
  #at
  #custom
  #callback
  #fates = null
  #row = 0
  #promise = null
  #resolve = null
  #reject = null

  /**
   * @param {Chunk} chunk
   * @param {number} at the event's place in the chunk
   * @param {string | undefined} custom its message id, if that is the caller's own
   * @param {((error: Error | null, receipt?: object) => void) | undefined} callback
   */
  constructor(chunk, at, custom, callback) {
    this.#chunk = chunk
    this.#at = at
    this.#custom = custom
    this.#callback = callback
  }

  static {
    /** Gives a delivery its fate. Returns false if it failed and nobody observes it. */
    settle = (delivery, fates, row) => {
      delivery.#fates = fates
      delivery.#row = row
      const callback = delivery.#callback
      if (callback === undefined && delivery.#promise === null) return !fates.failed(row)
      if (delivery.#promise !== null) delivery.#settlePromise()
      if (callback !== undefined) {
        delivery.#callback = undefined
        const error = delivery.#error()
        callOut(() => (error === null ? callback(null, delivery.#receipt()) : callback(error)))
      }
      return true
    }
  }

  /** The id under which the event travels; empty for an event that was refused (`onInvalid: 'report'`). */
  get messageId() {
    if (this.#custom !== undefined) return this.#custom
    const from = this.#at * idSize
    const { ids } = this.#chunk
    return ids[from] === 0 ? '' : ids.latin1Slice(from, from + idSize)
  }

  get done() {
    return this.#fates !== null
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
    const fate = this.#fates === null ? 'pending' : this.#fates.failed(this.#row) ? 'failed' : 'delivered'
    return `Delivery { messageId: '${this.messageId}', ${fate} }`
  }

  #observe() {
    if (this.#promise === null) {
      this.#promise = new Promise((resolve, reject) => {
        this.#resolve = resolve
        this.#reject = reject
      })
      if (this.#fates !== null) this.#settlePromise()
    }
    return this.#promise
  }

  #settlePromise() {
    const error = this.#error()
    if (error === null) {
      this.#resolve(this.#receipt())
    } else {
      this.#reject(error)
    }
  }

  #receipt() {
    return this.#fates.receipt(this.#row, this.messageId)
  }

  #error() {
    return this.#fates.failed(this.#row) ? makeError(this.#fates.errorInfo(this.#row), this.messageId) : null
  }
}

module.exports = { Chunk, Delivery, Fates, callOut, chunkSize, settle }
