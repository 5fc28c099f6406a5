/**
 * Client for the Intilery event API: hand an event over and go on.
 *
 * @example
 * import { Client } from 'intilery'
 * const client = new Client({ clientId: 'hea', accountId: 'hea', brandId: 'HEA', authToken })
 * client.track({ userId: 'ABC/123', event: 'Order Completed', properties: { revenue: 30.5 } })
 */

import { EventEmitter } from 'node:events'
import type { Writable } from 'node:stream'

/** The settings of a client. Times are milliseconds, sizes bytes; docs/options.md has bounds and defaults. */
export interface Options {
  /** The client's id in the service's address. Required. */
  clientId?: string
  /** The account's id in the service's address. Required. */
  accountId?: string
  /** The brand's id in the service's address. Required. */
  brandId?: string
  /** The shared secret. Shown nowhere. Required. */
  authToken?: string
  /** Where the service is. Default: `https://tracking.intilery.com`. */
  endpoint?: string
  /** Allow plain http to an address that is not loopback. Default: false. */
  allowInsecureHttp?: boolean
  /** How events become requests. Default: `auto`: single requests while the rate allows, batches under backlog. */
  delivery?: 'auto' | 'event' | 'batch'
  /** The account's requests a second. Default: 100. */
  rateLimit?: number
  /** The account's burst of requests. Default: 500. */
  burst?: number
  /** A Redis URL: all clients of the account that have it share one exact bucket. Shown nowhere. Default: none. */
  rateLimitStore?: string
  /** Largest request; 1000000 for accounts with the later limit. Default: 6000000. */
  maxRequestBytes?: number
  /** Largest event. Default: maxRequestBytes. */
  maxEventBytes?: number | null
  /** Largest batch. Default: maxRequestBytes. */
  maxBatchBytes?: number | null
  /** A batch may leave when so many events wait. Default: 500. */
  flushAt?: number
  /** A batch may leave when the oldest event has waited so long. Default: 100. */
  flushInterval?: number
  /** Bound on the events that are not yet acknowledged. Default: 64000000. */
  maxQueueBytes?: number
  /** When the queue is full. `block` is not for Node: `await client.drained()`. Default: `fail`. */
  onFull?: 'fail' | 'raise' | 'drop_oldest'
  /** Not for Node. */
  blockTimeout?: number
  /** A mistake in a call. Default: `raise`, at the call. `report`: as a failed delivery. */
  onInvalid?: 'raise' | 'report'
  /** A folder. Events are kept there until their fate is known, so they outlive the process. */
  spoolPath?: string
  /** Bound on this client's file in the spool, and on the dead letters. */
  spoolMaxBytes?: number
  /** What an event in the spool survives: `process`: kill -9. `power`: a power cut too, for an fsync a call. */
  spoolSync?: 'process' | 'power'
  /** How often a failed request is sent again. Default: until deliveryTimeout. */
  maxRetries?: number | null
  /** The first wait before a retry, with full jitter; it doubles. Default: 500. */
  retryInitial?: number
  /** The longest wait before a retry, Retry-After included. Default: 30000. */
  retryMax?: number
  /** How long an event may fail or find no server. Default: 300000. */
  deliveryTimeout?: number
  /** An event that was sent and never answered: `resend` it, or `check` first, by reading back, whether it is there. */
  onUnknown?: 'resend' | 'check'
  /** How long `check` waits before it reads. What the service shows later than that is sent twice. Default: 5000. */
  checkDelay?: number
  /** How long one request may take. Default: 15000. */
  requestTimeout?: number
  /** How long connecting may take. Default: 5000. */
  connectTimeout?: number
  /** Requests under way at once. Default: 4. */
  maxConnections?: number
  /** Use HTTP/2 where the server has it. Default: false. */
  http2?: boolean
  /** Proxy address. Default: from the environment, as curl has it. */
  proxy?: string
  /** File with the certificates to trust (PEM). Default: the system's. */
  caFile?: string
  /** Put before the client's own User-Agent. */
  userAgent?: string
  /** How long `process.exit` waits for what is queued. Default: 5000. */
  exitTimeout?: number
  /** Merged under every event's own context. */
  context?: Properties | null
  /** Allow identify and track with an anonymousId only. Default: false. */
  allowAnonymous?: boolean
  /** A tracking plan that every event is checked against: a JSON or YAML file, or the plan itself. */
  plan?: string | Properties | null
  /** What breaks the plan: `warn`: is sent, counted and logged once for each event and rule. `reject`: is a mistake in the call. Default: 'warn'. */
  planMode?: 'warn' | 'reject'
  /** Check and serialise every event, and send nothing. Default: false. */
  dryRun?: boolean
  /** Log each request and its answer: what the events hold, and never the token. Default: false. */
  debug?: boolean
  /**
   * Sees each message before it is checked, in the form that `send` takes, with the members that the call gave, and
   * returns the message to send, or nothing to drop it. Runs in the call; may call the client. The object is its own,
   * and what lies in it is the caller's. If it throws, the call throws a ValidationError, and nothing is sent.
   */
  beforeSend?: ((message: Message) => object | null | undefined) | null
  /** Node only: where log lines go. Default: the console, from `warn` up, or with `debug` everything. */
  logger?: Logger | null
  /**
   * Node only: the platform's function that keeps a short-lived process alive. It is handed one promise whenever events
   * become pending, which resolves when all have their fates and never rejects.
   */
  waitUntil?: ((promise: Promise<void>) => void) | null
}

