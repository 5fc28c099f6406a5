import type { Client, Options } from './index.js'

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
