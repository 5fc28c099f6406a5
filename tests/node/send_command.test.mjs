import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Sandbox } from 'intilery/testing'
import { environment } from './environment.mjs'

const cli = fileURLToPath(new URL('../../node/cli.cjs', import.meta.url))
// Small batches at a modest pace: a run lasts long enough to be ended midway.
const slow = {
  INTILERY_DELIVERY: 'batch',
  INTILERY_MAX_BATCH_BYTES: '20000',
  INTILERY_RATE_LIMIT: '40',
  INTILERY_BURST: '1',
}

let folder
let sandbox
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'intilery-'))
  sandbox = new Sandbox({ rateLimit: 0 })
})
afterEach(async () => {
  await sandbox.stop()
  rmSync(folder, { recursive: true })
})

const write = (name, text) => writeFileSync(join(folder, name), text)
const read = (name) => readFileSync(join(folder, name), 'utf8')
const rows = (count) => Array.from({ length: count }, (_, n) => `{"user_id":"u${n % 700}","n":${n}}\n`).join('')
const messageIds = () => sandbox.events().map(({ rawData }) => rawData.messageId)

function start(args, { env = {}, program = process.execPath, before = [cli] } = {}) {
  const child = spawn(program, [...before, ...args], { cwd: folder, env: environment(sandbox, env) })
  let out = ''
  let err = ''
  child.stdout.on('data', (data) => {
    out += data
  })
  child.stderr.on('data', (data) => {
    err += data
  })
  return { child, ended: once(child, 'close').then(([code, signal]) => ({ code, signal, out, err })) }
}

function run(args, { input = '', ...options } = {}) {
  const { child, ended } = start(args, options)
  child.stdin.end(input)
  return ended
}

