// Runs tests/vectors/faults.json (its README says how) through the public client into the sandbox.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { DeliveryError, optionList } from 'intilery'
import { Sandbox } from 'intilery/testing'

const matrix = JSON.parse(readFileSync(new URL('../vectors/faults.json', import.meta.url), 'utf8'))
const durations = new Set(
  optionList()
    .filter(({ type }) => type === 'duration')
    .map(({ name }) => name),
)

const peakMemory = () => Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1000

test('an endless answer takes neither memory nor time', async () => {
  const sandbox = new Sandbox({ faults: [{ oversized: 10_000_000_000 }] })
  const client = sandbox.client({ maxRetries: 3, retryInitial: 1 })
  writeFileSync('/proc/self/clear_refs', '5') // the peak begins anew
  const before = peakMemory()
  await assert.rejects(client.track({ userId: 'u', event: 'E' }), /gave up after 4 attempts/)
  assert.ok(peakMemory() - before < 30_000_000)
  await client.close()
  await sandbox.stop()
})

test('faults', { concurrency: 8 }, async (t) => {
  const runs = []
  for (const row of matrix.rows) {
    for (const when of ['once', 'always'].filter((when) => when in row)) {
      runs.push(t.test(`${row.name}_${when}`, async () => assert.deepEqual(await mismatches(row, when), [])))
    }
  }
  await Promise.all(runs)
})

/** What is not as the row says. */
async function mismatches(row, when) {
  const expected = { ...matrix[when], ...row[when] }
  const sandbox = new Sandbox({ rateLimit: 0, maxRequestBytes: 10_000_000 })
  const elsewhere = new Sandbox()
  const { options, end } = await setUp(row.setup, sandbox)
  const given = { ...matrix.options, ...row.options, ...expected.options, ...options }
  sandbox.setFaults(...rules(row.fault, when, expected.for, elsewhere.url))
  const client = sandbox.client(inNode(given))
  const unlucky = client.track({ userId: 'unlucky', event: 'E', properties: { filler: 'x'.repeat(row.bytes ?? 0) } })
  const neighbour = client.page({ userId: 'lucky', properties: { path: '/' } })
  const wrong = ledger(client.stats(), 2)
  if ('close' in expected) await client.close({ timeout: expected.close * 1000 })
  const [fate, neighboursFate] = [await fateOf(unlucky), await fateOf(neighbour)]
  await client.close({ timeout: 10_000 })
  wrong.push(...ledger(client.stats(), 2, 0))
  const requests = sandbox.requests()
  if (elsewhere.requests().length > 0) wrong.push('the redirect was followed')
  if (row.fault === undefined && 'error' in expected && requests.length > 0) wrong.push('a request was sent')
  const copies = sandbox.events().filter(({ rawData }) => rawData.messageId === unlucky.messageId).length
  await Promise.all([end(), sandbox.stop(), elsewhere.stop()])

  for (const member of ['error', 'reason', 'arrived', 'status']) {
    const wanted = 'error' in expected ? expected[member] || undefined : undefined
    if (fate[member] !== wanted) wrong.push(`${member} is ${fate[member]}, not ${wanted}: ${JSON.stringify(fate)}`)
  }
  wrong.push(...notWithin('attempts', fate.attempts, expected.attempts))
  wrong.push(...notWithin('copies', copies, expected.stored))
  if ('pause' in expected) {
    const [first, second] = requests
      .filter(({ body }) => body.includes('"unlucky"'))
      .map((request) => request.receivedMs)
    wrong.push(...notWithin('seconds between the attempts', (second - first) / 1000, expected.pause))
  }
  const shared = expected.neighbour === 'shares' ? fate.reason : undefined
  if (neighboursFate.reason !== shared) wrong.push(`the neighbour: ${JSON.stringify(neighboursFate)}`)
  return wrong
}

const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase())

function inNode(options) {
  const pairs = Object.entries(options)
  return Object.fromEntries(
    pairs.map(([name, value]) => [camel(name), durations.has(camel(name)) ? value * 1000 : value]),
  )
}

function rules(fault, when, scope, elsewhere) {
  if (fault === undefined) return []
  const places = { '{target}': elsewhere, '{in 2 s}': new Date(Date.now() + 2000).toUTCString() }
  const headers = Object.entries(fault.headers ?? {}).map(([name, value]) => [name, places[value] ?? value])
  const rule = { ...fault, headers: Object.fromEntries(headers) }
  if (when === 'once') rule.times = 1
  if (scope !== 'everyone') rule.user_id = 'unlucky'
  return [rule]
}

/** The options that lead a client into trouble, and what ends that trouble. */
async function setUp(kind, sandbox) {
  const leads = (options, end = async () => {}) => ({ options, end })
  if (kind === undefined || kind === 'redirect') return leads({})
  if (kind === 'dns') return leads({ endpoint: 'https://intilery.invalid' })
  if (kind === 'refused') return leads({ endpoint: 'http://127.0.0.1:1' }) // nobody's; other tests may get a free port
  if (kind === 'tls_none') return leads({ endpoint: sandbox.url.replace('http:', 'https:') })
  const program = fileURLToPath(new URL('../tls_server.py', import.meta.url))
  const server = spawn('python3', [program, kind, String(sandbox.port)], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(server, 'exit')
  const [first] = await once(server.stdout, 'data')
  const { url, ca_file } = JSON.parse(first)
  return leads({ endpoint: url, ca_file }, async () => {
    server.stdin.end()
    await ended
  })
}

async function fateOf(delivery) {
  try {
    const { attempts } = await delivery
    return { attempts }
  } catch (failure) {
    assert.ok(failure instanceof DeliveryError)
    assert.equal(failure.messageId, delivery.messageId)
    const { reason, arrived, status, attempts, message, body } = failure
    return { error: failure.constructor.name, reason, arrived, status, attempts, message, body }
  }
}

function ledger({ accepted, delivered, failed, queued }, events, left = queued) {
  const holds = accepted === events && accepted === delivered + failed + queued && queued === left
  return holds ? [] : [`the ledger does not hold: ${JSON.stringify({ accepted, delivered, failed, queued })}`]
}

function notWithin(what, value, [least, most]) {
  return least <= value && value <= most ? [] : [`${what}: ${value}, not within ${least} to ${most}`]
}
