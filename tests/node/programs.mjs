/** Programs of their own that send to a sandbox, for tests. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { Sandbox } from 'intilery/testing'
import { environment, root } from './environment.mjs'

/** Starts Node: a file, or the text of a module. */
export function start(sandbox, program, { file = undefined, cwd = root } = {}) {
  const args = file === undefined ? ['--input-type=module', '-e', program] : [file]
  const child = spawn(process.execPath, args, { cwd, env: environment(sandbox) })
  let out = ''
  let err = ''
  child.stdout.on('data', (data) => {
    out += data
  })
  child.stderr.on('data', (data) => {
    err += data
  })
  const lines = createInterface({ input: child.stdout })
  return {
    child,
    line: async () => (await once(lines, 'line'))[0],
    ended: once(child, 'close').then(([code, signal]) => ({ code, signal, out, err })),
  }
}

export const run = (sandbox, program) => start(sandbox, program).ended

/** How many events of each user arrived, none of them twice. */
export function users(sandbox) {
  const ids = new Set()
  const counts = {}
  for (const { userId, rawData } of sandbox.events()) {
    assert.ok(!ids.has(rawData.messageId), 'an event arrived twice')
    ids.add(rawData.messageId)
    counts[userId] = (counts[userId] ?? 0) + 1
  }
  return counts
}

export const begin = "import { Client } from 'intilery'; const client = Client.fromEnv();"
export const many = 'for (let i = 0; i < 2000; ++i) client.track({ userId: "u", event: "E", properties: { i } });'

export async function withSandbox(body) {
  const sandbox = new Sandbox()
  try {
    await body(sandbox)
  } finally {
    await sandbox.stop()
  }
}