/** As console and pino have it. */
export interface Logger {
  debug(line: string): unknown
  info(line: string): unknown
  warn(line: string): unknown
  error(line: string): unknown
}

/** Any object whose values JSON can show; Map, Date and bigint too. */
export type Properties = object

interface Common {
  context?: Properties | null
  /** When it happened: a Date, or ISO-8601 text with a zone. Default: now. */
  timestamp?: Date | string | null
  /** The event's own id. Default: a new UUIDv7 (RFC 9562). */
  messageId?: string | null
}

/** A user, or with `allowAnonymous` a visitor who is not known yet. */
type Who = { userId: string; anonymousId?: string | null } | { userId?: null; anonymousId: string }

export type Identify = Common & Who & { traits: Properties }
export type Track = Common & Who & { event: string; properties?: Properties | null }
export type Page = Common & Who & { properties?: Properties | null }
export type Screen = Common & Who & { name?: string | null; properties?: Properties | null }
/** `data` is merge data: its members become the event's own. */
export type Command = Common & {
  userId: string
  anonymousId?: string | null
  assetId: string
  data?: Properties | null
}
export type StartJourney = Common & {
  userId: string
  anonymousId?: string | null
  journeyId: string
  stepId?: string | null
  data?: Properties | null
}
/** A whole message with the contract's field names. */
export interface Message {
  action: 'identify' | 'track' | 'page' | 'screen'
  [field: string]: unknown
}

/** The fate of a delivered event. */
export interface Receipt {
  messageId: string
  /** The service's name for the event; undefined for a batch. */
  eventId: string | undefined
  status: number
  /** Requests that carried the event. */
  attempts: number
  route: 'event' | 'batch'
  /** Milliseconds from the call to the fate. */
  latency: number
  /** It was never acknowledged, and found by reading back (`onUnknown: 'check'`); then it has its `eventId`. */
  readBack: boolean
}

/**
 * A handle on one event's delivery: awaiting it gives the receipt, or throws why the event failed. A delivery that nobody
 * awaits causes no unhandled rejection: what fails goes to the client's `failure` event, or else to the log.
 */
export interface Delivery extends Promise<Receipt> {
  /** The id under which the event travels, from the call on. */
  readonly messageId: string
  /** Whether the event has its final fate. */
  readonly done: boolean
}

export type DeliveryCallback = (error: IntileryError | null, receipt?: Receipt) => void

