// The spool: what a killed process was told is accepted arrives all the same. `make campaign` kills 1,000 times.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client, SpoolError } from 'intilery'
import { Sandbox } from 'intilery/testing'
import { environment, root } from './environment.mjs'

const kills = 3
const account = { clientId: 'hea', accountId: 'hea', brandId: 'HEA' }

const sender = `
import { openSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'intilery'
const ledger = openSync(process.argv[2], 'a')
const client = Client.fromEnv({ rateLimit: 1e6, burst: 1e6 })
const first = Number(process.argv[1])
for (let number = first; number < first + 100_000; ++number) {
  client.track({ userId: 'user-' + (number % 7), event: 'Step', properties: { number } })
  writeSync(ledger, number + '\\n')
  if (number % 20 === 0) await sleep(1) // so that it is killed while sending and acknowledging, too
}`

/** Runs `body` with a sandbox and an empty folder. */
async function withFolder(body) {
  const sandbox = await Sandbox.start({ rateLimit: 0 })
  const folder = mkdtempSync(join(tmpdir(), 'intilery-spool-'))
  try {
    await body(sandbox, folder)
  } finally {
    rmSync(folder, { recursive: true })
    await sandbox.stop()
  }
}

test('every event whose call returned arrives after kill -9', async () => {
  await withFolder(async (sandbox, folder) => {
    const ledger = join(folder, 'ledger')
    const spool = join(folder, 'spool')
    writeFileSync(ledger, '')
    const numbers = () => readFileSync(ledger, 'utf8').trim().split('\n').map(Number)
    let first = 1
    for (let kill = 0; kill < kills; ++kill) {
      const before = readFileSync(ledger).length
      const child = spawn(process.execPath, ['--input-type=module', '-e', sender, String(first), ledger], {
        cwd: root,
        stdio: ['ignore', 'inherit', 'inherit'],
        env: environment(sandbox, { INTILERY_SPOOL_PATH: spool }),
      })
      const closed = once(child, 'close')
      while (readFileSync(ledger).length === before && child.exitCode === null) await sleep(1)
      await sleep(Math.random() * 50)
      child.kill('SIGKILL')
      await closed
      first = numbers().at(-1) + 10 // the next call may have been accepted without the ledger knowing
    }
    const accepted = numbers()

    const client = new Client({ ...account, authToken: 'sandbox-token', endpoint: sandbox.url, spoolPath: spool })
    assert.equal((await client.close({ timeout: 60_000 })).remaining, 0)
    const arrived = new Map()
    const last = new Map()
    for (const { userId, rawData } of sandbox.events()) {
      const { number } = rawData.properties
      if (arrived.has(number)) {
        assert.equal(arrived.get(number), rawData.messageId, 'a second copy must have the same message id')
        continue
      }
      arrived.set(number, rawData.messageId)
      assert.ok((last.get(userId) ?? -1) < number, 'out of order')
      last.set(userId, number)
    }
    assert.deepEqual(
      accepted.filter((number) => !arrived.has(number)),
      [],
    )
    assert.ok(arrived.size <= accepted.length + kills)
    assert.deepEqual(
      readdirSync(spool).filter((name) => name.endsWith('.spool')),
      [],
    )
  })
})

const fullDisk = `
import { appendFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Client, SpoolError } from 'intilery'
const ballast = join(process.env.INTILERY_SPOOL_PATH, 'ballast')
const ledger = process.argv[1]
writeFileSync(ballast, 'x'.repeat(2_000_000))
const client = Client.fromEnv({ authToken: 'wrong' })
let number = 0
for (let round = 0; round < 2; ++round) {
  for (let refused = 0; refused < 50; ++number) {
    try {
      client.track({ userId: 'u', event: 'Step', properties: { number, text: 'x'.repeat(1000) } })
      appendFileSync(ledger, number + ' ')
    } catch (error) {
      if (!(error instanceof SpoolError) || error.code !== 'spool_full') throw error
      refused += 1
    }
  }
  appendFileSync(ledger, 'room ')
  rmSync(ballast, { force: true })
}
process.kill(process.pid, 'SIGKILL')`

const rest = `
import { Client } from 'intilery'
process.exitCode = (await Client.fromEnv().close({ timeout: 30_000 })).remaining`

test('a full file system loses nothing that was accepted, and once it has room goes on', async (t) => {
  await withFolder(async (sandbox, folder) => {
    const spool = join(folder, 'spool')
    const ledger = join(folder, 'ledger')
    mkdirSync(spool)
    const node = '"$2" --input-type=module -e'
    const script = `mount -t tmpfs -o size=4m none "$1" || exit 77; ${node} "$3" "$4"; test $? = 137 && ${node} "$5"`
    const child = spawn(
      'unshare',
      ['--mount', 'sh', '-c', script, 'sh', spool, process.execPath, fullDisk, ledger, rest],
      { cwd: root, stdio: 'inherit', env: environment(sandbox, { INTILERY_SPOOL_PATH: spool }) },
    )
    const [code] = await Promise.race([once(child, 'close'), once(child, 'error')])
    if (!existsSync(ledger)) return t.skip('no file system can be mounted here')
    assert.equal(code, 0)
    const [before, after] = readFileSync(ledger, 'utf8')
      .split('room')
      .map((part) => part.trim().split(' ').map(Number))
    assert.ok(before.length > 20 && after.length > 20)
    const arrived = sandbox.events().map(({ rawData }) => rawData.properties.number)
    assert.deepEqual(arrived, [...before, ...after])
  })
})

test('a spool that cannot be, or is full, is a SpoolError', async () => {
  await withFolder(async (sandbox, folder) => {
    const options = { ...account, authToken: 'wrong', endpoint: sandbox.url, exitTimeout: 10 }
    writeFileSync(join(folder, 'file'), '')
    assert.throws(
      () => new Client({ ...options, spoolPath: join(folder, 'file') }),
      (error) => error instanceof SpoolError && error.code === 'spool_unusable',
    )
    const spoolPath = join(folder, 'spool')
    const client = new Client({ ...options, spoolPath, spoolMaxBytes: 100_000 })
    const full = (error) => error instanceof SpoolError && error.code === 'spool_full'
    assert.throws(() => {
      for (;;) client.track({ userId: 'u', event: 'Step', properties: { text: 'x'.repeat(1000) } }, () => {})
    }, full)
    const { remaining } = await client.close({ timeout: 10 })
    assert.ok(remaining > 0 && existsSync(spoolPath))
    const next = new Client({ ...options, authToken: 'sandbox-token', spoolPath })
    assert.equal((await next.close()).remaining, 0)
    assert.equal(sandbox.events().length, remaining)
  })
})
