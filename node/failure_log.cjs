'use strict'

/** Logs failures that nobody observes: one line for each reason and second, with their number. */
class FailureLog {
  #reasons = new Map()
  #timer = null
  #now
  #write

  /**
   * @param {(line: string) => void} write
   * @param {() => number} now milliseconds
   */
  constructor(write, now) {
    this.#write = write
    this.#now = now
  }

  /** @param {{code: string, message: string}} info */
  add(info) {
    const known = this.#reasons.get(info.code)
    if (known === undefined) {
      this.#reasons.set(info.code, { count: 1, message: info.message, logged: Number.NEGATIVE_INFINITY })
    } else {
      known.count += 1
      known.message = info.message
    }
  }

  /** Writes what is due; the rest within a second. Call after every group of failures. */
  write() {
    let waits = false
    for (const [code, reason] of this.#reasons) {
      if (reason.count === 0) continue
      if (this.#now() - reason.logged < 1000) {
        waits = true
      } else {
        this.#line(code, reason)
      }
    }
    if (waits && this.#timer === null) {
      this.#timer = setTimeout(() => {
        this.#timer = null
        this.write()
      }, 1000)
      this.#timer.unref()
    }
  }

  /** Writes everything at once: the program ends. */
  end() {
    clearTimeout(this.#timer)
    this.#timer = null
    for (const [code, reason] of this.#reasons) {
      if (reason.count > 0) this.#line(code, reason)
    }
  }

  #line(code, reason) {
    const events = reason.count === 1 ? '1 event' : `${reason.count} events`
    this.#write(`${events} failed (${code}): ${reason.message}`)
    reason.count = 0
    reason.logged = this.#now()
  }
}

module.exports = { FailureLog }