/** What `flush` and `close` saw of the events that were accepted before them and had no fate yet. */
export interface Flush {
  delivered: number
  failed: number
  /** Still without a fate at the time-out. */
  remaining: number
}

/** A client's counters, taken at one moment: `accepted === delivered + failed + queued` always holds. */
export interface Stats {
  accepted: number
  delivered: number
  failed: number
  failedByReason: Record<string, number>
  /** Without a fate yet; those in flight are among them. */
  queued: number
  inFlight: number
  queuedBytes: number
  retried: number
  /** Events that were never acknowledged, and found by reading back. */
  readBack: number
  bytesSent: number
  /** By HTTP status; 0: no answer. */
  requests: Record<string, number>
  /** Broken rules of the tracking plan, with `planMode: 'warn'`, by event and rule. */
  planViolations: Record<string, number>
  /** Requests that the token bucket would let go now. */
  rateLeft: number
  state: 'running' | 'paused: auth' | 'paused: rate' | 'paused: unreachable' | 'closed'
}

/** What reading back showed of the messages asked for. */
export interface Verification {
  expected: number
  found: number
  missing: string[]
  duplicate: string[]
  complete: boolean
}

/** An event as the service has it. */
export interface Event {
  /** The service's name for it, as in Receipt. */
  eventId: string
  /** When it happened, to the millisecond. */
  eventTime: Date | undefined
  receivedTime: Date | undefined
  /** `track` and so on. */
  action: string
  /** By which `include` and `exclude` know it: the event's name, or else its action. */
  name: string
  clientId: string
  accountId: string
  brandId: string
  userId: string | undefined
  /** What was sent, with `action`. */
  rawData: Record<string, unknown>
}

/** A customer as the service has them. */
export interface Profile {
  /** The service's own: `client.events({ id: profile.id })`. */
  id: string | undefined
  userId: string | undefined
  traits: Record<string, unknown>
  /** What else the service says. */
  meta: Record<string, unknown>
}

/** Whose profile; exactly one of them. */
export type ProfileKey = { userId: string } | { email: string } | { id: string }

/** Which events, and in which order. */
export interface EventQuery {
  /** Only this user's. Of userId, email and id at most one. */
  userId?: string | null
  /** Only those of the customers with this email. */
  email?: string | null
  /** Only those of the profile with this id. */
  id?: string | null
  /** Only events of these names. */
  include?: string | readonly string[] | null
  /** No events of these names. */
  exclude?: string | readonly string[] | null
  /** Not before this moment: a Date, or ISO-8601 text with a zone. */
  start?: Date | string | null
  /** Not after it. */
  end?: Date | string | null
  /** Default: `desc`, the newest first. */
  sort?: 'asc' | 'desc' | null
  /** Not more than so many. */
  limit?: number | null
  /** How long the next event may take, retries included. Default: 30000. */
  timeout?: number
}

/**
 * What is read back, one at a time; a page whenever one is needed. `next` rejects with DeliveryError, AuthError,
 * TimeoutError or ClosedError; after any of them the reading can go on where it was.
 */
export interface Reading<T> extends AsyncIterableIterator<T> {
  next(): Promise<IteratorResult<T, undefined>>
  [Symbol.asyncIterator](): Reading<T>
  /** All that is left. */
  toArray(): Promise<T[]>
}

/** What `sendMany` reads: docs/data.md. */
export type RowSource =
  | string
  | URL
  | Uint8Array
  | Iterable<object | string | Uint8Array>
  | AsyncIterable<object | string | Uint8Array>

/** The options of `writable`, and most of `sendMany`. A column is a member of the rows. */
export interface RowOptions {
  /** More of these options, from `action` on: an object, or the path of a JSON file. What is given directly goes over it. */
  mapping?: object | string
  /** A row that can be no event is told of (default), or ends the run. */
  onInvalid?: 'reject' | 'stop'
  /** A file that gets a line for each row that was not delivered. Default: beside a file, unless `onReject` is given. */
  rejects?: string
  /** Is told of each row that was not delivered. Waited for, and what it throws ends the run. */
  onReject?: (reject: Reject) => unknown
  /** A file that lets a run that was killed go on. True: beside the source. Default: none. */
  checkpoint?: string | boolean
  /** Sends the source's first rows only. */
  limit?: number
  /** Ends the run, with an AbortError whose `report` says how far it was. */
  signal?: AbortSignal
  /** Is told some times a second how far the run is. */
  onProgress?: (sent: Sent) => void

