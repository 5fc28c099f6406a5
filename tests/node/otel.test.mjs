// A client's counters as OpenTelemetry metrics.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { metrics as api } from '@opentelemetry/api'
import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics'
import { instrument } from 'intilery/otel'
import { Sandbox } from 'intilery/testing'
import { root } from './environment.mjs'

const list = JSON.parse(readFileSync(new URL('python/intilery/metrics.json', root), 'utf8'))
const states = ['running', 'paused: auth', 'paused: rate', 'paused: unreachable', 'closed']

class Reader extends MetricReader {
  async onForceFlush() {}
  async onShutdown() {}
}

async function collect(reader) {
  const { resourceMetrics, errors } = await reader.collect()
  assert.deepEqual(errors, [])
  return resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics)
}

/** Each metric's `[attributes, value]` pairs. */
async function points(reader) {
  const pairs = ({ descriptor, dataPoints }) => [descriptor.name, dataPoints.map((it) => [it.attributes, it.value])]
  return Object.fromEntries((await collect(reader)).map(pairs))
}

/** Runs `body` with a sandbox, a reader and its provider, and stops all that. */
async function withMetrics(body) {
  const sandbox = new Sandbox()
  const reader = new Reader()
  const meterProvider = new MeterProvider({ readers: [reader] })
  try {
    await body(sandbox, reader, meterProvider)
  } finally {
    await meterProvider.shutdown()
    await sandbox.stop()
  }
}

/** What the client tells from now on. */
function told(client) {
  const readings = []
  const { stats } = client
  client.stats = () => {
    readings.push(stats.call(client))
    return readings.at(-1)
  }
  return readings
}

test('require and import give the same', () => {
  assert.equal(createRequire(import.meta.url)('intilery/otel').instrument, instrument)
})

test('all metrics of the list are exported with the values of one reading', async () => {
  await withMetrics(async (sandbox, reader, meterProvider) => {
    sandbox.setFaults({ status: 400, user_id: 'bad' }, { status: 503, times: 1 })
    const client = sandbox.client()
    instrument(client, { meterProvider, attributes: { brand: 'HEA' } })
    client.track({ userId: 'good', event: 'Login' })
    client.track({ userId: 'bad', event: 'Login' }, () => {})
    await client.flush()
    const readings = told(client)
    const found = await collect(reader)
    assert.equal(readings.length, 1)
    const [stats] = readings
    assert.deepEqual([stats.delivered, stats.failedByReason, stats.retried > 0], [1, { rejected: 1 }, true])
    assert.ok([200, 400, 503].every((status) => status in stats.requests))

    const kinds = { counter: 'COUNTER', up_down_counter: 'UP_DOWN_COUNTER', gauge: 'GAUGE' }
    assert.deepEqual(
      found.map(({ descriptor: { name, type, unit, description } }) => ({ name, type, unit, description })),
      list.map(({ name, kind, unit, description }) => ({ name, type: `OBSERVABLE_${kinds[kind]}`, unit, description })),
    )
    const expected = {
      'intilery.events.accepted': stats.accepted,
      'intilery.events.delivered': stats.delivered,
      'intilery.events.failed': [['rejected', 1]],
      'intilery.events.queued': stats.queued,
      'intilery.events.in_flight': stats.inFlight,
      'intilery.events.retried': stats.retried,
      'intilery.requests': Object.entries(stats.requests).map(([status, count]) => [Number(status), count]),
      'intilery.bytes_sent': stats.bytesSent,
      'intilery.queue.bytes': stats.queuedBytes,
      'intilery.rate.left': stats.rateLeft,
      'intilery.state': states.map((state) => [state, state === 'running' ? 1 : 0]),
    }
    for (const [index, { name, attribute }] of list.entries()) {
      const parts = attribute === undefined ? [[undefined, expected[name]]] : expected[name]
      assert.deepEqual(
        found[index].dataPoints.map(({ attributes, value }) => [attributes, value]),
        parts.map(([label, value]) => [{ brand: 'HEA', ...(attribute && { [attribute]: label }) }, value]),
      )
    }
    await client.close()
  })
})

