import type { MeterProvider } from '@opentelemetry/api'
import type { Client } from './index.js'

export interface InstrumentOptions {
  /** Default: the global one of now, so start the SDK first. */
  meterProvider?: MeterProvider
  /** Of every observation. Clients with the same attributes are added up. */
  attributes?: Record<string, string | number | boolean>
}

export interface Instrumentation {
  /** Observes the client no more. May be called more than once. */
  stop(): void
}

/**
 * Registers a client's counters as observable instruments, which read `client.stats()` once for each collection;
 * docs/monitoring.md lists them. The client is held weakly: it is observed until `stop()`, or until nobody else holds it.
 */
export function instrument(client: Client, options?: InstrumentOptions): Instrumentation
