/** Programs for Segment's Node client, on Segment's and on ours. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Analytics, Context } from 'intilery/compat/segment'
import segmentModule from 'intilery/compat/segment'
import { Sandbox } from 'intilery/testing'
import { root } from './environment.mjs'
import { withSandbox } from './programs.mjs'

const read = (name) => readFileSync(new URL(`tests/compat/${name}`, root), 'utf8')
const calls = JSON.parse(read('calls.json'))
const { keys, segments_own_hosts, other_hosts } = JSON.parse(read('keys.json'))
const key = 'hea/hea/HEA:sandbox-token'
const tooOld = Number(process.versions.node.split('.')[0]) < 20 && "Segment's own client needs Node 20"

for (const name of Object.keys(process.env)) {
  if (name.startsWith('INTILERY_')) delete process.env[name]
}

/** Log lines of a client. */
function recorder() {
  const lines = []
  const write = (line) => lines.push(line)
  return { lines, debug: write, info: write, warn: write, error: write }
}

/** Runs a program's text where `name` lies; gives what it printed. */
async function run(name, program, environment) {
  const kind = name.endsWith('.cjs') ? 'commonjs' : 'module'
  const child = spawn(process.execPath, [`--input-type=${kind}`, '-e', program], {
    cwd: fileURLToPath(root),
    env: { ...process.env, ...environment },
  })
  let [out, err] = ['', '']
  child.stdout.on('data', (data) => {
    out += data
  })
  child.stderr.on('data', (data) => {
    err += data
  })
  const [code] = await once(child, 'close')
  assert.equal(code, 0, err)
  return out
}

