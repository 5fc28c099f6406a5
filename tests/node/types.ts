// Checked by `tsc`: right code passes, and each line marked so is an error.
import { Client, type Flush, type Receipt } from 'intilery'
import { Sandbox } from 'intilery/testing'

export async function right(token: string): Promise<number> {
  const client = new Client({ clientId: 'a', accountId: 'a', brandId: 'B', authToken: token, delivery: 'batch' })
  client.identify({ userId: 'u', traits: { email: 'x' } })
  client.page({ anonymousId: 'a-1', properties: { path: '/' } }, (error, receipt) => {
    if (error === null) console.log(receipt?.latency)
  })
  client.startJourney({ userId: 'u', journeyId: 'j', stepId: '2', data: { plan: 'gold' } })
  client.on('failure', ({ error, event }) => console.log(error.code, event.messageId))
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
  new Client({ delivry: 'batch' })
  // @ts-expect-error no such choice
  new Client({ delivery: 'fast' })
}
