'use strict'
/** A stand-in for the Intilery service, and a client in memory: for tests; documented in testing.d.ts. */

const { AssertionError } = require('node:assert')
const { Client, fromEnvironment, inMemory, outboxOf } = require('./client.cjs')
const { load } = require('./native.cjs')
const { serialise } = require('./values.cjs')

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
  plan: '',
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

const defaultTimeout = 5_000

/** @type {(sandbox: Sandbox) => void} has a sandbox know its clients */
let share
/** @type {(sandbox: Sandbox) => Promise<void>} closes them, and makes it as new */
let renew

function messageText(message) {
  if (message === null || typeof message !== 'object' || Array.isArray(message)) {
    throw new TypeError("what is expected must be an object, a message's members")
  }
  const text = serialise(message)
  if (typeof text === 'string') return text
  const [code, , ...path] = text
  throw new TypeError(`what is expected has a value without a JSON form at ${path.join('.')} (${code})`)
}

/** The event that was expected, if there is to be one. */
function met([event, report]) {
  if (report !== '') throw new AssertionError({ message: report })
  return event === '' ? undefined : JSON.parse(event)
}

class Sandbox {
  #wires
  #options
  /** Of a sandbox that tests share: the clients of the test that runs. */
  #clients

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
    const client = new Client({ ...this.#clientOptions(), ...options })
    this.#clients?.add(client)
    return client
  }

  environment() {
    const variable = (name) => `INTILERY_${name.replace(/[A-Z]/g, '_$&').toUpperCase()}`
    return Object.fromEntries(
      Object.entries(this.#clientOptions()).map(([name, value]) => [variable(name), String(value)]),
    )
  }

  #clientOptions() {
    const { clientId, accountId, brandIds, token, rateLimit, burst } = this.#options
    return {
      clientId,
      accountId,
      brandId: brandIds[0],
      authToken: token,
      endpoint: this.url,
      rateLimit: rateLimit || 1e6,
      burst: rateLimit ? burst : 1e6,
    }
  }

  async expect(message, { timeout = defaultTimeout } = {}) {
    return met(await this.#wires.expect(messageText(message), timeout))
  }

  expectNone(message) {
    met(this.#wires.expectNone(messageText(message)))
  }

  matching(message) {
    return JSON.parse(this.#wires.matchingJson(messageText(message)))
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

  static {
    share = (sandbox) => {
      sandbox.#clients = new Set()
    }
    renew = async (sandbox) => {
      const clients = [...sandbox.#clients]
      sandbox.#clients.clear()
      sandbox.setFaults(...sandbox.#options.faults)
      sandbox.setToken(sandbox.#options.token)
      await Promise.all(clients.map((client) => client.close({ timeout: 1_000 })))
      sandbox.clear()
    }
  }
}

/** The hooks of the runner that runs this. */
function hooksHere() {
  if (typeof globalThis.afterEach === 'function') return globalThis
  if (process.env.VITEST || process.env.JEST_WORKER_ID) {
    throw new TypeError('useSandbox finds no hooks: give it { afterAll, afterEach } of your test runner')
  }
  return require('node:test')
}

function useSandbox(options = {}, hooks = hooksHere()) {
  const after = hooks.afterAll ?? hooks.after
  if (typeof hooks.afterEach !== 'function' || typeof after !== 'function') {
    throw new TypeError(
      'useSandbox takes the hooks { afterEach, after } or { afterEach, afterAll } of your test runner',
    )
  }
  const sandbox = new Sandbox({ rateLimit: 0, ...options })
  share(sandbox)
  hooks.afterEach(() => renew(sandbox))
  after(() => sandbox.stop())
  return sandbox
}

class MemoryClient extends Client {
  constructor(options = {}, ...source) {
    super(options, inMemory, ...source)
  }

  static fromEnv(options = {}) {
    return new MemoryClient(options, fromEnvironment)
  }

  get sent() {
    return JSON.parse(outboxOf(this).sentJson())
  }

  answer(status, { times, body = '' } = {}) {
    if (typeof status !== 'number') throw new TypeError('status must be a number')
    outboxOf(this).answer(status, times, body)
  }

  clear() {
    outboxOf(this).clear()
  }

  async expect(message, { timeout = defaultTimeout } = {}) {
    const text = messageText(message)
    await this.flush({ timeout })
    return met(outboxOf(this).expect(text))
  }

  async expectNone(message, { timeout = defaultTimeout } = {}) {
    const text = messageText(message)
    await this.flush({ timeout })
    met(outboxOf(this).expectNone(text))
  }

  matching(message) {
    return JSON.parse(outboxOf(this).matchingJson(messageText(message)))
  }
}

if (Symbol.asyncDispose !== undefined) {
  Object.defineProperty(Sandbox.prototype, Symbol.asyncDispose, { value: Sandbox.prototype.stop, configurable: true })
}

module.exports = { MemoryClient, Sandbox, useSandbox }