/** A server that takes Segment's batches. */
async function withSegmentServer(body) {
  const messages = []
  const server = http.createServer(async (request, response) => {
    const chunks = []
    for await (const chunk of request) chunks.push(chunk)
    messages.push(...JSON.parse(Buffer.concat(chunks)).batch)
    response.end('{"success":true}')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    await body(`http://127.0.0.1:${server.address().port}`, messages)
  } finally {
    server.close()
    server.closeAllConnections()
  }
}

/** A message of Segment's as Intilery is to have it. */
function ofSegment({ type, category, name, integrations, _metadata, ...message }) {
  const properties = { ...message.properties, ...(category && { category }), ...(type === 'page' && name && { name }) }
  return comparable({
    ...message,
    action: type,
    ...(type === 'screen' && { name }),
    ...(type !== 'identify' && { properties }),
  })
}

/** Without what two runs cannot have in common. */
function comparable({ sentAt, messageId, timestamp, event, context: { library, ...context }, ...message }) {
  return {
    ...message,
    context,
    ...(message.action === 'track' && { event }),
    ...(messageId.startsWith('order-') && { messageId }),
    ...(timestamp.startsWith('2024-') && { timestamp }),
  }
}

const inOrder = (messages) => messages.map((message) => JSON.stringify(sorted(message))).sort()
const sorted = (value) =>
  value?.constructor === Object
    ? Object.fromEntries(
        Object.keys(value)
          .sort()
          .map((name) => [name, sorted(value[name])]),
      )
    : value

for (const [name, events] of [
  ['signup.mjs', 6],
  ['orders.cjs', 120],
]) {
  test(`${name}, for Segment's client, runs with the import and key changed`, { skip: tooOld }, () =>
    withSegmentServer((host, theirs) =>
      withSandbox(async (sandbox) => {
        const program = read(name)
        const pieces = program.split("'@segment/analytics-node'")
        assert.equal(pieces.length, 2)
        const said = await run(name, program, { SEGMENT_WRITE_KEY: 'a-segment-key', SEGMENT_HOST: host })
        const ours = pieces.join("'intilery/compat/segment'")
        const environment = { SEGMENT_WRITE_KEY: key, INTILERY_ENDPOINT: sandbox.url }
        assert.equal(await run(name, ours, environment), said)
        assert.equal(sandbox.eventCount(), events)
        const arrived = sandbox.events().map(({ rawData }) => comparable(rawData))
        assert.deepEqual(inOrder(arrived), inOrder(theirs.map(ofSegment)))
      }),
    ),
  )
}

test('each call sends what is written for both languages', () =>
  withSandbox(async (sandbox) => {
    for (const { call, arguments: given, sends, refused } of calls) {
      sandbox.clear()
      const analytics = new Analytics({ writeKey: key, host: sandbox.url, logger: recorder() })
      if (refused !== undefined) {
        assert.throws(() => analytics[call](given), { name: 'ValidationError', code: refused })
        await analytics.closeAndFlush()
        assert.equal(sandbox.eventCount(), 0)
        continue
      }
      analytics[call](given)
      await analytics.closeAndFlush()
      const [{ rawData: sent }] = sandbox.events()
      delete sent.context.library
      if (sends.context === undefined) delete sent.context
      for (const name of ['timestamp', 'sentAt', 'messageId', 'event']) {
        if (sends[name] === undefined) delete sent[name]
      }
      assert.deepEqual(sent, sends)
    }
  }))

test('a key says who is sending', async () => {
  const names = ['CLIENT_ID', 'ACCOUNT_ID', 'BRAND_ID', 'AUTH_TOKEN', 'ENDPOINT']
  try {
    for (const vector of keys) {
      const [, , clientId, accountId, brandId] = vector.path.split('/')
      const sandbox = new Sandbox({ clientId, accountId, brandIds: [brandId], token: vector.token })
      for (const [i, value] of ['env', 'env', 'ENV', 'env-token', sandbox.url].entries()) {
        process.env[`INTILERY_${names[i]}`] = value
      }
      const analytics = new Analytics({ writeKey: vector.key })
      analytics.track({ userId: 'u', event: 'E' })
      await analytics.closeAndFlush()
      const [{ path, status }] = sandbox.requests()
      assert.deepEqual([path, status], [vector.path, 200])
      await sandbox.stop()
    }
  } finally {
    for (const name of names) delete process.env[`INTILERY_${name}`]
  }
})

test('a key that says too little is refused and not shown', () => {
  for (const writeKey of ['s3cret-segment-key', 'hea/HEA:s3cret', '//:s3cret', 'hea/hea/HEA:', '', 'a/b/C:s3cret\n']) {
    assert.throws(
      () => new Analytics({ writeKey }),
      (error) => {
        assert.equal(error.name, 'ConfigurationError')
        assert.ok(['writeKey', 'authToken', 'auth_token'].includes(error.option), error.option)
        assert.ok(!`${error.stack}${JSON.stringify(error)}`.includes('s3cret'))
        return true
      },
    )
  }
})

test('settings that are no object are refused, and not shown', () => {
  for (const settings of ['s3cret', null]) {
    assert.throws(() => new Analytics(settings), {
      name: 'ConfigurationError',
      message: /new Analytics\({ writeKey }\)/,
    })
  }
})

test('settings without a meaning warn once and say why', () =>
  withSandbox(async (sandbox) => {
    const logger = recorder()
    for (const host of segments_own_hosts) {
      const analytics = new Analytics({
        writeKey: key,
        host,
        endpoint: sandbox.url,
        path: '/v1/batch',
        oauthSettings: {},
        maxRateLimitDuration: 5,
        httpClient: fetch,
        logger,
      })
      analytics.on('http_request', () => {})
      await analytics.closeAndFlush()
    }
    assert.deepEqual(
      logger.lines.map((line) => line.split(': ')[2]),
      [
        'host is ignored',
        'path is ignored',
        'oauthSettings is ignored',
        'maxRateLimitDuration is ignored',
        'httpClient is ignored',
        'http_request never comes',
      ],
    )
    for (const host of other_hosts) await new Analytics({ writeKey: key, host, logger }).closeAndFlush()
    assert.equal(logger.lines.length, 6)
  }))

test('settings with a counterpart work, and unknown ones are refused', () =>
  withSandbox(async (sandbox) => {
    const base = { writeKey: key, host: sandbox.url }
    for (const [wrong, option] of [
      [{ httpRequestTimeout: -1 }, /requestTimeout/],
      [{ maxEventsInBatch: 0 }, /flushAt/],
      [{ maxTotalBackoffDuration: -1 }, /deliveryTimeout/],
      [{ flushInterval: -1 }, /flushInterval/],
      [{ flushAtt: 5 }, /flushAtt/],
    ]) {
      assert.throws(() => new Analytics({ ...base, ...wrong }), { name: 'ConfigurationError', message: option })
    }
    const disabled = new Analytics({ ...base, disable: true })
    const ctx = await new Promise((resolve) =>
      disabled.track({ userId: 'u', event: 'E' }, (_, settled) => resolve(settled)),
    )
    await disabled.closeAndFlush()
    assert.equal(ctx.event.event, 'E')
    assert.equal(sandbox.requests().length, 0)
    sandbox.setFaults({ status: 503 })
    const analytics = new Analytics({ ...base, maxRetries: 1, retryInitial: 1, logger: recorder() })
    analytics.track({ userId: 'u', event: 'E' })
    await analytics.closeAndFlush()
    assert.equal(sandbox.requests().length, 2)
  }))

test('a failed event is told to its callback, to listeners, or else to the log', () =>
  withSandbox(async (sandbox) => {
    sandbox.setFaults({ status: 400 })
    const logger = recorder()
    const analytics = new Analytics({ writeKey: key, host: sandbox.url, logger })
    const call = { userId: 'u', event: 'E', messageId: 'm-1' }
    const [error, ctx] = await new Promise((resolve) => analytics.track(call, (...told) => resolve(told)))
    assert.equal(error.code, 'rejected')
    assert.ok(ctx instanceof Context)
    assert.deepEqual([ctx.id, ctx.attempts, ctx.failedDelivery()], ['m-1', 1, { reason: error }])
    analytics.track(call)
    await analytics.flush()
    assert.equal(logger.lines.length, 1)
    assert.match(logger.lines[0], /1 event failed \(rejected\)/)
    const heard = once(analytics, 'track').catch((reason) => reason) // `once` rejects with what `error` tells
    analytics.track(call)
    const failure = await heard
    assert.deepEqual([failure.code, failure.ctx.id, failure.reason.code], ['delivery_failure', 'm-1', 'rejected'])
    await analytics.closeAndFlush()
    assert.equal(logger.lines.length, 1)
  }))

test('a listener hears of delivered events, and when all are through', () =>
  withSandbox(async (sandbox) => {
    const analytics = new segmentModule({ writeKey: key, host: sandbox.url })
    await analytics.ready
    const heard = []
    for (const name of ['identify', 'track', 'page', 'screen']) {
      analytics.on(name, (ctx) => heard.push(`${name} ${ctx.event.type} ${ctx.failedDelivery()}`))
    }
    const drained = once(analytics, 'drained')
    analytics.identify({ userId: 'u' })
    analytics.track({ userId: 'u', event: 'E' })
    analytics.page({ userId: 'u' })
    analytics.screen({ userId: 'u' })
    await drained
    assert.deepEqual(heard.sort(), [
      'identify identify undefined',
      'page page undefined',
      'screen screen undefined',
      'track track undefined',
    ])
    await analytics.closeAndFlush()
    await analytics.closeAndFlush()
  }))

test('a call after the close is told to its listener, or else to the log', () =>
  withSandbox(async (sandbox) => {
    const logger = recorder()
    const analytics = new Analytics({ writeKey: key, host: sandbox.url, logger })
    await analytics.closeAndFlush()
    analytics.track({ userId: 'u', event: 'E' })
    assert.match(logger.lines[0], /1 event failed \(closed\)/)
    const late = []
    analytics.on('call_after_close', (event) => late.push(event.event))
    analytics.track({ userId: 'u', event: 'Late' })
    assert.deepEqual(late, ['Late'])
    assert.equal(sandbox.eventCount(), 0)
  }))

test('flush waits for the fates, or its time-out, and the client goes on', () =>
  withSandbox(async (sandbox) => {
    sandbox.setFaults({ status: 503, times: 1 })
    const analytics = new Analytics({ writeKey: key, host: sandbox.url, retryInitial: 300, logger: recorder() })
    analytics.track({ userId: 'u', event: 'E' })
    await analytics.flush()
    assert.equal(sandbox.eventCount(), 1)
    sandbox.setFaults({ hang: true })
    analytics.track({ userId: 'u', event: 'E' })
    await analytics.flush({ timeout: 1 })
    await analytics.flush({ timeout: 1, close: true })
    assert.equal(sandbox.eventCount(), 1)
  }))

test('plugins are refused with what to do instead', () =>
  withSandbox(async (sandbox) => {
    const analytics = new Analytics({ writeKey: key, host: sandbox.url })
    await assert.rejects(analytics.register({ name: 'enrich' }), /beforeSend/)
    await analytics.deregister('enrich')
    await analytics.closeAndFlush()
  }))
