import { Client, type Options } from './index.js'

export interface SandboxOptions {
  /** Address to bind. Default: 127.0.0.1. */
  host?: string
  /** 0, the default: any free one. */
  port?: number
  /** The only `auth-token` that has rights. Default: sandbox-token. */
  token?: string
  clientId?: string
  accountId?: string
  /** Brands that the token has rights on. Default: HEA. */
  brandIds?: string[]
  /** Requests a second; 0: no limit. Default: 100. */
  rateLimit?: number
  /** Requests at once. Default: 500. */
  burst?: number
  /** `guide`: the API guide alone. `vendor`, the default: the later documentation (screen, batch, 1 MB). */
  profile?: 'guide' | 'vendor'
  /** Default: what the profile says. */
  maxRequestBytes?: number
  /** Bound on remembered requests, and on events; the oldest go first. Default: none. */
  maxStoredBytes?: number
  /** A SQLite file that keeps accepted events; a sandbox that is given it again still has them. Default: none. */
  store?: string
  /** A tracking plan, JSON or YAML: the page shows which events break it. Default: none. */
  plan?: string
  /** Milliseconds from an event's arrival until it can be read back; `events` has it at once. Default: 0. */
  visibleAfter?: number
  faults?: Fault[]
}

/** A rule of misbehaviour; the first that applies to a POST, or to a GET that it names by its `action`, is used. */
export interface Fault {
  /** Which requests: of this action, */
  action?: string
  /** with an event of this user, */
  user_id?: string
  /** after so many of them, */
  after?: number
  /** so often, */
  times?: number
  /** with this probability. */
  probability?: number
  seed?: number
  /** Answer this, storing nothing. Without it the answer is the real one, and events are stored. */
  status?: number
  body?: string | object
  headers?: Record<string, string>
  /** The answer comes after so many milliseconds, */
  delay_ms?: number
  /** with so many between its bytes, */
  drip_ms?: number
  /** declares this length instead of the true one, */
  content_length?: number
  /** ends with a close after so many bytes of the body, */
  truncate?: number
  /** or has so many bytes more in the body. */
  oversized?: number
  /**
   * Or close the connection before or during the answer, or reset it (TCP) before, during or after the reading of the
   * request's body. `reset_before` and `reset_during` come before all other rules and know no `user_id`.
   */
  close?: 'before' | 'during' | 'reset_before' | 'reset_during' | 'reset_after'
  /** Or answer bytes that are no HTTP; with a `status`, a body that is no text; */
  garbage?: boolean
  /** or neither answer nor close; */
  hang?: boolean
  /** or store the events, then close without an answer. */
  lost_ack?: boolean
}

/** One request as it arrived, with the answer that it got. */
export interface ReceivedRequest {
  receivedMs: number
  method: string
  /** With the query. */
  path: string
  action: string
  /** Names in lower case; `auth-token` is redacted. */
  headers: Record<string, string>
  body: string
  /** 0: closed without an answer. */
  status: number
  answer: string
  /** How many events of it were stored. */
  events: number
}

/** An event as the read API has it. */
export interface StoredEvent {
  eventId: string
  eventTime: string
  receivedTime: string
  eventAction: string
  clientId: string
  accountId: string
  brandId: string
  userId: string
  rawData: Record<string, unknown>
}

/**
 * The members that an event must have, by their names on the wire. `event` is its name; an identify's, a page's or a
 * screen's is its action. Objects may have members more, arrays must be as long, numbers are compared by their value.
 */
export interface Expected {
  action?: 'identify' | 'track' | 'page' | 'screen'
  event?: string
  userId?: string
  anonymousId?: string
  brandId?: string
  traits?: object
  properties?: object
  context?: object
  [field: string]: unknown
}

/** A message as it went over the wire. */
export interface SentMessage {
  action: 'identify' | 'track' | 'page' | 'screen'
  event?: string
  userId?: string
  anonymousId?: string
  timestamp: string
  messageId: string
  traits?: Record<string, unknown>
  properties?: Record<string, unknown>
  context?: Record<string, unknown>
  [field: string]: unknown
}

/** How long to wait, in milliseconds. Default: 5,000. */
export interface Patience {
  timeout?: number
}

/**
 * A stand-in for the Intilery service: a real HTTP server on loopback, on threads of its own, that holds its callers to
 * the contract, remembers what arrived, and misbehaves when told to.
 */
export class Sandbox {
  /** Serves at once. @throws {TypeError} an option or a fault makes no sense */
  constructor(options?: SandboxOptions)
  static start(options?: SandboxOptions): Promise<Sandbox>
  /** A client's `endpoint`. */
  readonly url: string
  readonly port: number
  /** A client of this sandbox; `options` go over the ones that it needs. */
  client(options?: Options): Client
  /** The variables (`INTILERY_ENDPOINT` and so on) that bring `Client.fromEnv()` to this sandbox. */
  environment(): Record<string, string>
  /**
   * Waits for an event, and gives it as `events` has it; of several, the oldest. Rejects with an AssertionError that
   * lists what arrived, and in what the nearest differs.
   */
  expect(message: Expected, options?: Patience): Promise<StoredEvent>
  /** Throws an AssertionError if such an event has arrived. It does not wait: flush the client first. */
  expectNone(message: Expected): void
  /** Those of `events` that `expect` would take; for their number. It does not wait. */
  matching(message: Expected): StoredEvent[]
  requests(): ReceivedRequest[]
  /** In the order of their arrival. */
  events(): StoredEvent[]
  eventCount(): number
  stats(): { requests: Record<string, number>; events: number; bytes: number; bucket_level: number }
  /** Forgets everything that was received and refills the bucket. */
  clear(): void
  /** Replaces the fault script. */
  setFaults(...rules: Fault[]): void
  /** Replaces the token that has rights. */
  setToken(token: string): void
  stop(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** What a test runner calls behind each test, and behind the last. node:test says `after`, others `afterAll`. */
export interface Hooks {
  afterEach(hook: () => Promise<void>): unknown
  after?(hook: () => Promise<void>): unknown
  afterAll?(hook: () => Promise<void>): unknown
}

/**
 * A sandbox without a rate limit for all tests of a file. After each test its clients are closed and it is as new; after
 * the last it stops.
 *
 * @param hooks Of the test runner. Default: what it has put into the global scope (jest; vitest with `globals`), else
 *   node:test's.
 */
export function useSandbox(options?: SandboxOptions, hooks?: Hooks): Sandbox

/**
 * A client for unit tests: its events are checked, serialised, queued and delivered as always, but end in a list instead
 * of the network. Every request is answered at once. It needs no options; any may be given.
 */
export class MemoryClient extends Client {
  constructor(options?: Options)
  static fromEnv(options?: Options): MemoryClient
  /** What was delivered, oldest first. Flush first. */
  readonly sent: SentMessage[]
  /**
   * Has every request from now on, or the next `times`, answered with this HTTP status; 0: no server is reached.
   * @throws {TypeError} there is no such status
   */
  answer(status: number, options?: { times?: number; body?: string }): void
  /** Forgets what was delivered, and answers with success again. */
  clear(): void
  /** Flushes, and gives the message; else as `Sandbox.expect`. */
  expect(message: Expected, options?: Patience): Promise<SentMessage>
  /** Flushes; then as `Sandbox.expectNone`. */
  expectNone(message: Expected, options?: Patience): Promise<void>
  /** Those of `sent` that `expect` would take. */
  matching(message: Expected): SentMessage[]
}
