// Checked by `tsc`: right code passes, and each line marked so is an error.
import { metrics } from '@opentelemetry/api'
import { type Check, Client, diagnose, type Flush, type Receipt } from 'intilery'
import { instrument } from 'intilery/otel'
import { Sandbox } from 'intilery/testing'

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
  const flush: Flush = await client.flush({ timeout: 1000 })
  await using sandbox = await Sandbox.start({ profile: 'guide' })
  return receipt.status + flush.remaining + sandbox.port
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
  // @ts-expect-error no such choice
  new Client({ delivery: 'fast' })
}
