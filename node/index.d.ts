/**
 * Client for the Intilery event API: hand an event over and go on.
 *
 * @example
 * import { Client } from 'intilery'
 * const client = new Client({ clientId: 'hea', accountId: 'hea', brandId: 'HEA', authToken })
 * client.track({ userId: 'ABC/123', event: 'Order Completed', properties: { revenue: 30.5 } })
 */

import { EventEmitter } from 'node:events'

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
   * A view on this client for another brand of the account: events through it go to that brand, and `verify` reads that
   * brand. The queue, the connections, the rate and all else are this client's: `flush`, `close`, `stats` and the events
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

  /** Sends what waits at once; resolves when every event accepted before has its fate, or after `timeout`. */
  flush(options?: { timeout?: number }): Promise<Flush>
  /** Accepts no more events, flushes, and stops. What has no fate by `timeout` fails with reason `closed`. */
  close(options?: { timeout?: number }): Promise<Flush>
  /** Resolves when no event is without a fate: between events it keeps a producer at the pace of the account. */
  drained(): Promise<void>
  /**
   * Reads back which of these messages arrived, waiting up to `timeout` (default 30000) for those that are not there yet.
   * `userId` reads only that user's events, which is far quicker. Rejects with DeliveryError, AuthError, TimeoutError or
   * ClosedError.
   */
  verify(
    messages: Iterable<string | { messageId: string }>,
    options?: { userId?: string; timeout?: number },
  ): Promise<Verification>
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