  /** Default: `track`. */
  action?: 'identify' | 'track' | 'page' | 'screen'
  /** The name of every event (track). */
  event?: string
  /** Or the column that has each one's. Default: `event`, if there is one. */
  eventColumn?: string
  /** A column. Default: `userId` or `user_id`. One with numbers will do. */
  userId?: string
  /** A column. Default: `anonymousId` or `anonymous_id`, if there is one. */
  anonymousId?: string
  /** A column, of Dates or ISO-8601 text with a zone. Default: `timestamp`, if there is one; else the time of sending. */
  timestamp?: string
  /** A column. Default: `messageId` or `message_id`, if there is one; else it follows from the row. */
  messageId?: string
  /** The columns that become properties (of identify: traits). Default: all the rest. */
  properties?: string[]
  /** The columns that do not. */
  exclude?: string[]
  /** Tells sources apart whose rows are the same, in their message ids. Default: a file's name. */
  sourceId?: string
}

export interface SendManyOptions extends RowOptions {
  /** Of a file whose name does not tell. */
  format?: 'ndjson'
}

export interface WritableOptions extends RowOptions {
  checkpoint?: string
  /** Default: true, for objects and for pieces of NDJSON; a text is one or more whole lines. False: pieces of text, too. */
  objectMode?: boolean
}

/** What became of a source's rows: `rows === delivered + rejected + failed + remaining`. Frozen. */
export interface Sent {
  /** Read so far, those of earlier runs that a checkpoint remembers included. */
  readonly rows: number
  /** Handed to the client: the rest was rejected. */
  readonly sent: number
  readonly delivered: number
  /** Could not become events. */
  readonly rejected: number
  /** Became events that were not delivered. */
  readonly failed: number
  /** Without a fate, when the run was ended early. */
  readonly remaining: number
  /** Of the rows with a fate, those that more than one request carried. */
  readonly resent: number
  /** Rows that had their fates before this run. */
  readonly resumed: number
  /** Rows in the source, where that is known. */
  readonly total: number | undefined
  /** Of this run. */
  readonly seconds: number
  /** The reject file, if there is one of this run, or of the one that it goes on with. */
  readonly rejects: string | undefined
}

/** A row that was not delivered. */
export interface Reject {
  /** Its number, from 1. */
  row: number
  /** Of NDJSON: its line, which blank ones shift. */
  line?: number
  /** As of the errors: docs/errors.md. */
  code: string
  path: string
  message: string
  /** The row, as text if it is no JSON. Of an event that was not delivered: the event. */
  values: unknown
  /** Of an event that was not delivered: whether Intilery has it. */
  arrived?: 'no' | 'unknown'
  messageId?: string
}

/** Made by `client.writable`; it finishes when every row has its fate. */
export interface RowWritable extends Writable {
  /** What is known of the rows; undefined until the stream is open. */
  readonly report: Sent | undefined
}

export interface Failure {
  error: IntileryError
  event: { messageId: string }
}

interface ClientEvents {
  /** An event failed that nobody observes. Without a listener it is logged. */
  failure: [failure: Failure]
  /** No event is without a fate any more. */
  drain: []
}

/**
 * Sends events to Intilery: in order for each user, at the account's pace, each exactly as its delivery will tell.
 *
 * Event calls do no I/O and never block: they check, serialise and queue. A program that runs out of other work stays
 * until its events are through; `process.exit` waits up to `exitTimeout`.
 */
export class Client extends EventEmitter<ClientEvents> {
  /** @throws {ConfigurationError} naming the option */
  constructor(options: Options)

