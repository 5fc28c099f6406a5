/** AWS Lambda, and platforms like it: the process is frozen once the handler has returned. */

import { Client } from 'intilery'

const events = Client.fromEnv() // at a cold start; later calls find it, with its connections

export async function handler({ userId, total }, context) {
  events.track({ userId, event: 'Order Completed', properties: { total } })
  const timeout = Math.min(2000, context.getRemainingTimeInMillis() / 2)
  await events.flush({ timeout }) // what is left then goes on when the process is thawed
  return { statusCode: 200 }
}
