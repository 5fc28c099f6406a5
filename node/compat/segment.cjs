'use strict'
/** Segment's Node client (`@segment/analytics-node`), as far as a program sees it; documented in segment.d.ts. */

const { EventEmitter } = require('node:events')
const { performance } = require('node:perf_hooks')
const { Client, version } = require('../client.cjs')
const { ConfigurationError, ValidationError } = require('../errors.cjs')
const { FailureLog } = require('../failure_log.cjs')
const { Log, levels } = require('../log.cjs')

/** Segment's settings that have a counterpart. */
const counterparts = {
  flushAt: 'flushAt',
  flushInterval: 'flushInterval',
  maxEventsInBatch: 'flushAt',
  maxRetries: 'maxRetries',
  httpRequestTimeout: 'requestTimeout',
}

/** Those that mean nothing here, and why. */
const meaningless = {
  path: 'the path follows from the key and the action',
  httpClient: 'the client has its own transport; see the options proxy and caFile',
  oauthSettings: 'the API knows no OAuth; the key holds the token',
  maxRateLimitDuration: "no event is given up because it waits for its turn at the account's pace",
}

const segmentsOwn = /(^|[/.])segment(apis)?\.(io|com)(?=[:/]|$)/
const noFetching = 'requests are made outside of JavaScript; the option debug logs them'

const warned = new Set()

/** What a key says: CLIENT/ACCOUNT/BRAND:TOKEN, or the token alone. */
function accountOf(key) {
  const parts = typeof key === 'string' ? /^([^/:]+)\/([^/:]+)\/([^/:]+):(.+)$/s.exec(key) : null
  if (parts === null) return key === undefined || key === null ? {} : { authToken: key }
  const [, clientId, accountId, brandId, authToken] = parts
  return { clientId, accountId, brandId, authToken }
}

/** The members that are there; an id that is empty is none. */
function given(members) {
  return Object.fromEntries(
    Object.entries(members).filter(
      ([name, value]) => value !== undefined && value !== null && !(value === '' && name.endsWith('Id')),
    ),
  )
}

/** @type {(ctx: Context, error: any, receipt: any) => void} */
let settle

/** What callbacks and listeners get: the event, and what became of it. */
class Context {
  attempts = 0
  #reason

  constructor(event) {
    this.event = event
  }

  get id() {
    return this.event.messageId
  }

  failedDelivery() {
    return this.#reason === undefined ? undefined : { reason: this.#reason }
  }

  static {
    settle = (ctx, error, receipt) => {
      ctx.attempts = (receipt ?? error).attempts ?? 0
      ctx.#reason = error ?? undefined
    }
  }
}

class Analytics extends EventEmitter {
  #client
  #closed = false
  #log
  #failures
  ready = Promise.resolve()

  constructor(settings = {}) {
    super()
    if (typeof settings !== 'object' || settings === null) {
      const message = 'the settings must be an object: new Analytics({ writeKey })'
      throw new ConfigurationError({ code: 'wrong_type', path: '', message })
    }
    const { writeKey, host, disable, maxTotalBackoffDuration, ...rest } = settings
    this.#log = new Log(rest.logger)
    const line = (text) => this.#log.write(levels.warning, text)
    this.#failures = new FailureLog(line, () => performance.now())
    // Segment's interface has anonymous events, and its programs rely on them.
    const options = process.env.INTILERY_ALLOW_ANONYMOUS === undefined ? { allowAnonymous: true } : {}
    if (host && segmentsOwn.test(host)) {
      this.#warnOnce('host is ignored', "it is Segment's; INTILERY_ENDPOINT, or the option endpoint, names another")
    } else if (host) {
      options.endpoint = host
    }
    if (disable) options.dryRun = true
    if (maxTotalBackoffDuration !== undefined) options.deliveryTimeout = maxTotalBackoffDuration * 1000
    for (const [name, value] of Object.entries(rest)) {
      if (value === undefined) continue
      if (Object.hasOwn(meaningless, name)) {
        this.#warnOnce(`${name} is ignored`, meaningless[name])
      } else if (name !== 'maxEventsInBatch' || rest.flushAt === undefined) {
        options[Object.hasOwn(counterparts, name) ? counterparts[name] : name] = value
      }
    }
    try {
      this.#client = Client.fromEnv({ ...accountOf(writeKey), ...options })
    } catch (error) {
      if (error.code !== 'required') throw error
      throw new ConfigurationError({
        code: 'required',
        path: 'writeKey',
        message:
          `${error.option} is missing: writeKey must be CLIENT/ACCOUNT/BRAND:TOKEN, or the token with the rest in ` +
          'INTILERY_CLIENT_ID, INTILERY_ACCOUNT_ID and INTILERY_BRAND_ID',
      })
    }
    this.#client.on('drain', () => this.emit('drained'))
    this.on('newListener', (name) => {
      if (name === 'http_request' || name === 'http_response') this.#warnOnce(`${name} never comes`, noFetching)
    })
    for (const name of Object.getOwnPropertyNames(Analytics.prototype)) {
      if (name !== 'constructor' && name !== 'VERSION') this[name] = this[name].bind(this)
    }
  }

