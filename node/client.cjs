'use strict'

const { EventEmitter } = require('node:events')
const { types, inspect } = require('node:util')
const { Chunk, Delivery, Fates, callOut, causeOf, chunkSize, setCause } = require('./delivery.cjs')
const { ConfigurationError, makeError } = require('./errors.cjs')
const { FailureLog } = require('./failure_log.cjs')
const { Log, levels } = require('./log.cjs')
const { load } = require('./native.cjs')
const { Reading, eventOf, profileOf } = require('./reading.cjs')
const { isFaithful, maxDepth, serialise } = require('./values.cjs')

/** Loaded when something is first asked of them: the addon's libraries and Node's streams take longer than all else. */
const native = () => load('intilery')
const rows = () => require('./send_many.cjs')

// bindings/node/call.hpp: CallKind, exact_call, brand_shift, name_shift.
const kinds = { identify: 0, track: 1, page: 2, screen: 3, asset: 4, journey: 5, message: 6 }
const actions = ['identify', 'track', 'page', 'screen', 'track', 'track']
const exactCall = 0x100
const brandShift = 16
const nameShift = 15
const longestUsual = 2 ** nameShift - 1

// bindings/node/node_client.hpp: Dispatch.
const dispatchKinds = { fates: 0, log: 1, answer: 2, rows: 3 }

/** A call's members as the keys of an object: looking one up costs half of what a Set takes. */
const callMembers = (...names) =>
  Object.assign(
    Object.create(null),
    Object.fromEntries(
      ['userId', 'anonymousId', 'context', 'timestamp', 'messageId', ...names].map((name) => [name, true]),
    ),
  )
const members = {
  identify: callMembers('traits'),
  track: callMembers('event', 'properties'),
  page: callMembers('properties'),
  screen: callMembers('name', 'properties'),
  asset: callMembers('assetId', 'data'),
  journey: callMembers('journeyId', 'stepId', 'data'),
}

/** Clients with something under way: they must not be collected, and are closed at the program's end. */
const busy = new Set()

const fromEnvironment = Symbol('fromEnvironment')
const inMemory = Symbol('inMemory')

/** What a view is made with, instead of options. */
class ViewOn {
  constructor(client, brand) {
    this.client = client
    this.brand = brand
  }
}

/** JSON.stringify did not do it: the exact serialiser must. */
const unclear = Symbol('unclear')

/** The fast way from a value to JSON text. */
function stringify(value) {
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'object') return unclear
  try {
    return JSON.stringify(value)
  } catch {
    return unclear
  }
}

/** The exact way. What is no object at all goes as well: the core knows what it expects. */
function stringifyExactly(value, levels) {
  if (value === undefined || value === null) return undefined
  return ['object', 'string', 'number', 'boolean'].includes(typeof value)
    ? serialise(value, levels)
    : ['wrong_type', `a ${typeof value}`]
}

/** Counting costs a fourth of looking each name up. */
function countMembers(object) {
  let count = 0
  for (const _ in object) ++count
  return count
}

function kindOf(value) {
  if (value === null || value === undefined) return String(value)
  if (typeof value === 'string') return 'text'
  if (Array.isArray(value)) return 'an array'
  return `${typeof value === 'object' ? 'an' : 'a'} ${typeof value}`
}

/** @type {(client: Client, kind: number, a: any, b: any, c: any) => void} */
let receive
/** @type {(client: Client, elapsed: number) => void} */
let closeAtExit
/** What node/send_many.cjs needs of a client. */
let rowAccess
/** @type {(client: Client) => any} what a client in memory sent, and what it is answered */
let outboxOf

/** What the native side calls. It must not hold the client, or that would never be collected. */
function dispatcher(client, log) {
  const reference = new WeakRef(client)
  return (kind, a, b, c) => {
    const alive = reference.deref()
    if (alive !== undefined) {
      receive(alive, kind, a, b, c)
    } else if (kind === dispatchKinds.log) {
      log.write(a, b)
    }
  }
}