async function arrived(count, child) {
  while (sandbox.eventCount() < count) {
    assert.equal(child.exitCode, null, 'the program ended too early')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

test('a run that is killed goes on, and every row arrives under one id', async () => {
  write('a.ndjson', `${rows(6_000)}{"n":5}\nbroken\n`)
  for (const events of [1, 1_500, 3_000, 4_500]) {
    const { child, ended } = start(['send', 'a.ndjson', '--event', 'Order'], { env: slow })
    await arrived(events, child)
    child.kill('SIGKILL')
    assert.equal((await ended).signal, 'SIGKILL')
  }
  const { code, out, err } = await run(['send', 'a.ndjson', '--event', 'Order', '--json'])
  const report = JSON.parse(out)
  assert.equal(code, 1, err)
  assert.deepEqual([report.rows, report.delivered, report.rejected, report.remaining], [6_002, 6_000, 2, 0])
  assert.ok(report.resumed > 0)
  assert.equal(report.checkpoint, 'a.ndjson.checkpoint')
  const numbers = new Map(sandbox.events().map(({ rawData }) => [rawData.messageId, rawData.properties.n]))
  assert.deepEqual(
    [...numbers.values()].sort((a, b) => a - b),
    Array.from({ length: 6_000 }, (_, n) => n),
  )
  assert.equal(read('a.ndjson.rejects.ndjson').trimEnd().split('\n').length, 2)
})

for (const [signal, exitCode] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
]) {
  test(`${signal} ends a run soon, and the report says how to go on`, async () => {
    write('a.ndjson', rows(20_000))
    const { child, ended } = start(['send', 'a.ndjson', '--event', 'Order Completed'], { env: slow })
    await arrived(100, child)
    const started = performance.now()
    child.kill(signal)
    const { code, out, err } = await ended
    assert.equal(code, exitCode, err)
    assert.ok(performance.now() - started < 10_000)
    assert.equal(err.trimEnd().split('\n').at(-1), 'intilery send: interrupted')
    assert.match(out, /To go on: npx intilery send a\.ndjson --event 'Order Completed'\n {2}\(a\.ndjson\.checkpoint/)
    const again = await run(['send', 'a.ndjson', '--event', 'Order Completed'])
    assert.equal(again.code, 0, again.err)
    assert.match(again.out, /of them before this run/)
    assert.equal(new Set(messageIds()).size, 20_000)
  })
}

test('the report is for programs where that is asked', async () => {
  const input = '{"user_id": "u", "n": 1}\n{"n": 2}\n'
  const { code, out, err } = await run(['send', '-', '--event', 'E', '--json'], { input })
  const { seconds, ...report } = JSON.parse(out)
  assert.deepEqual([code, err], [1, ''])
  assert.deepEqual(report, {
    rows: 2,
    sent: 1,
    delivered: 1,
    rejected: 1,
    failed: 0,
    remaining: 0,
    resent: 0,
    resumed: 0,
    total: 2,
    rejects: 'intilery-rejects.ndjson',
    dry_run: false,
    checkpoint: null,
    exit_code: 1,
  })
  const missing = await run(['send', 'nothing.ndjson', '--event', 'E', '--json'])
  assert.deepEqual([missing.code, JSON.parse(missing.out).code], [2, 'not_found'])
})

test('standard input gives the same ids each time, and leaves no copy', async () => {
  const env = { TMPDIR: folder }
  for (let round = 0; round < 2; ++round) {
    assert.equal((await run(['send', '-', '--event', 'E'], { input: '{"user_id":"u","n":1}\n', env })).code, 0)
  }
  assert.deepEqual([messageIds().length, new Set(messageIds()).size], [2, 1])
  assert.ok(!existsSync(join(folder, 'intilery-rejects.ndjson')))
})

test('a dry run checks every row, and sends nothing', async () => {
  write('a.ndjson', '{"user_id":"u1"}\n{"n":2}\n')
  const { code, out } = await run(['send', 'a.ndjson', '--event', 'E', '--dry-run'])
  assert.deepEqual([code, sandbox.requests().length], [1, 0])
  assert.match(out, /a dry run, nothing was sent/)
  assert.match(out, /1 rejected/)
  assert.ok(!existsSync(join(folder, 'a.ndjson.checkpoint')))
})

test('flags say which members mean what', async () => {
  write('a.ndjson', '{"customer":"u","what":"Bought","id":"mine","a":1,"b":2}\n{"customer":"v"}\n')
  const flags = '--user-id customer --event-column what --message-id id --exclude b,c'.split(' ')
  assert.equal((await run(['send', 'a.ndjson', ...flags])).code, 2)
  const { code, out } = await run(['send', 'a.ndjson', ...flags.slice(0, -1), 'b', '--limit', '1', '--no-checkpoint'])
  assert.equal(code, 0, out)
  const [{ rawData }] = sandbox.events()
  assert.deepEqual(
    [rawData.userId, rawData.event, rawData.messageId, rawData.properties],
    ['u', 'Bought', 'mine', { a: 1 }],
  )
  assert.ok(!existsSync(join(folder, 'a.ndjson.checkpoint')))
})

test('what the command does not take is said, and nothing is sent', async () => {
  write('a.ndjson', '{"customer":"u1"}\n')
  for (const [args, said] of [
    [['a.ndjson', '--event', 'E', '--user-id', 'custommer'], /no column "custommer"; did you mean "customer"\?/],
    [['a.ndjson', '--evnt', 'E'], /--evnt/],
    [['a.ndjson', '--sql', 'SELECT 1'], /--sql is not of this command; Python's has it/],
    [['a.ndjson', '--event', 'E', '--limit', 'x'], /limit must be a number of rows/],
    [[], /give one source/],
  ]) {
    const { code, out, err } = await run(['send', ...args])
    assert.deepEqual([code, out], [2, ''])
    assert.match(err, said)
  }
  const nobody = await run(['send', 'a.ndjson'], { env: { INTILERY_CLIENT_ID: '' } })
  assert.equal(nobody.code, 2)
  assert.equal(sandbox.requests().length, 0)
})

test('a refused token stops the run', async () => {
  write('a.ndjson', '{"user_id":"u1"}\n')
  const { code, out, err } = await run(['send', 'a.ndjson', '--event', 'E'], { env: { INTILERY_AUTH_TOKEN: 'wrong' } })
  assert.equal(code, 3)
  assert.match(err, /the service refuses the token/)
  assert.doesNotMatch(err + out, /wrong/)
  assert.match(out, /1 without a fate yet/)
  assert.equal((await run(['send', 'a.ndjson', '--event', 'E'])).code, 0)
  assert.equal(sandbox.eventCount(), 1)
})

test('a row that stops the run is named, and a file that is another one since is refused', async () => {
  write('a.ndjson', `${rows(3)}{"n":3}\n`)
  const args = ['send', 'a.ndjson', '--event', 'E', '--on-invalid', 'stop']
  const { code, err } = await run(args)
  assert.equal(code, 3)
  assert.match(err, /row 4: userId is required/)
  write('a.ndjson', rows(4))
  const again = await run(args)
  assert.equal(again.code, 2)
  assert.match(again.err, /the source has changed/)
})

test('a full disk stops the run with a way to go on', async () => {
  write('a.ndjson', rows(10_000))
  // A file may have 12 kB here: the checkpoint soon has more.
  const shell = { program: 'bash', before: ['-c', 'ulimit -f 12; exec "$@"', 'bash', process.execPath, cli] }
  const { code, out, err } = await run(['send', 'a.ndjson', '--event', 'E'], { ...shell, env: slow })
  assert.equal(code, 3, err)
  assert.match(err, /the checkpoint 'a\.ndjson\.checkpoint' cannot be used/)
  assert.match(out, /To go on: /)
  rmSync(join(folder, 'a.ndjson.checkpoint'), { force: true })
  assert.equal((await run(['send', 'a.ndjson', '--event', 'E'])).code, 0)
  assert.equal(new Set(messageIds()).size, 10_000)
})

test('progress is plain lines where nobody watches', async () => {
  write('a.ndjson', rows(10_000))
  const { code, out, err } = await run(['send', 'a.ndjson', '--event', 'E'], { env: slow })
  assert.equal(code, 0)
  assert.ok(!(out + err).includes('\x1b'))
  assert.match(err.split('\n')[0], /^rows [\d,]+ of 10,000, delivered /)
})

test('help names what a new user needs', async () => {
  const { code, out } = await run(['send', '--help'])
  assert.equal(code, 0)
  for (const word of ['INTILERY_AUTH_TOKEN', '--user-id', '--rejects', 'Exit codes', '--dry-run', '.gz']) {
    assert.ok(out.includes(word), word)
  }
  assert.match((await run(['--help'])).out, /send/)
})