test('each collection reads the client once', async () => {
  const sandbox = new Sandbox()
  const [one, other] = [new Reader(), new Reader()]
  const meterProvider = new MeterProvider({ readers: [one, other] })
  const client = sandbox.client()
  instrument(client, { meterProvider })
  const readings = told(client)
  for (const reader of [one, one, other, one, other]) await reader.collect()
  assert.equal(readings.length, 5)
  await client.close()
  await meterProvider.shutdown()
  await sandbox.stop()
})

test('a closed client is observed until stop; then its counters rest, and it is in no state', async () => {
  await withMetrics(async (sandbox, reader, meterProvider) => {
    const client = sandbox.client()
    const watch = instrument(client, { meterProvider })
    await client.track({ userId: 'u', event: 'Login' })
    await client.close()
    assert.deepEqual((await points(reader))['intilery.state'].at(-1), [{ state: 'closed' }, 1])
    watch.stop()
    watch.stop()
    const rest = await points(reader)
    assert.deepEqual(rest['intilery.events.delivered'], [[{}, 1]])
    assert.deepEqual(
      rest['intilery.state'],
      states.map((state) => [{ state }, 0]),
    )
    assert.deepEqual(rest['intilery.rate.left'], [[{}, 0]])
    instrument(client, { meterProvider })
    assert.deepEqual((await points(reader))['intilery.state'].at(-1), [{ state: 'closed' }, 1])
  })
})

test('a client is not kept alive', async () => {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc')
  await withMetrics(async (sandbox, reader, meterProvider) => {
    const begin = async () => {
      const client = sandbox.client()
      instrument(client, { meterProvider })
      await client.track({ userId: 'u', event: 'Login' })
      assert.deepEqual((await points(reader))['intilery.state'][0], [{ state: 'running' }, 1])
      await client.close()
      return new WeakRef(client)
    }
    const gone = await begin()
    for (let turn = 0; turn < 100 && gone.deref() !== undefined; ++turn) {
      await new Promise((resolve) => setImmediate(resolve)) // a WeakRef's target stays until the end of the turn
      collectGarbage()
    }
    assert.equal(gone.deref(), undefined)
    assert.deepEqual(
      (await points(reader))['intilery.state'].map(([, value]) => value),
      [0, 0, 0, 0, 0],
    )
  })
})

test('attributes tell clients apart, and the same ones add up', async () => {
  await withMetrics(async (sandbox, reader, meterProvider) => {
    const clients = [
      { a: 1, b: 1 },
      { a: 2, b: 1 },
      { b: 1, a: 2 },
    ].map((attributes) => {
      const client = sandbox.client()
      instrument(client, { meterProvider, attributes })
      return client
    })
    for (const client of clients) await client.track({ userId: 'u', event: 'Login' })
    const found = await points(reader)
    assert.deepEqual(found['intilery.events.delivered'], [
      [{ a: 1, b: 1 }, 1],
      [{ a: 2, b: 1 }, 2],
    ])
    for (const client of clients) await client.close()
  })
})

test('without a meterProvider the global one is used', async () => {
  await withMetrics(async (sandbox, reader, meterProvider) => {
    api.setGlobalMeterProvider(meterProvider)
    const client = sandbox.client()
    instrument(client)
    assert.deepEqual((await points(reader))['intilery.events.accepted'], [[{}, 0]])
    await client.close()
    api.disable()
  })
})

test('without OpenTelemetry the error says what to install', () => {
  const folder = mkdtempSync(join(tmpdir(), 'intilery-otel-'))
  try {
    for (const file of ['package.json', 'node/otel.cjs', 'python/intilery/metrics.json']) {
      mkdirSync(join(folder, file, '..'), { recursive: true })
      cpSync(new URL(file, root), join(folder, file))
    }
    assert.throws(() => createRequire(folder)(join(folder, 'node/otel.cjs')), /npm install @opentelemetry\/api/)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('the package holds every file that it exports, and what those need', () => {
  const out = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root, encoding: 'utf8' })
  const files = new Set(JSON.parse(out)[0].files.map(({ path }) => path))
  const { exports } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'))
  const named = Object.values(exports).flatMap((target) =>
    typeof target === 'string' ? [target] : Object.values(target),
  )
  assert.ok(named.includes('./node/otel.cjs'))
  for (const file of [...named, './python/intilery/metrics.json']) assert.ok(files.has(file.slice(2)), file)
})
