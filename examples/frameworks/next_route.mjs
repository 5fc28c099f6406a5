/** Next.js: app/api/orders/route.js */

import { Client } from 'intilery'

export const runtime = 'nodejs' // the client is native code: no edge

globalThis.intilery ??= Client.fromEnv() // one client, however often this module is loaded again in development
const events = globalThis.intilery

export async function POST(request) {
  const { userId, total } = await request.json()
  events.track({ userId, event: 'Order Completed', properties: { total } })
  await events.flush({ timeout: 2000 }) // on a server of your own, not needed
  return Response.json({ accepted: true })
}
