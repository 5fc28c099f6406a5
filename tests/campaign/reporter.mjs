// Sends events until its standard input ends, and reports each call and each fate at once; as reporter.py.
import { writeSync } from 'node:fs'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { Client, IntileryError } from '../../node/index.mjs'

const USERS = 40
const [life, note, rate] = process.argv.slice(2, 5).map(Number)

const say = (line) => writeSync(1, `${line}\n`)

const told = (error, receipt) => {
  if (!error) say(`delivered ${receipt.messageId}`)
  else say(`failed ${error.messageId} ${error.reason ?? error.code} ${error.arrived ?? 'unknown'}`)
}

const send = (client, number) => {
  // In one order over all lives: an event's number is above those of the lives before.
  const [block, place] = [Math.floor(number / 50), number % 50]
  const userId = `user-${(life + (place < 2 ? block : number)) % USERS}`
  const n = life * 1_000_000 + number
  const messageId = `${userId}:${n}`
  const values = { n, mark: `${userId}/${n}/é😀`, note: 'x'.repeat(note) }
  if (place === 0) client.identify({ userId, traits: values, messageId }, told)
  else if (place === 1) client.sendEmail({ userId, assetId: 'asset-7', data: values, messageId }, told)
  else client.track({ userId, event: 'Step', properties: values, messageId }, told)
  say(`accepted ${messageId}`)
}

const ended = new Promise((resolve) => process.stdin.on('end', resolve).resume())
let going = true
ended.then(() => (going = false))

const client = Client.fromEnv()
const start = performance.now()
for (let number = 0; going; number += 1) {
  const early = start + (number * 1000) / rate - performance.now()
  if (rate === 0) await ended
  else await (early > 0 ? setTimeout(early) : setImmediate())
  if (!going) break
  try {
    send(client, number)
  } catch (error) {
    if (!(error instanceof IntileryError) && error.code !== 'internal') throw error // 'internal': out of memory
    say(`raised ${error.name}`)
  }
}
await client.flush()
await client.close()
say('ended')
process.exit()