  /** A client with its options from the environment (`INTILERY_CLIENT_ID` and so on; times in seconds), `options` over them. */
  static fromEnv(options?: Options): Client

  /**
   * A view on this client for another brand of the account: events through it go to that brand, and what is read back is
   * that brand's. The queue, the connections, the rate and all else are this client's: `flush`, `close`, `stats` and the events
   * `failure` and `drain` are of the whole. `await using` closes no view.
   *
   * @throws {ConfigurationError} the name makes no sense as `brandId`
   */
  brand(brandId: string): Client

  /**
   * Says who a user is.
   *
   * @throws {ValidationError} a mistake in the call; nothing was accepted
   * @throws {ClosedError} the client is closed
   * @throws {QueueFullError} with `onFull: 'raise'`
   */
  identify(call: Identify, callback?: DeliveryCallback): Delivery
  /** Says what a user did. Throws as `identify`. */
  track(call: Track, callback?: DeliveryCallback): Delivery
  /** Says which page a user, or a visitor (`anonymousId`), saw. Throws as `identify`. */
  page(call: Page, callback?: DeliveryCallback): Delivery
  /** Says which screen of an app was seen. Throws as `identify`. */
  screen(call: Screen, callback?: DeliveryCallback): Delivery
  /** Commands an email. Throws as `identify`. */
  sendEmail(call: Command, callback?: DeliveryCallback): Delivery
  /** Commands a text message. */
  sendSms(call: Command, callback?: DeliveryCallback): Delivery
  /** Commands a letter. */
  sendPrint(call: Command, callback?: DeliveryCallback): Delivery
  /** Commands a push message. */
  sendPush(call: Command, callback?: DeliveryCallback): Delivery
  /** Commands the start of a journey, at `stepId` if given. */
  startJourney(call: StartJourney, callback?: DeliveryCallback): Delivery
  /** Sends a whole message. Throws as `identify`. */
  send(message: Message, callback?: DeliveryCallback): Delivery

  /**
   * Sends every row of a source as an event, and resolves when all have their fates. It waits for room in the queue,
   * whatever `onFull` says, and never holds up the event loop. docs/data.md.
   *
   * Rejects with ConfigurationError (before anything is sent, or where the source cannot be read any further),
   * ValidationError (`onInvalid: 'stop'`; the rows before that one have their fates), ClosedError, an AbortError, or what
   * the source threw.
   *
   * @example
   * const sent = await client.sendMany('orders.ndjson', { event: 'Order Completed', userId: 'customer' })
   */
  sendMany(source: RowSource, options?: SendManyOptions): Promise<Sent>
  /**
   * A stream that sends the rows written to it, objects or NDJSON, as `sendMany` does.
   *
   * @example
   * await pipeline(response.body, createGunzip(), client.writable({ event: 'Order Completed' }))
   */
  writable(options?: WritableOptions): RowWritable

  /** Sends what waits at once; resolves when every event accepted before has its fate, or after `timeout`. */
  flush(options?: { timeout?: number }): Promise<Flush>
  /** Accepts no more events, flushes, and stops. What has no fate by `timeout` fails with reason `closed`. */
  close(options?: { timeout?: number }): Promise<Flush>
  /** Resolves when no event is without a fate: between events it keeps a producer at the pace of the account. */
  drained(): Promise<void>
  /**
   * Reads back which of these messages arrived, waiting up to `timeout` (default 30000) for those that are not there yet.
   * `userId` reads only that user's events, which is far quicker. With a `start`, all events from then on are read,
   * however many; without, the newest 10,000, and those since the ids were made if they say when (as the client's own
   * do). Rejects with DeliveryError, AuthError, TimeoutError or
   * ClosedError.
   */
  verify(
    messages: Iterable<string | { messageId: string }>,
    options?: { userId?: string; timeout?: number; start?: Date; end?: Date },
  ): Promise<Verification>
  /**
   * Reads events back, paced like everything else: `for await (const event of client.events({ userId }))`.
   * docs/reading.md has the limits.
   *
   * @throws {ValidationError} a mistake in the query
   */
  events(query?: EventQuery): Reading<Event>
  /**
   * A customer's traits, and what else the service says of them; null if it knows nobody by that key. Rejects as `events`
   * throws, also if several customers have the email, and as a Reading does.
   */
  profile(key: ProfileKey & { timeout?: number }): Promise<Profile | null>
  /** All customers, or those who have an email. Throws as `events`. */
  profiles(query?: { email?: string | null; timeout?: number }): Reading<Profile>
  /** The counters of now. Cheap. */
  stats(): Stats
  /** Replaces the token, and goes on if the old one was refused. @throws {ConfigurationError} */
  setAuthToken(token: string): void
  [Symbol.asyncDispose](): Promise<void>
}

