/**
 * Segment's Node client (`@segment/analytics-node`), as far as a program sees it, on Intilery's. docs/migration.md says
 * what differs.
 *
 * @example
 * import { Analytics } from 'intilery/compat/segment' // was: from '@segment/analytics-node'
 * const analytics = new Analytics({ writeKey: 'hea/hea/HEA:token' }) // CLIENT/ACCOUNT/BRAND:TOKEN
 * analytics.track({ userId: 'ABC/123', event: 'Order Completed', properties: { revenue: 30.5 } })
 */

import { EventEmitter } from 'node:events'
import type { IntileryError, Options } from '../index.js'

/** Segment's settings, and any of Intilery's options. What neither say comes from the environment (`INTILERY_…`). */
export interface AnalyticsSettings extends Options {
  /** CLIENT/ACCOUNT/BRAND:TOKEN; or the token, with the ids in the environment; or nothing: all of it there. */
  writeKey?: string
  /** The `endpoint`. Segment's own addresses are ignored. */
  host?: string
  /** @deprecated `flushAt` */
  maxEventsInBatch?: number
  /** `requestTimeout`. */
  httpRequestTimeout?: number
  /** `dryRun`. */
  disable?: boolean
  /** `deliveryTimeout`, in seconds. */
  maxTotalBackoffDuration?: number
  /** Ignored. */
  path?: string
  /** Ignored. */
  httpClient?: unknown
  /** Ignored. */
  oauthSettings?: unknown
  /** Ignored. */
  maxRateLimitDuration?: number
}

interface Common {
  context?: object
  timestamp?: Date | string
  messageId?: string
  /** Ignored: events go to Intilery alone. */
  integrations?: Record<string, unknown>
}
type Who = { userId: string; anonymousId?: string } | { userId?: string; anonymousId: string }

export type IdentifyParams = Common & Who & { traits?: object }
export type TrackParams = Common & Who & { event: string; properties?: object }
export type PageParams = Common & Who & { category?: string; name?: string; properties?: object }
export type AliasParams = Common & { userId: string; previousId: string }
export type GroupParams = Common & Who & { groupId: string; traits?: object }

/** An event as the call gave it, with its id and time. */
export interface SegmentEvent {
  type: 'identify' | 'track' | 'page' | 'screen'
  userId?: string
  anonymousId?: string
  event?: string
  name?: string
  traits?: object
  properties?: object
  context?: object
  timestamp: Date | string
  messageId: string
  integrations?: Record<string, unknown>
}

/** What callbacks and listeners get: the event, and what became of it. */
export class Context {
  constructor(event: SegmentEvent)
  readonly event: SegmentEvent
  /** The event's message id. */
  readonly id: string
  /** Requests that carried the event. */
  readonly attempts: number
  failedDelivery(): { reason: IntileryError } | undefined
}

export type Callback = (error?: IntileryError, ctx?: Context) => void

interface AnalyticsEvents {
  identify: [ctx: Context]
  track: [ctx: Context]
  page: [ctx: Context]
  screen: [ctx: Context]
  /** An event failed. Without a listener, and without a callback of the event's, it is logged. */
  error: [failure: { code: 'delivery_failure'; reason: IntileryError; ctx: Context }]
  /** Without a listener it is logged. */
  call_after_close: [event: SegmentEvent]
  drained: []
}

export class Analytics extends EventEmitter<AnalyticsEvents> {
  /** @throws {ConfigurationError} naming the setting */
  constructor(settings?: AnalyticsSettings)
  readonly ready: Promise<void>
  readonly VERSION: string
  /**
   * Says who a user is.
   *
   * @throws {ValidationError} a mistake in the call; nothing was accepted
   */
  identify(params: IdentifyParams, callback?: Callback): void
  /** Says what a user did. Throws as `identify`. */
  track(params: TrackParams, callback?: Callback): void
  /** Says which page was seen; `category` and `name` become properties. Throws as `identify`. */
  page(params: PageParams, callback?: Callback): void
  /** Says which screen of an app was seen; `category` becomes a property. Throws as `identify`. */
  screen(params: PageParams, callback?: Callback): void
  /** Says that a visitor, `previousId`, is this user: an identify with both. Throws as `identify`. */
  alias(params: AliasParams, callback?: Callback): void
  /** @deprecated Intilery has no groups. @throws {ValidationError} always; it says what to do instead */
  group(params: GroupParams, callback?: Callback): never
  /** @deprecated Intilery has no plugins; there is `beforeSend`. Always rejects. */
  register(...plugins: unknown[]): Promise<void>
  /** @deprecated Does nothing. */
  deregister(...names: string[]): Promise<void>
  /** Resolves when every event has its fate, or after `timeout`. */
  flush(options?: { timeout?: number; close?: boolean }): Promise<void>
  /** Accepts no more events and flushes. What has no fate after `timeout` (default 75000) fails. */
  closeAndFlush(options?: { timeout?: number }): Promise<void>
}
export default Analytics
