// Checked by `tsc`: right code passes, and each line marked so is an error.
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { ReadableStream } from 'node:stream/web'
import { metrics } from '@opentelemetry/api'
import type * as Segment from '@segment/analytics-node'
import { type Check, Client, diagnose, type Flush, type Profile, type Receipt, type Sent } from 'intilery'
import SegmentDefault, { Analytics, type Context } from 'intilery/compat/segment'
import { instrument } from 'intilery/otel'
import { MemoryClient, Sandbox, useSandbox } from 'intilery/testing'

export async function right(token: string): Promise<number> {
  const client = new Client({ clientId: 'a', accountId: 'a', brandId: 'B', authToken: token, delivery: 'batch' })
  client.identify({ userId: 'u', traits: { email: 'x' } })
  const { email: _, ...rest } = { email: 'x', plan: 'gold' }
  new Client({ beforeSend: (message) => (message.userId === 'x' ? null : { ...message, properties: rest }) })
  new Client({ dryRun: true, debug: true, logger: console })
  const checks: Check[] = await diagnose({ clientId: 'a', spoolPath: '/var/spool' })
  if (checks.some(({ result }) => result === 'failed')) return 1
  client.page({ anonymousId: 'a-1', properties: { path: '/' } }, (error, receipt) => {
    if (error === null) console.log(receipt?.latency)
  })
  client.startJourney({ userId: 'u', journeyId: 'j', stepId: '2', data: { plan: 'gold' } })
  client.on('failure', ({ error, event }) => console.log(error.code, event.messageId))
  instrument(client, { meterProvider: metrics.getMeterProvider(), attributes: { brand: 'B' } }).stop()
  new Client({ waitUntil: (promise: Promise<unknown>) => void promise })
  const receipt: Receipt = await client.track({ userId: 'u', event: 'E', properties: { x: 1 }, timestamp: new Date() })
  const view: Client = client.brand('HEB')
  view.track({ userId: 'u', event: 'E' })
  const analytics: Analytics = new SegmentDefault({ writeKey: 'a/a/B:t', flushAt: 1, spoolPath: '/tmp/spool' })
  analytics.track({ userId: 'u', event: 'E', timestamp: new Date() }, (error, ctx) => console.log(error?.code, ctx?.id))
  analytics.on('error', ({ reason, ctx }) => console.log(reason.code, ctx.event.userId))
  analytics.on('track', (ctx: Context) => console.log(ctx.attempts))
  await analytics.closeAndFlush({ timeout: 1000 })
  for await (const event of client.events({ userId: 'u', include: ['E'], start: new Date(), sort: 'asc' })) {
    console.log(event.eventTime?.getTime(), event.rawData.properties)
  }
  const profile: Profile | null = await client.profile({ email: 'x', timeout: 1000 })
  const everybody: Profile[] = await client.profiles().toArray()
  console.log(profile?.traits, everybody.length)
  const sent: Sent = await client.sendMany(new URL('file:///rows.ndjson'), {
    event: 'E',
    onReject: ({ row, values }) => console.log(row, values),
    signal: AbortSignal.timeout(1000),
  })
  await client.sendMany(Readable.from([{ userId: 'u' }]), { action: 'identify', exclude: ['secret'] })
  await client.sendMany(new ReadableStream<Uint8Array>(), { mapping: { userId: 'customer' }, onInvalid: 'stop' })
  const writable = client.writable({ event: 'E', objectMode: false })
  await pipeline(Readable.from(['{}']), writable)
  console.log(sent.delivered, writable.report?.remaining)
  const flush: Flush = await client.flush({ timeout: 1000 })
  await using sandbox = await Sandbox.start({ profile: 'guide' })
  const stored = await sandbox.expect({ event: 'E', properties: { x: 1 }, assetId: 'a' }, { timeout: 10 })
  const memory: MemoryClient = MemoryClient.fromEnv({ brandId: 'B' })
  memory.answer(503, { times: 2 })
  const [first] = [...memory.sent, await memory.expect({ userId: stored.userId })]
  useSandbox({}, { afterEach: (hook) => hook(), afterAll: (hook) => hook() }).expectNone({ event: first.event })
  return receipt.status + flush.remaining + sandbox.port
}

/** What fits Segment's client fits ours. */
export function fromSegment(
  settings: Segment.AnalyticsSettings,
  identify: Segment.IdentifyParams,
  track: Segment.TrackParams,
  page: Segment.PageParams,
  alias: Segment.AliasParams,
  group: Segment.GroupParams,
): void {
  const analytics = new Analytics(settings)
  analytics.identify(identify)
  analytics.track(track)
  analytics.page(page)
  analytics.screen(page)
  analytics.alias(alias)
  analytics.group(group)
}

export function wrong(client: Client): void {
  // @ts-expect-error no event
  client.track({ userId: 'u' })
  // @ts-expect-error not a string
  client.track({ userId: 5, event: 'E' })
  // @ts-expect-error misspelt
  client.track({ userId: 'u', event: 'E', propertes: {} })
  // @ts-expect-error nobody
  client.page({ properties: {} })
  // @ts-expect-error misspelt
  new Analytics({ writeKey: 'k', flushatt: 1 })
  // @ts-expect-error nobody
  new Analytics({ writeKey: 'k' }).track({ event: 'E' })
  // @ts-expect-error misspelt
  diagnose({ endpiont: 'x' })
  // @ts-expect-error misspelt
  new Client({ delivry: 'batch' })
  // @ts-expect-error misspelt
  instrument(client, { meterprovider: undefined })
  // @ts-expect-error no message
  new Client({ beforeSend: () => 5 })
  // @ts-expect-error no error()
  new Client({ logger: { debug() {}, info() {}, warn() {} } })
  // @ts-expect-error not a function
  new Client({ waitUntil: true })
  // @ts-expect-error misspelt
  client.sendMany([], { evnt: 'E' })
  // @ts-expect-error not rows
  client.sendMany([5])
  // @ts-expect-error no such choice
  new Client({ delivery: 'fast' })
  // @ts-expect-error misspelt
  client.events({ userID: 'u' })
  // @ts-expect-error no such order
  client.events({ sort: 'up' })
  // @ts-expect-error nobody
  client.profile({})
}