/** Base of all errors of this library. No message ever shows the token, nor what an event holds. */
export class IntileryError extends Error {
  /** Stable; docs/errors.md has them all. */
  code: string
  /** What `beforeSend` threw, if that is why. */
  cause?: unknown
  /** The event's id, where there is one. */
  messageId?: string
}
/** An option is missing or makes no sense. */
export class ConfigurationError extends IntileryError {
  option: string
}
/** An event breaks the contract; nothing of it was accepted. */
export class ValidationError extends IntileryError {
  /** The culprit, such as `properties.products[3].price`. */
  path: string
  /** Of `sendMany` with `onInvalid: 'stop'`: the row, from 1. */
  row?: number
  /** All that breaks the tracking plan, of which `code` and `path` tell the first; empty for another mistake. */
  errors: Violation[]
}
/** One rule of the tracking plan that an event breaks. */
export interface Violation {
  code: string
  /** The culprit, such as `properties.products[3].price`. */
  path: string
  /** Where the rule stands in the plan: a JSON pointer. */
  rule: string
  /** What is wrong; never what the event holds. */
  message: string
}
/** More waits than `maxQueueBytes` allows. */
export class QueueFullError extends IntileryError {}
/** The client was closed before the call. */
export class ClosedError extends IntileryError {}
/** An accepted event will not be sent (again). */
export class DeliveryError extends IntileryError {
  reason: string
  /** Whether Intilery has it. `unknown`: it was sent, and never answered. */
  arrived: 'no' | 'unknown'
  /** The last HTTP status, if there was an answer. */
  status: number | undefined
  attempts: number
  /** The server's last answer, cut to 2 kB. */
  readonly body: string
}
/** An accepted event was given up because the token has no rights. */
export class AuthError extends DeliveryError {}
/** A wait ended before what it waited for. Nothing is lost. */
export class TimeoutError extends IntileryError {}
/** The spool cannot be opened, or an event not be written there; then it was not accepted. */
export class SpoolError extends IntileryError {}

/** What one look showed. Never holds the token, nor a password. */
export interface Check {
  /** `options`, `library`, `open_files`, `spool`, `rate_limit_store`, `proxy`, `address`, `connection`, `tls`, `token`,
   * `batch`, `clock`; always all, in this order. */
  name: string
  result: 'ok' | 'warning' | 'failed' | 'skipped'
  message: string
  /** What to do; may be empty. */
  advice: string
}
/**
 * Looks whether a client with these options, over those in the environment, could deliver: address, TLS, token, clock,
 * limits, spool. Sends no event: it reads one event back, and posts an empty batch. Takes at most half a minute.
 *
 * @throws {ConfigurationError} an option cannot be read
 */
export function diagnose(options?: Options): Promise<Check[]>

/** One option, as the core declares it. */
export interface OptionInfo {
  name: string
  type: 'text' | 'flag' | 'integer' | 'number' | 'duration' | 'choice' | 'object'
  default: string
  minimum: number
  maximum: number
  choices: string[]
  secret: boolean
  help: string
}
export function optionList(): OptionInfo[]
export const version: string
