'use strict'

const { ConfigurationError } = require('./errors.cjs')

// client.hpp: LogLevel.
const levels = { debug: 0, info: 1, warning: 2, error: 3 }
const methods = ['debug', 'info', 'warn', 'error']

/** Where a client's log lines go: to the option `logger`, or to the console. Holds no client. */
class Log {
  /** Whether the console gets all lines, and not only those from `warning` up. */
  verbose = false
  #logger

  /** @throws {ConfigurationError} */
  constructor(logger) {
    this.#logger = logger ?? undefined
    const missing = logger == null ? undefined : methods.find((method) => typeof logger[method] !== 'function')
    if (missing !== undefined) {
      throw new ConfigurationError({
        code: 'wrong_type',
        path: 'logger',
        message: `logger must have the functions ${methods.join(', ')}, as console and pino have; ${missing} is none`,
      })
    }
  }

  /** Never throws. */
  write(level, line) {
    if (this.#logger === undefined) {
      if (this.verbose || level >= levels.warning) console[methods[level]](`intilery: ${line}`)
      return
    }
    // What a broken logger loses is worth knowing; but not for `debug`, which may show what an event holds.
    const lost = () => level >= levels.warning && console[methods[level]](`intilery: ${line} (the logger failed)`)
    try {
      this.#logger[methods[level]](`intilery: ${line}`)?.then?.(undefined, lost)
    } catch {
      lost()
    }
  }
}

module.exports = { Log, levels }