  get VERSION() {
    return version
  }

  identify({ traits = {}, ...common }, callback) {
    this.#send('identify', { traits }, common, callback)
  }

  track({ event, properties = {}, ...common }, callback) {
    this.#send('track', { event, properties }, common, callback)
  }

  page({ category, name, properties, ...common }, callback) {
    this.#send(
      'page',
      { properties: { ...properties, ...given({ category: category || null, name: name || null }) } },
      common,
      callback,
    )
  }

  screen({ category, name, properties, ...common }, callback) {
    this.#send(
      'screen',
      { name: name || null, properties: { ...properties, ...given({ category: category || null }) } },
      common,
      callback,
    )
  }

  alias({ userId, previousId, ...common }, callback) {
    for (const [name, id] of Object.entries({ userId, previousId })) {
      if (id === undefined || id === null || id === '') {
        throw new ValidationError({ code: 'required', path: name, message: `${name} is required by alias` })
      }
    }
    this.#warnOnce(
      'alias is sent as identify, previousId as its anonymousId',
      'so Intilery links a visitor to a user; it does not merge two users',
    )
    this.#send('identify', { traits: {} }, { ...common, userId, anonymousId: previousId }, callback)
  }

  group() {
    throw new ValidationError({
      code: 'unsupported_call',
      path: 'group',
      message:
        "Intilery has no groups, so nothing was sent: give each event of a group's member context: { groupId: … }, " +
        "and put what is known of the group into the user's traits with identify",
    })
  }

  async register() {
    throw new ConfigurationError({
      code: 'unsupported_call',
      path: 'register',
      message: 'Intilery has no plugins: what changes or drops events is the option beforeSend',
    })
  }

  async deregister() {}

  async flush({ timeout, close = false } = {}) {
    const options = timeout ? { timeout } : undefined
    if (!close) {
      await this.#client.flush(options)
      return
    }
    this.#closed = true
    await this.#client.close(options)
  }

  async closeAndFlush({ timeout = 75_000 } = {}) {
    await this.flush({ timeout, close: true })
  }

  #send(type, body, { userId, anonymousId, context, timestamp, integrations, messageId }, callback) {
    const fields = given({
      userId,
      anonymousId,
      ...body,
      context,
      timestamp: timestamp ?? new Date(),
      messageId,
    })
    const event = { type, ...fields, ...given({ integrations }) }
    if (this.#closed) {
      if (!this.emit('call_after_close', event)) {
        this.#report({ code: 'closed', message: 'the client was closed before the call' })
      }
      return
    }
    if (integrations && Object.keys(integrations).length > 0) {
      this.#warnOnce('integrations are ignored', 'events go to Intilery alone')
    }
    const ctx = new Context(event)
    const delivery = this.#client.send({ action: type, ...fields }, (error, receipt) => {
      settle(ctx, error, receipt)
      try {
        callback?.(error ?? undefined, ctx)
      } finally {
        if (error === null) {
          this.emit(type, ctx)
        } else if (this.listenerCount('error') > 0) {
          this.emit('error', { code: 'delivery_failure', reason: error, ctx })
        } else if (callback === undefined && error.code !== 'before_send') {
          this.#report(error)
        }
      }
    })
    event.messageId ??= delivery.messageId
  }

  #report(failure) {
    this.#failures.add(failure)
    this.#failures.write()
  }

  #warnOnce(what, why) {
    if (warned.has(what)) return
    warned.add(what)
    this.#log.write(levels.warning, `compat/segment: ${what}: ${why}`)
  }
}

module.exports = { Analytics, Context, default: Analytics }