/** Options of this language alone, which are no text. */
const ownOptions = new Set(['beforeSend', 'logger', 'waitUntil'])

function functionOption(options, name) {
  const given = options[name] ?? undefined
  if (given !== undefined && typeof given !== 'function') {
    throw new ConfigurationError({
      code: 'wrong_type',
      path: name,
      message: `${name} must be a function, not ${kindOf(given)}`,
    })
  }
  return given
}

/** @returns {[names: string[], texts: string[]]} */
function optionTexts(options) {
  if (options === null || typeof options !== 'object') {
    throw new ConfigurationError({
      code: 'wrong_type',
      path: '',
      message: `the options must be an object, not ${kindOf(options)}`,
    })
  }
  const names = []
  const texts = []
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || ownOptions.has(name)) continue
    const text = serialise(value)
    if (typeof text !== 'string') {
      throw new ConfigurationError({ code: 'wrong_type', path: name, message: `${name} cannot be ${describe(value)}` })
    }
    names.push(name)
    texts.push(text)
  }
  return [names, texts]
}

function describe(value) {
  return typeof value === 'number' ? String(value) : `a value of this kind (${kindOf(value)})`
}

function timeoutOf(options, method) {
  const timeout = options?.timeout
  if (timeout === undefined || timeout === Number.POSITIVE_INFINITY) return undefined
  if (typeof timeout !== 'number' || !(timeout >= 0)) {
    throw new ConfigurationError({
      code: typeof timeout === 'number' ? 'out_of_bounds' : 'wrong_type',
      path: 'timeout',
      message: `timeout of ${method} must be milliseconds from 0 up, not ${describe(timeout)}`,
    })
  }
  return Math.min(timeout, 2 ** 40)
}

const nothing = () => {}
function momentOf(options, name) {
  const moment = options?.[name]
  if (moment === undefined) return undefined
  if (!(moment instanceof Date) || Number.isNaN(moment.getTime())) {
    throw new ConfigurationError({
      code: 'wrong_type',
      path: name,
      message: `${name} of verify must be a valid Date, not ${describe(moment)}`,
    })
  }
  return moment.getTime()
}

/** Says of a message that `beforeSend` has seen it. */
const seen = {}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A new object with the members that JSON would show; what is no object as it stands. */
function membersOf(value) {
  if (typeof value?.toJSON === 'function') value = value.toJSON('')
  if (types.isMap(value)) return Object.fromEntries(value)
  return isObject(value) ? { ...value } : value
}

function withoutNothing(members) {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined && value !== null))
}

/** A call as `send` takes it, with the members that it gave. */
function messageOf(kind, call, body, name, target, stepId, data) {
  const { userId, anonymousId, context, timestamp, messageId } = call
  const journey = kind === kinds.journey
  const properties = journey ? withoutNothing({ journeyIdToTrigger: target, stepIdToTrigger: stepId }) : body
  const message = withoutNothing({
    action: actions[kind],
    userId,
    anonymousId,
    [kind === kinds.screen ? 'name' : 'event']: name,
    assetId: journey ? undefined : target,
    [kind === kinds.identify ? 'traits' : 'properties']: properties,
    context,
    timestamp,
    messageId,
  })
  return { ...message, ...data }
}

class Client extends EventEmitter {
  /** Of a view: its client, whose private fields are used in place of the view's own, but for `#brand`. */
  #whole = this
  /** The brand's number, where the native side looks for it in the kind of a call. */
  #brand = 0
  #wires
  #submit
  #submitParts
  #chunks = new Map()
  #chunk = null
  #chunkNumber = -1
  /** Place of the next event in the chunk. */
  #place = chunkSize
  /** Events without a fate. */
  #pending = 0
  #drainWaiters = []
  #calls = new Map()
  /** Runs of `sendMany` that are under way. */
  #runs = new Set()
  #nextCall = 0
  #log
  #failures
  #beforeSend
  #exiting = false
  /** The platform's function that keeps a short-lived process until a promise is settled. */
  #waitUntil

