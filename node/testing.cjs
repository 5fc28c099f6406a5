'use strict'
/** A stand-in for the Intilery service, for tests; documented in testing.d.ts. */

const { Client } = require('./client.cjs')
const { load } = require('./native.cjs')

const defaults = {
  host: '127.0.0.1',
  port: 0,
  token: 'sandbox-token',
  clientId: 'hea',
  accountId: 'hea',
  brandIds: ['HEA'],
  rateLimit: 100,
  burst: 500,
  profile: 'vendor',
  maxRequestBytes: 0,
  maxStoredBytes: 0,
  store: '',
  visibleAfter: 0,
  faults: [],
}

function complete(options) {
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(defaults, name)) {
      throw new TypeError(`Sandbox has no option "${name}"${load('intilery').didYouMean(name, Object.keys(defaults))}`)
    }
    const expected = typeof defaults[name]
    if (value !== undefined && (typeof value !== expected || Array.isArray(value) !== Array.isArray(defaults[name]))) {
      throw new TypeError(`${name} must be ${Array.isArray(defaults[name]) ? 'an array' : `a ${expected}`}`)
    }
  }
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  const all = { ...defaults, ...given }
  if (all.profile !== 'guide' && all.profile !== 'vendor') throw new TypeError('profile must be guide or vendor')
  return all
}

class Sandbox {
  #wires
  #options

  constructor(options = {}) {
    this.#options = complete(options)
    const { faults } = this.#options
    this.#wires = load('intilery_sandbox').start({
      ...this.#options,
      faults: faults.length === 0 ? '' : JSON.stringify(faults),
    })
  }

  static async start(options) {
    return new Sandbox(options)
  }

  get url() {
    return this.#wires.url
  }

  get port() {
    return this.#wires.port
  }

  client(options = {}) {
    const { clientId, accountId, brandIds, token, rateLimit, burst } = this.#options
    return new Client({
      clientId,
      accountId,
      brandId: brandIds[0],
      authToken: token,
      endpoint: this.url,
      rateLimit: rateLimit || 1e6,
      burst: rateLimit ? burst : 1e6,
      ...options,
    })
  }

  requests() {
    return this.#wires.requests()
  }

  events() {
    return JSON.parse(this.#wires.eventsJson())
  }

  eventCount() {
    return this.#wires.eventCount()
  }

  stats() {
    return JSON.parse(this.#wires.statsJson())
  }

  clear() {
    this.#wires.clear()
  }

  setFaults(...rules) {
    this.#wires.setFaults(JSON.stringify(rules))
  }

  setToken(token) {
    this.#wires.setToken(String(token))
  }

  async stop() {
    this.#wires.stop()
  }
}

if (Symbol.asyncDispose !== undefined) {
  Object.defineProperty(Sandbox.prototype, Symbol.asyncDispose, { value: Sandbox.prototype.stop, configurable: true })
}

module.exports = { Sandbox }