  constructor(options = {}, ...source) {
    super()
    if (options instanceof ViewOn) {
      this.#whole = options.client
      this.#brand = options.brand << brandShift
      return
    }
    const [names, texts] = optionTexts(options)
    this.#beforeSend = functionOption(options, 'beforeSend')
    this.#waitUntil = functionOption(options, 'waitUntil')
    const log = new Log(options.logger)
    const wires = native().createClient(
      names,
      texts,
      source.includes(fromEnvironment),
      dispatcher(this, log),
      source.includes(inMemory),
    )
    if (wires.kind !== undefined) throw makeError(wires)
    log.verbose = wires.debug
    this.#log = log
    this.#failures = new FailureLog(
      (line) => log.write(levels.warning, line),
      () => performance.now(),
    )
    this.#wires = wires
    this.#submit = wires.submit
    this.#submitParts = wires.submitParts
  }

  static fromEnv(options = {}) {
    return new Client(options, fromEnvironment)
  }

  static {
    receive = (client, kind, a, b, c) => {
      if (kind === dispatchKinds.fates) {
        client.#receiveFates(new Fates(a, b, c))
        client.#wakeRuns()
      } else if (kind === dispatchKinds.log) {
        client.#log.write(a, b)
      } else if (kind === dispatchKinds.rows) {
        client.#wakeRuns()
      } else {
        client.#receiveAnswer(a, b, c)
      }
    }
    rowAccess = (view) => {
      const client = view.#whole
      return {
        wires: client.#wires,
        log: client.#log,
        brand: view.#brand >>> brandShift,
        beforeSend: client.#beforeSend,
        begin: (run) => client.#beginRun(run),
        end: (run) => client.#endRun(run),
      }
    }
    outboxOf = (client) => client.#wires.outbox
    closeAtExit = (client, elapsed) => {
      client.#exiting = true
      const flush = client.#wires.closeNow(
        Math.max(0, client.#wires.exitTimeout - elapsed),
        dispatcher(client, client.#log),
      )
      client.#failures.end()
      if (flush.remaining > 0) {
        const events = flush.remaining === 1 ? '1 event was' : `${flush.remaining} events were`
        const hint = 'await client.close() before its end, or raise exitTimeout'
        client.#log.write(levels.error, `the program ended before ${events} delivered; ${hint}`)
      }
    }
  }

  brand(brandId) {
    const client = this.#whole
    if (typeof brandId !== 'string') {
      throw new ConfigurationError({
        code: 'wrong_type',
        path: 'brandId',
        message: `brandId must be text, not ${kindOf(brandId)}`,
      })
    }
    const brand = client.#wires.brand(brandId)
    if (typeof brand !== 'number') throw makeError(brand)
    return new View(client, brand)
  }

  identify(call, callback) {
    const delivery = this.#sendUsual(kinds.identify, call, '', call?.traits, 2, callback)
    if (delivery !== undefined) return delivery
    if (!this.#check(call, members.identify)) return this.#refuseMember('identify', call, members.identify, callback)
    return this.#send(kinds.identify, call, call.traits, undefined, callback)
  }

  track(call, callback) {
    const delivery = this.#sendUsual(kinds.track, call, call?.event, call?.properties, 3, callback)
    if (delivery !== undefined) return delivery
    if (!this.#check(call, members.track)) return this.#refuseMember('track', call, members.track, callback)
    return this.#send(kinds.track, call, call.properties, call.event, callback)
  }

  page(call, callback) {
    const delivery = this.#sendUsual(kinds.page, call, '', call?.properties, 2, callback)
    if (delivery !== undefined) return delivery
    if (!this.#check(call, members.page)) return this.#refuseMember('page', call, members.page, callback)
    return this.#send(kinds.page, call, call.properties, undefined, callback)
  }

  screen(call, callback) {
    if (!this.#check(call, members.screen)) return this.#refuseMember('screen', call, members.screen, callback)
    return this.#send(kinds.screen, call, call.properties, call.name, callback)
  }

  sendEmail(call, callback) {
    return this.#sendAsset('sendEmail', 'send_email', call, callback)
  }

  sendSms(call, callback) {
    return this.#sendAsset('sendSms', 'send_sms', call, callback)
  }

  sendPrint(call, callback) {
    return this.#sendAsset('sendPrint', 'send_print', call, callback)
  }

  sendPush(call, callback) {
    return this.#sendAsset('sendPush', 'send_push', call, callback)
  }

  startJourney(call, callback) {
    if (!this.#check(call, members.journey)) {
      return this.#refuseMember('startJourney', call, members.journey, callback)
    }
    return this.#send(kinds.journey, call, undefined, 'start_journey', callback, call.journeyId, call.stepId, call.data)
  }

  send(message, callback) {
    return this.#send(kinds.message, {}, message, undefined, callback)
  }

  sendMany(source, options) {
    const sent = rows().sendMany(rowAccess(this), source, options)
    if (this.#whole.#waitUntil !== undefined) this.#whole.#askPlatformToWait(sent.then(nothing, nothing))
    return sent
  }

  writable(options) {
    return new (rows().RowWritable)(rowAccess(this), options)
  }

  async flush(options) {
    const timeout = timeoutOf(options, 'flush')
    return this.#whole.#ask((call) => this.#whole.#wires.flush(call, timeout))
  }

  async close(options) {
    const timeout = timeoutOf(options, 'close')
    return this.#whole.#ask((call) => this.#whole.#wires.close(call, timeout))
  }

  async verify(messages, options = {}) {
    const timeout = timeoutOf(options, 'verify')
    const ids = Array.from(messages, (message) => (typeof message === 'string' ? message : message?.messageId))
    if (!ids.every((id) => typeof id === 'string')) {
      throw new ConfigurationError({
        code: 'wrong_type',
        path: 'messages',
        message: 'verify takes message ids, receipts or deliveries',
      })
    }
    const brand = this.#brand >>> brandShift
    const [start, end] = ['start', 'end'].map((name) => momentOf(options, name))
    return this.#whole.#ask((call) => this.#whole.#wires.verify(call, ids, options.userId, timeout, brand, start, end))
  }

  events(query = {}) {
    return new Reading(this.#reading('events', query, eventOf))
  }

  async profile(query) {
    const [profile] = await this.#reading('profile', query, profileOf)()
    return profile ?? null
  }

  profiles(query = {}) {
    return new Reading(this.#reading('profiles', query, profileOf))
  }

  /** A function that reads some more of what is asked for. */
  #reading(what, query, make) {
    if (!isObject(query)) {
      throw makeError({ kind: 'validation', code: 'wrong_type', path: '', message: `${what} takes one object` })
    }
    const { timeout, ...members } = query
    const patience = timeout === undefined ? 30_000 : (timeoutOf(query, what) ?? 2 ** 40)
    const text = serialise(members)
    if (typeof text !== 'string') {
      const [code, , path] = text
      throw makeError({ kind: 'validation', code, path, message: `${path} is nothing that can be asked for` })
    }
    const client = this.#whole
    const reader = client.#wires.openReading(what, text)
    if (reader.kind !== undefined) throw makeError(reader)
    const brand = this.#brand >>> brandShift
    return async () => {
      const list = await client.#ask((call) => client.#wires.read(call, reader, patience, brand))
      return JSON.parse(list).map(make)
    }
  }

  drained() {
    const client = this.#whole
    if (client.#pending === 0) return Promise.resolve()
    return new Promise((resolve) => client.#drainWaiters.push(resolve))
  }

  stats() {
    return this.#whole.#wires.stats()
  }

  setAuthToken(token) {
    if (typeof token !== 'string') {
      throw new ConfigurationError({
        code: 'wrong_type',
        path: 'authToken',
        message: `authToken must be text, not ${kindOf(token)}`,
      })
    }
    const error = this.#whole.#wires.setAuthToken(token)
    if (error !== undefined) throw makeError(error)
  }

  [inspect.custom](_depth, options) {
    const { state, queued } = this.stats()
    return `Client ${inspect({ state, queued }, options)}`
  }

  toJSON() {
    const { state, queued } = this.stats()
    return { state, queued }
  }

  #sendAsset(method, event, call, callback) {
    if (!this.#check(call, members.asset)) return this.#refuseMember(method, call, members.asset, callback)
    return this.#send(kinds.asset, call, undefined, event, callback, call.assetId, undefined, call.data)
  }

  /** Whether the argument is an object with known members only. */
  #check(call, known) {
    if (typeof call !== 'object' || call === null) return false
    for (const key in call) {
      if (known[key] !== true && call[key] !== undefined && Object.hasOwn(call, key)) return false
    }
    return true
  }

  #refuseMember(method, call, known, callback) {
    if (typeof call !== 'object' || call === null) {
      return this.#refuse(
        'wrong_type',
        '',
        `${method} takes one object, not ${kindOf(call)}: ${method}({ userId, … })`,
        callback,
      )
    }
    const name = Object.keys(call).find((key) => known[key] !== true && call[key] !== undefined)
    const names = Object.keys(known)
    const hint = native().didYouMean(name, names) || `; ${method} takes ${names.join(', ')}`
    return this.#refuse('unknown_field', name, `${name} is no field of this call${hint}`, callback)
  }

  #refuse(code, path, message, callback, cause = undefined) {
    const client = this.#whole
    client.#prepare(callback)
    const error = client.#wires.refuse(code, path, message)
    if (error !== undefined) throw makeError(error, undefined, cause)
    const delivery = client.#accept('', callback)
    if (cause !== undefined) setCause(delivery, cause)
    return delivery
  }

  #drop(callback) {
    const client = this.#whole
    client.#prepare(callback)
    const error = client.#wires.drop()
    if (error !== undefined) throw makeError(error)
    return client.#accept('', callback)
  }

  /** Sends what `beforeSend` makes of a call. */
  #sendChanged(kind, call, body, name, callback, target, stepId, data) {
    const text = stringifyExactly(data)
    const wrong = text === undefined ? undefined : native().checkData(text, kind === kinds.journey)
    if (wrong !== undefined) return this.#refuse(wrong.code, wrong.path, wrong.message, callback)
    const message =
      kind === kinds.message ? membersOf(body) : messageOf(kind, call, body, name, target, stepId, membersOf(data))
    // What is no object only `send` can have got, and the core refuses.
    if (!isObject(message)) return this.#send(kinds.message, seen, message, undefined, callback)

    const beforeSend = this.#whole.#beforeSend
    let changed
    try {
      changed = beforeSend(message)
    } catch (cause) {
      const what = 'beforeSend failed, so the event is not sent; the cause of this error says why'
      return this.#refuse('before_send_failed', 'before_send', what, callback, cause)
    }
    if (changed === undefined || changed === null) return this.#drop(callback)
    if (!isObject(changed) || types.isPromise(changed)) {
      const kindName = types.isPromise(changed) ? 'a Promise' : kindOf(changed)
      const what = `beforeSend must return the message to send, an object, or nothing to drop it, not ${kindName}`
      return this.#refuse('wrong_type', 'before_send', what, callback)
    }
    return this.#send(kinds.message, seen, changed, undefined, callback)
  }

  /**
   * Submits a call of no more than a user id, a name and a body, all there, in the cheapest way; `memberCount` is how
   * many members make it. Undefined: it is no such call, and nothing was done.
   */
  #sendUsual(kind, call, name, body, memberCount, callback) {
    const client = this.#whole
    if (typeof call !== 'object' || typeof name !== 'string' || client.#beforeSend !== undefined) return undefined
    const userId = call?.userId
    if (typeof userId !== 'string' || countMembers(call) !== memberCount) return undefined
    if (userId.length > longestUsual || name.length > longestUsual) return undefined
    const text = stringify(body)
    if (typeof text !== 'string') return undefined
    client.#prepare(callback)
    const lengths = userId.length | (name.length << nameShift)
    const result = client.#submit(kind | this.#brand, lengths, userId + name + text)
    if (result === undefined) return client.#accept(undefined, callback)
    if (result !== true) throw makeError(result)
    return this.#sendExactly(kind, call, kind === kinds.track ? name : undefined, [body], [text], undefined, callback)
  }

  /** Submits an event; `call` holds the members that all calls have. */
  #send(kind, call, body, name, callback, target = undefined, stepId = undefined, data = undefined) {
    const client = this.#whole
    if (client.#beforeSend !== undefined && call !== seen) {
      return this.#sendChanged(kind, call, body, name, callback, target, stepId, data)
    }
    const { userId, anonymousId, context, messageId } = call
    let { timestamp } = call
    if (timestamp !== undefined && timestamp !== null && typeof timestamp !== 'string') {
      if (!types.isDate(timestamp)) {
        const message = `timestamp must be a Date or ISO-8601 text, not ${kindOf(timestamp)}`
        return this.#refuse('wrong_type', 'timestamp', message, callback)
      }
      timestamp = timestamp.getTime()
    }
    const bodyText = stringify(body)
    const contextText = stringify(context)
    const dataText = stringify(data)
    client.#prepare(callback)

    let result = true
    if (bodyText !== unclear && contextText !== unclear && dataText !== unclear) {
      result = client.#submitParts(
        kind | this.#brand,
        userId,
        bodyText,
        name,
        anonymousId,
        timestamp,
        contextText,
        messageId,
        target,
        stepId,
        dataText,
      )
    }
    if (result === true) {
      const values = [body, context, data]
      const texts = [bodyText, contextText, dataText]
      return this.#sendExactly(kind, call, name, values, texts, timestamp, callback, target, stepId)
    }
    return client.#end(result, callback)
  }

  /** Submits an event of which JSON.stringify may have hidden something. `texts` are what it wrote of the `values`. */
  #sendExactly(kind, call, name, values, texts, timestamp, callback, target = undefined, stepId = undefined) {
    const client = this.#whole
    const exact = (at, levels) =>
      isFaithful(values[at], texts[at], levels) ? texts[at] : stringifyExactly(values[at], levels)
    const body = exact(0, kind === kinds.message ? maxDepth + 1 : maxDepth) // an event's own braces do not count
    const context = exact(1, maxDepth)
    const data = exact(2, maxDepth)
    client.#prepare(callback) // a toJSON may have called us
    const result = client.#submitParts(
      kind | exactCall | this.#brand,
      call.userId,
      body,
      name,
      call.anonymousId,
      timestamp,
      context,
      call.messageId,
      target,
      stepId,
      data,
    )
    return client.#end(result, callback)
  }

  /** The delivery of an event that the native side took, or the error with which it did not. */
  #end(result, callback) {
    if (result !== undefined && typeof result !== 'string') throw makeError(result)
    return this.#accept(result, callback)
  }

  /** Makes all ready that must not fail once the event is accepted. */
  #prepare(callback) {
    if (callback !== undefined && typeof callback !== 'function') {
      throw new ConfigurationError({
        code: 'wrong_type',
        path: 'callback',
        message: `the callback must be a function, not ${kindOf(callback)}`,
      })
    }
    if (this.#place < chunkSize) return
    this.#chunk = new Chunk()
    this.#chunkNumber += 1
    this.#chunks.set(this.#chunkNumber, this.#chunk)
    this.#wires.setIds(this.#chunk.ids)
    this.#place = 0
  }

  /** Remembers an event that the native side has taken under the next sequence number. */
  #accept(customId, callback) {
    const delivery = new Delivery(this.#chunk, this.#place++, customId, callback)
    if (this.#pending++ === 0) {
      busy.add(this)
      if (this.#waitUntil !== undefined) this.#askPlatformToWait(this.drained()) // for all that is pending until nothing is
    }
    return delivery
  }

  #askPlatformToWait(promise) {
    try {
      this.#waitUntil(promise)
    } catch (error) {
      this.#log.write(levels.warning, `waitUntil threw: ${error instanceof Error ? error.message : String(error)}`)
    }
  }

  #receiveFates(fates) {
    this.#pending -= fates.count
    let unobserved = false
    let number = -1
    let chunk
    for (let row = 0; row < fates.count; ++row) {
      const sequence = fates.sequence(row)
      if (Math.floor(sequence / chunkSize) !== number) {
        number = Math.floor(sequence / chunkSize)
        chunk = this.#chunks.get(number)
      }
      const place = sequence - number * chunkSize
      const observed = chunk.places[place]
      if (!chunk.settle(place, fates, row)) {
        unobserved = true
        this.#reportFailure(fates.errorInfo(row), observed?.messageId ?? chunk.messageId(place), causeOf(observed))
      }
      if (chunk.left === 0) this.#chunks.delete(number)
    }
    if (unobserved) this.#failures.write()
    if (this.#pending === 0) {
      this.#rest()
      for (const resolve of this.#drainWaiters.splice(0)) resolve()
      callOut(() => this.emit('drain'))
    }
  }

  #reportFailure(info, messageId, cause) {
    if (info.code === 'before_send') return // the program chose it
    if (this.listenerCount('failure') > 0) {
      callOut(() => this.emit('failure', { error: makeError(info, messageId, cause), event: { messageId } }))
    } else if (!(this.#exiting && info.code === 'closed')) {
      this.#failures.add(info)
    }
  }

  #ask(start) {
    const call = this.#nextCall++
    return new Promise((resolve, reject) => {
      this.#calls.set(call, { resolve, reject })
      busy.add(this)
      start(call)
    })
  }

  #receiveAnswer(call, error, result) {
    const { resolve, reject } = this.#calls.get(call)
    this.#calls.delete(call)
    this.#rest()
    if (error === undefined) {
      resolve(result)
    } else {
      reject(makeError(error))
    }
  }

  #beginRun(run) {
    this.#runs.add(run)
    busy.add(this)
  }

  #endRun(run) {
    this.#runs.delete(run)
    this.#rest()
  }

  /** There may be room in the queue: rows or other events have their fates. */
  #wakeRuns() {
    for (const run of this.#runs) run.wake()
  }

  #rest() {
    if (this.#pending === 0 && this.#calls.size === 0 && this.#runs.size === 0) busy.delete(this)
  }
}

if (Symbol.asyncDispose !== undefined) {
  Object.defineProperty(Client.prototype, Symbol.asyncDispose, {
    async value() {
      await this.close()
    },
    configurable: true,
    writable: true,
  })
}

/** A client's view on another brand. Its events are the client's, and disposing of it closes nothing. */
class View extends Client {
  #client

  constructor(client, brand) {
    super(new ViewOn(client, brand))
    this.#client = client
  }

  static {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(EventEmitter.prototype))) {
      if (typeof value !== 'function' || name === 'constructor') continue
      View.prototype[name] = function (...args) {
        const result = this.#client[name](...args)
        return result === this.#client ? this : result
      }
    }
    if (Symbol.asyncDispose !== undefined) {
      Object.defineProperty(View.prototype, Symbol.asyncDispose, { value: async () => {} })
    }
  }
}

process.on('exit', () => {
  if (busy.size === 0) return
  const start = performance.now()
  for (const client of [...busy]) closeAtExit(client, performance.now() - start)
})

/** Documented in index.d.ts. */
async function diagnose(options = {}) {
  const checks = native().diagnose(...optionTexts(options))
  if (checks.kind !== undefined) throw makeError(checks)
  return checks
}

module.exports = {
  Client,
  diagnose,
  fromEnvironment,
  inMemory,
  outboxOf,
  rowAccess,
  get optionList() {
    return native().optionList
  },
  get version() {
    return native().version
  },
}
