import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createReadStream, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { afterEach, beforeEach, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import zlib from 'node:zlib'
import { ClosedError, ConfigurationError, ValidationError } from 'intilery'
import { Sandbox } from 'intilery/testing'
import { run } from './programs.mjs'

let folder
let sandbox
let clients
const at = (name) => join(folder, name)

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'intilery-'))
  sandbox = new Sandbox({ rateLimit: 0 })
  clients = []
})
afterEach(async () => {
  for (const client of clients) await client.close({ timeout: 0 })
  await sandbox.stop()
  rmSync(folder, { recursive: true })
})

function open(options) {
  const client = sandbox.client(options)
  clients.push(client)
  return client
}

const send = (source, options) => open().sendMany(source, { event: 'Order', ...options })
/** What arrived, by users: only a user's own events have an order. */
const arrived = () =>
  sandbox
    .events()
    .map(({ rawData }) => rawData)
    .sort((a, b) => (a.userId ?? 'z').localeCompare(b.userId ?? 'z'))
const users = () => arrived().map(({ userId }) => userId)
const ids = () => arrived().map(({ messageId }) => messageId)
const written = (path) =>
  readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))

function file(name, text) {
  writeFileSync(at(name), text)
  return at(name)
}

const many = (count) => Array.from({ length: count }, (_, n) => ({ userId: `u${n % 70}`, n }))
const linesOf = (rows) => rows.map((row) => `${JSON.stringify(row)}\n`).join('')

const rows = [
  { userId: 'u1', timestamp: '2024-01-01T00:00:00.000Z', revenue: 30.5, tags: ['a', 'b'] },
  { userId: 'u2', timestamp: '2024-01-01T00:00:00.007Z', revenue: null, tags: null },
]
const text = linesOf(rows)
const halves = [Buffer.from(text).subarray(0, 50), Buffer.from(text).subarray(50)]
const web = (items) =>
  new ReadableStream({
    start(controller) {
      for (const item of items) controller.enqueue(item)
      controller.close()
    },
  })
const sources = {
  'an array': () => rows,
  'objects with Dates': () => rows.map((row) => ({ ...row, timestamp: new Date(row.timestamp) })),
  Maps: () => rows.map((row) => new Map(Object.entries(row))),
  'a generator': () => rows.values(),
  'an async generator': async function* () {
    yield* rows
  },
  'a stream of objects': () => Readable.from(rows),
  'a stream of bytes': () => Readable.from(halves, { objectMode: false }),
  'a stream of text': () => Readable.from(halves, { objectMode: false }).setEncoding('utf8'),
  'a stream of lines': () => Readable.from(text.trimEnd().split('\n')),
  'a web stream of bytes': () => web(halves),
  'a web stream of objects': () => web(rows),
  bytes: () => Buffer.from(text),
  'a file': () => file('rows.ndjson', text),
  'a URL': () => pathToFileURL(file('rows.jsonl', text)),
  'a file, gzip': () => file('rows.ndjson.gz', zlib.gzipSync(text)),
}
if (zlib.zstdCompressSync !== undefined) {
  sources['a file, zstd'] = () => file('rows.ndjson.zst', zlib.zstdCompressSync(text))
}

for (const [name, make] of Object.entries(sources)) {
  test(`every source becomes the same events: ${name}`, async () => {
    const source = make()
    const sent = await send(typeof source === 'function' ? source() : source, { sourceId: 'x' })
    assert.deepEqual(
      arrived().map(({ userId, timestamp, properties }) => [userId, timestamp, properties]),
      rows.map(({ userId, timestamp, ...properties }) => [userId, timestamp, properties]),
    )
    assert.deepEqual(ids(), ['334a764e-342f-83a9-9f16-8968aa3748ec', '02793932-55a2-87ff-aeef-2c69e0b5d80a'])
    const { seconds, total, ...counts } = sent
    assert.deepEqual(counts, {
      rows: 2,
      sent: 2,
      delivered: 2,
      rejected: 0,
      failed: 0,
      remaining: 0,
      resent: 0,
      resumed: 0,
      rejects: undefined,
    })
    assert.ok(seconds > 0)
    assert.ok(total === undefined || total === 2)
    assert.ok(Object.isFrozen(sent))
  })
}

test('a text that comes in pieces of any size has the same rows', async () => {
  const odd = Buffer.from('\ufeff{"userId":"ü1"}\r\n\r\n\n{"userId":"u2","note":"\u{1f600}"}\r\n{"userId":"u3"}')
  for (const size of [1, 2, 3, 7, odd.length]) {
    const pieces = []
    for (let from = 0; from < odd.length; from += size) pieces.push(odd.subarray(from, from + size))
    assert.equal((await send(pieces)).delivered, 3)
  }
  assert.equal(new Set(ids()).size, 3)
  assert.equal(ids().length, 15)
})

test('lines that are no events are written with their numbers, and all else is sent', async () => {
  const path = file(
    'a.ndjson',
    Buffer.concat([
      Buffer.from('\ufeff{"user_id": 1, "timestamp": "2024-01-01T00:00:00Z"}\r\n\r\n{"user_id": "u2"\r\n{"user_id": "'),
      Buffer.from([0xff]),
      Buffer.from(
        '"}\r\n[1]\r\n{"n": 5.10, "timestamp": "2024-01-01T00:00:00Z"}\r\n{"user_id": "u6", "timestamp": "yesterday"}\r\n{"user_id": "u7", "timestamp": "2024-01-01T00:00:00Z"}\n{"user_id": "u8"}',
      ),
    ]),
  )
  const sent = await send(path)
  assert.deepEqual([sent.rows, sent.total, sent.delivered, sent.rejected, sent.remaining], [8, 8, 2, 6, 0])
  assert.deepEqual(users(), ['1', 'u7'])
  assert.equal(sent.rejects, at('a.ndjson.rejects.ndjson'))
  assert.equal(statSync(sent.rejects).mode & 0o777, 0o600)
  assert.deepEqual(
    written(sent.rejects).map(({ row, line, code, path, values }) => [row, line, code, path, values]),
    [
      [2, 3, 'invalid_json', '', '{"user_id": "u2"'],
      [3, 4, 'invalid_text', '', { user_id: '\ufffd' }],
      [4, 5, 'wrong_type', '', [1]],
      [5, 6, 'required', 'userId', { n: 5.1, timestamp: '2024-01-01T00:00:00Z' }],
      [6, 7, 'invalid_timestamp', 'timestamp', { user_id: 'u6', timestamp: 'yesterday' }],
      [8, 9, 'required', 'timestamp', { user_id: 'u8' }],
    ],
  )
  assert.match(readFileSync(sent.rejects, 'utf8'), /"values":\{"n": 5\.10,/)
})

test('items of every other kind are rejected with their numbers, and all else is sent', async () => {
  const cycle = { userId: 'u' }
  cycle.self = cycle
  const told = []
  const items = [
    { userId: 'u1' },
    5,
    null,
    [1],
    'no',
    { userId: 'u', n: Number.NaN },
    cycle,
    { userId: 5n },
    () => {},
    { userId: 'u', d: new Date('x') },
  ]
  const sent = await send(items, { onReject: (reject) => told.push(reject) })
  assert.deepEqual([sent.rows, sent.total, sent.delivered, sent.rejected], [10, 10, 2, 8])
  assert.deepEqual(
    told.map(({ row, code, path }) => [row, code, path]),
    [
      [2, 'wrong_type', ''],
      [3, 'wrong_type', ''],
      [4, 'wrong_type', ''],
      [5, 'invalid_json', ''],
      [6, 'not_finite', 'properties.n'],
      [7, 'cycle', 'properties.self'],
      [9, 'wrong_type', ''],
      [10, 'invalid_date', 'properties.d'],
    ],
  )
  assert.match(told[0].message, /must be an object, not a number/)
  assert.equal(sent.rejects, undefined)
})

test('a line of 100 MB costs only itself, and not its memory', async () => {
  const piece = Buffer.alloc(1 << 20, 'x')
  const long = async function* () {
    yield Buffer.from('{"userId":"u1"}\n{"userId":"u2","long":"')
    for (let n = 0; n < 100; ++n) yield piece
    yield Buffer.from('"}\n{"userId":"u3"}\n')
  }
  const before = process.memoryUsage.rss()
  const told = []
  const sent = await send(long(), { onReject: (reject) => told.push(reject) })
  assert.ok(process.memoryUsage.rss() - before < 90_000_000)
  assert.deepEqual([sent.delivered, sent.rejected], [2, 1])
  assert.deepEqual([told[0].row, told[0].line, told[0].code, told[0].values.length], [2, 2, 'too_large', 1000])
  assert.deepEqual(users(), ['u1', 'u3'])
})

test('a line that is no larger than a request may be is rejected like any other event', async () => {
  const told = []
  const sent = await send([{ userId: 'u1' }, { userId: 'u2', long: 'x'.repeat(7_000_000) }], {
    onReject: (reject) => told.push(reject),
  })
  assert.deepEqual([sent.delivered, told[0].row, told[0].code], [1, 2, 'too_large'])
})

test('a source without rows is none to complain of, but for a file', async () => {
  for (const source of [[], Readable.from([]), web([]), Buffer.alloc(0), Buffer.from('\ufeff\r\n\n')]) {
    assert.equal((await send(source)).rows, 0)
  }
  await assert.rejects(send(file('empty.ndjson', '')), { code: 'empty', option: 'source' })
})

test('what does not fit the source is said before anything is sent', async () => {
  const cases = [
    [[{ userid: 1 }], {}, 'userId', /no column "userId"; did you mean "userid"\?; it has userid/],
    [rows, { timestamp: 'timestmp' }, 'timestamp', /did you mean "timestamp"/],
    [rows, { exclude: ['tag'] }, 'exclude', /did you mean "tags"/],
    [rows, { exclude: 'tags' }, 'exclude', /must be an array of names/],
    [rows, { event: undefined }, 'event', /give event/],
    [rows, { event: 'E', eventColumn: 'tags' }, 'event', /not both/],
    [rows, { properties: ['a'], exclude: ['b'] }, 'exclude', /not both/],
    [rows, { action: 'trak' }, 'action', /must be one of/],
    [rows, { action: 'page' }, 'event', /page has its own event name/],
    [rows, { usrId: 'u' }, 'usrId', /did you mean "userId"/],
    [rows, { timezone: 'UTC' }, 'timezone', /the Python package/],
    [rows, { mapping: { user: 'u' } }, 'mapping', /the mapping has no "user"/],
    [rows, { mapping: 'no.json' }, 'mapping', /cannot be read/],
    [rows, { onInvalid: 'ignore' }, 'onInvalid', /'reject' or 'stop'/],
    [rows, { onReject: 5 }, 'onReject', /must be a function/],
    [rows, { limit: 1.5 }, 'limit', /must be a number of rows/],
    [rows, { checkpoint: true }, 'checkpoint', /the source has no path/],
    [5, {}, 'source', /a source is/],
    [undefined, {}, 'source', /give a source/],
    [at('none.ndjson'), {}, 'source', /there is no file/],
    [file('rows.csv', 'user_id\nu\n'), {}, 'format', /the Python package reads CSV/],
    [file('rows.ndjson', text), { format: 'csv' }, 'format', /reads NDJSON/],
    [file('no.ndjson', 'user_id\nu\n'), {}, 'source', /no JSON object/],
    [file('a.ndjson', text), { userId: 'customer' }, 'userId', /no column "customer"/],
  ]
  for (const [source, options, option, said] of cases) {
    await assert.rejects(send(source, options), (error) => {
      assert.ok(error instanceof ConfigurationError, error.stack)
      assert.deepEqual([error.option, said.test(error.message)], [option, true], error.message)
      assert.ok(error.code)
      return true
    })
  }
  assert.equal(sandbox.requests().length, 0)
})

test('a packed file that is cut short or is none says so before anything is sent', async () => {
  const whole = zlib.gzipSync(linesOf(many(50_000)))
  file('cut.ndjson.gz', whole.subarray(0, whole.length >> 1))
  file('no.ndjson.gz', text)
  for (const name of ['cut.ndjson.gz', 'no.ndjson.gz']) {
    await assert.rejects(send(at(name)), { code: 'unreadable', option: 'source' })
  }
  if (zlib.zstdCompressSync === undefined) {
    await assert.rejects(send(file('a.ndjson.zst', 'x')), /this Node has no zstd/)
  } else {
    const packed = zlib.zstdCompressSync(linesOf(many(50_000)))
    await assert.rejects(send(file('cut.ndjson.zst', packed.subarray(0, packed.length >> 1))), { code: 'unreadable' })
  }
  assert.equal(sandbox.requests().length, 0)
})

test('columns are mapped, chosen and left out, by options and by a file that serves Python, too', async () => {
  const source = [{ customer: 5, what: 'Bought', a: 1, b: 2, c: 3 }]
  const client = open()
  await client.sendMany(source, { mapping: { userId: 'customer', eventColumn: 'what' }, exclude: ['b'] })
  const mapping = file('map.json', '{"user_id": "customer", "event_column": "what", "properties": ["b"]}')
  await client.sendMany(source, { mapping })
  await client.sendMany(source, { userId: 'customer', action: 'identify', properties: ['a'] })
  await client.sendMany(source, { anonymousId: 'customer', action: 'page', properties: [] })
  assert.deepEqual(
    arrived().map(({ event, properties, traits, anonymousId }) => [event, properties ?? traits, anonymousId]),
    [
      ['Bought', { a: 1, c: 3 }, undefined],
      ['Bought', { b: 2 }, undefined],
      ['identify', { a: 1 }, undefined],
      ['page', {}, '5'],
    ],
  )
})

test('equal rows are different events, and files of another name, too', async () => {
  file('a.ndjson', '{"userId":"u"}\n{"userId":"u"}\n')
  file('b.ndjson', '{"userId":"u"}\n{"userId":"u"}\n')
  await send(at('a.ndjson'))
  await send(at('b.ndjson'))
  assert.equal(new Set(ids()).size, 4)
  await send(at('b.ndjson'), { sourceId: 'a.ndjson' })
  assert.deepEqual([ids().length, new Set(ids()).size], [6, 4])
})

test('stopping at a mistake delivers what came before, and says which row it was', async () => {
  const source = [{ userId: 'u1' }, { userId: 'u2' }, { userId: null }, { userId: 'u4' }]
  for (const given of [
    source,
    Readable.from(linesOf(source), { objectMode: false }),
    file('a.ndjson', linesOf(source)),
  ]) {
    await assert.rejects(send(given, { onInvalid: 'stop' }), (error) => {
      assert.ok(error instanceof ValidationError)
      assert.deepEqual(
        [error.row, error.code, error.path, error.message],
        [3, 'required', 'userId', 'row 3: userId is required'],
      )
      return true
    })
    assert.deepEqual(users(), ['u1', 'u2'])
    sandbox.clear()
  }
  await assert.rejects(send([{ userId: 'u1' }, 5], { onInvalid: 'stop' }), { row: 2, code: 'wrong_type' })
})

test('rows that the service refuses are told with their events', async () => {
  sandbox.setFaults({ user_id: 'u2', status: 400 })
  const source = [1, 2, 3].map((n) => ({ userId: `u${n}`, n }))
  const told = []
  const sent = await send(source, { rejects: at('r.ndjson'), onReject: (reject) => told.push(reject) })
  assert.deepEqual([sent.rows, sent.delivered, sent.failed, sent.remaining], [3, 2, 1, 0])
  const [line] = written(sent.rejects)
  assert.deepEqual([line.row, line.code, line.arrived, line.values.properties], [2, 'rejected', 'no', { n: 2 }])
  assert.equal(line.message_id, line.values.messageId)
  assert.deepEqual([told[0].row, told[0].messageId, told[0].values], [2, line.message_id, line.values])
})

test('what nobody asked to be told of is counted in the log, without what the rows hold', async () => {
  const lines = []
  const logger = { debug() {}, info() {}, warn: (line) => lines.push(line), error: (line) => lines.push(line) }
  const sent = await open({ logger }).sendMany([{ userId: 'u' }, { secret: 5 }, 7], { event: 'E' })
  assert.deepEqual([sent.rejected, lines.length], [2, 1])
  assert.match(lines[0], /2 rows were not delivered, the first is row 2: userId is required/)
  assert.doesNotMatch(lines[0], /secret/)
})

test('it waits for room in the queue whatever onFull says, and lets the program run meanwhile', async () => {
  const client = open({ maxQueueBytes: 20_000, flushAt: 5, onFull: 'raise', delivery: 'batch', maxBatchBytes: 10_000 })
  let taken = 0
  let ahead = 0
  function* source() {
    for (const row of many(5_000)) {
      ahead = Math.max(ahead, ++taken - client.stats().delivered)
      yield row
    }
  }
  let turns = 0
  const timer = setInterval(() => ++turns, 1)
  const sent = await client.sendMany(source(), { event: 'E' })
  clearInterval(timer)
  assert.deepEqual([sent.rows, sent.delivered], [5_000, 5_000])
  assert.ok(ahead < 200, `${ahead} rows were ahead`)
  assert.ok(turns > 10, `the program had ${turns} turns`)
  assert.equal(new Set(ids()).size, 5_000)
})

test('calls and rows under way together all get their own fates', async () => {
  const client = open()
  const sending = [client.sendMany(many(3_000), { event: 'E' }), client.sendMany(many(3_000), { event: 'F' })]
  const deliveries = []
  for (let n = 0; n < 1_000; ++n) {
    deliveries.push(client.track({ userId: 'single', event: 'S', properties: { n } }))
    if (n % 100 === 0) await new Promise(setImmediate)
  }
  const receipts = await Promise.all(deliveries)
  assert.deepEqual(
    receipts.map(({ messageId }) => messageId),
    deliveries.map(({ messageId }) => messageId),
  )
  for (const sent of await Promise.all(sending)) assert.equal(sent.delivered, 3_000)
  const { accepted, delivered, failed } = client.stats()
  assert.deepEqual([accepted, delivered, failed], [7_000, 7_000, 0])
})

test('only the first rows are sent where that is asked, and the rest is not read', async () => {
  let taken = 0
  let ended = false
  function* source() {
    try {
      for (const row of many(100)) {
        ++taken
        yield row
      }
    } finally {
      ended = true
    }
  }
  const sent = await send(source(), { limit: 3 })
  assert.deepEqual([sent.rows, sent.delivered, taken, ended], [3, 3, 3, true])
  assert.equal((await send(file('a.ndjson', linesOf(many(10))), { limit: 4 })).total, 4)
  assert.equal((await send(many(2), { limit: 0 })).rows, 0)
})

test('an aborted run goes on where it was, and every row arrives under one id', async () => {
  const path = file('a.ndjson', `${linesOf(many(4_000))}{"n":1}\n`)
  const controller = new AbortController()
  const client = open({
    maxQueueBytes: 20_000,
    flushAt: 5,
    delivery: 'batch',
    maxBatchBytes: 5_000,
    rateLimit: 50,
    burst: 1,
  })
  await assert.rejects(
    client.sendMany(path, {
      event: 'E',
      checkpoint: true,
      signal: controller.signal,
      onProgress: ({ delivered }) => delivered > 0 && controller.abort('enough'),
    }),
    (error) => {
      assert.deepEqual([error.name, error.code, error.cause], ['AbortError', 'ABORT_ERR', 'enough'])
      assert.ok(error.report.delivered > 0)
      assert.ok(error.report.delivered < 4_000)
      return true
    },
  )
  await client.close()
  const sent = await send(path, { event: 'E', checkpoint: true })
  assert.deepEqual([sent.rows, sent.delivered, sent.rejected], [4_001, 4_000, 1])
  assert.ok(sent.resumed > 0)
  assert.equal(new Set(ids()).size, 4_000)
  const requests = sandbox.requests().length
  const again = await send(path, { event: 'E', checkpoint: true })
  assert.deepEqual([again.rows, again.delivered, again.resumed], [4_001, 4_000, 4_001])
  assert.equal(sandbox.requests().length, requests)
  assert.deepEqual(
    written(sent.rejects).map(({ row }) => row),
    [4_001],
  )
})

test('a checkpoint refuses other options, and a file that changed, and takes one that grew', async () => {
  const path = file('a.ndjson', linesOf(many(10)))
  await send(path, { checkpoint: at('c') })
  assert.equal(statSync(at('c')).mode & 0o777, 0o600)
  await assert.rejects(send(path, { event: 'Other', checkpoint: at('c') }), (error) => {
    assert.deepEqual([error.code, error.option], ['checkpoint_differs', 'checkpoint'])
    assert.match(error.message, /: event had another value/)
    return true
  })
  file('a.ndjson', linesOf(many(12)))
  assert.deepEqual((({ rows, resumed }) => [rows, resumed])(await send(path, { checkpoint: at('c') })), [12, 10])
  file('a.ndjson', linesOf(many(12).reverse()))
  await assert.rejects(send(path, { checkpoint: at('c') }), /the source has changed at its beginning/)
  await assert.rejects(send(path, { checkpoint: file('no', 'this is no database at all') }), {
    code: 'checkpoint_unusable',
  })
})

test('a checkpoint is of one run at a time', async () => {
  const held = new PassThrough({ objectMode: true })
  const client = open()
  const first = client.sendMany(held, { event: 'E', checkpoint: at('c') })
  held.write({ userId: 'u1' })
  while (arrived().length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  await assert.rejects(send([], { event: 'E', checkpoint: at('c') }), /another run has it/)
  held.end()
  assert.equal((await first).delivered, 1)
})

test('a stopped run goes on at the mistake once it is mended', async () => {
  const source = [{ userId: 'u1' }, { userId: null }, { userId: 'u3' }]
  await assert.rejects(send(source, { onInvalid: 'stop', checkpoint: at('c') }), { row: 2 })
  source[1].userId = 'u2'
  const sent = await send(source, { onInvalid: 'stop', checkpoint: at('c') })
  assert.deepEqual([sent.rows, sent.delivered, sent.resumed], [3, 3, 1])
  assert.deepEqual(users(), ['u1', 'u2', 'u3'])
})

test('an abort ends a wait for a source that gives nothing', async () => {
  const silent = new PassThrough()
  await assert.rejects(send(silent, { signal: AbortSignal.timeout(20) }), { name: 'AbortError' })
  assert.ok(silent.destroyed)
  const never = { [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }) }
  await assert.rejects(send(never, { signal: AbortSignal.timeout(20) }), { name: 'AbortError' })
  await assert.rejects(send(rows, { signal: AbortSignal.abort() }), { name: 'AbortError', code: 'ABORT_ERR' })
  assert.equal(sandbox.requests().length, 0)
})

test("what the program's own source or function throws comes through", async () => {
  async function* source() {
    yield { userId: 'u1' }
    throw new RangeError('mine')
  }
  await assert.rejects(send(source()), { name: 'RangeError', message: 'mine' })
  const throws = () => {
    throw new RangeError('mine, too')
  }
  await assert.rejects(send([{ userId: 'u1' }, 5], { onReject: throws }), /mine, too/)
  await assert.rejects(send(rows, { onProgress: throws }), /mine, too/)
  await assert.rejects(send([5], { rejects: at('no/such/folder') }), { code: 'ENOENT' })
})

test('closing the client ends the run', async () => {
  const slow = new Sandbox({ rateLimit: 0, faults: [{ status: 503 }] })
  try {
    const client = slow.client()
    const sending = client.sendMany(many(10), { event: 'E' })
    const failed = assert.rejects(sending, ClosedError)
    while (client.stats().accepted < 10) await new Promise(setImmediate)
    await client.close({ timeout: 0 })
    await failed
    await assert.rejects(client.sendMany(rows, { event: 'E' }), ClosedError)
  } finally {
    await slow.stop()
  }
})

test('progress is told in reports of which each adds up', async () => {
  const client = open({
    maxQueueBytes: 10_000,
    flushAt: 5,
    delivery: 'batch',
    maxBatchBytes: 2_000,
    rateLimit: 100,
    burst: 1,
  })
  const reports = []
  await client.sendMany(many(1_000), { event: 'E', onProgress: (report) => reports.push(report) })
  assert.ok(reports.length > 1, `${reports.length} reports`)
  for (const { rows, delivered, rejected, failed, remaining } of reports) {
    assert.equal(rows, delivered + rejected + failed + remaining)
  }
  assert.equal(reports.at(-1).delivered, 1_000)
})

test('progress is told some times a second, however many rows there are', async () => {
  let told = 0
  const client = open({ dryRun: true })
  const source = Buffer.from(linesOf(many(50_000)))
  const { seconds, rows } = await client.sendMany(source, { event: 'E', onProgress: () => ++told })
  assert.equal(rows, 50_000)
  assert.ok(told >= 1 && told <= seconds * 5 + 2, `${told} times in ${seconds} s`)
})

test('beforeSend sees each row as send takes it, may change it and drop it, and its failure is told', async () => {
  const seen = []
  const beforeSend = (message) => {
    seen.push(message)
    if (message.properties.n === 2) return null
    if (message.properties.n === 3) throw new RangeError('mine')
    if (message.properties.n === 4) return 5
    if (message.properties.n === 5) return { ...message, properties: { n: Number.NaN } }
    return { ...message, properties: { n: message.properties.n, secret: undefined, seen: true } }
  }
  const client = open({ beforeSend })
  const told = []
  const source = [1, 2, 3, 4, 5, 6].map((n) => ({ userId: 'u', n, secret: 'x' }))
  const sent = await client.sendMany(source, { event: 'E', onReject: (reject) => told.push(reject) })
  assert.deepEqual([sent.delivered, sent.rejected], [2, 4])
  assert.deepEqual(Object.keys(seen[0]).sort(), ['action', 'event', 'messageId', 'properties', 'userId'])
  assert.deepEqual(
    arrived().map(({ properties }) => properties),
    [
      { n: 1, seen: true },
      { n: 6, seen: true },
    ],
  )
  assert.deepEqual(
    told.map(({ row, code, path }) => [row, code, path]),
    [
      [2, 'before_send', ''],
      [3, 'before_send_failed', 'before_send'],
      [4, 'wrong_type', 'before_send'],
      [5, 'not_finite', 'properties.n'],
    ],
  )
  await assert.rejects(client.sendMany([{ userId: 'u', n: 3 }], { event: 'E', onInvalid: 'stop' }), (error) => {
    assert.deepEqual([error.row, error.code, error.cause.message], [1, 'before_send_failed', 'mine'])
    return true
  })
})

test('beforeSend is called once for each row, though the queue is full', async () => {
  let calls = 0
  const beforeSend = (message) => {
    ++calls
    return message
  }
  const client = open({ beforeSend, maxQueueBytes: 5_000, flushAt: 5, delivery: 'batch', maxBatchBytes: 2_000 })
  assert.equal((await client.sendMany(many(500), { event: 'E' })).delivered, 500)
  assert.equal(calls, 500)
})

test("a brand's rows go to that brand", async () => {
  const two = new Sandbox({ rateLimit: 0, brandIds: ['HEA', 'HEB'] })
  try {
    const client = two.client()
    await client.brand('HEB').sendMany(rows, { event: 'E' })
    assert.deepEqual(
      two.events().map(({ brandId }) => brandId),
      ['HEB', 'HEB'],
    )
    await client.close()
  } finally {
    await two.stop()
  }
})

test('a platform is asked to wait for a run', async () => {
  const promises = []
  const client = open({ waitUntil: (promise) => promises.push(promise) })
  const sending = client.sendMany([5], { event: 'E', onInvalid: 'stop' })
  assert.equal(promises.length, 1)
  await assert.rejects(sending)
  await promises[0]
})

// Writable

test('rows and lines are written to a stream, which finishes when all have their fates', async () => {
  const client = open()
  const writable = client.writable({ event: 'E' })
  writable.write({ userId: 'u1' })
  writable.write(Buffer.from('{"userId":"u2"}\n{"user'))
  writable.write(Buffer.from('Id":"u3"}\n'))
  writable.end('{"userId":"u4"}')
  await once(writable, 'finish')
  assert.deepEqual([writable.report.rows, writable.report.delivered], [4, 4])
  assert.deepEqual(users(), ['u1', 'u2', 'u3', 'u4'])
})

test('a stream of bytes, unpacked on the way, is piped in at the pace of the queue', async () => {
  const path = file('a.gz', zlib.gzipSync(linesOf(many(3_000))))
  for (const objectMode of [true, false]) {
    const client = open({ maxQueueBytes: 20_000, flushAt: 5, delivery: 'batch', maxBatchBytes: 5_000 })
    const writable = client.writable({ event: 'E', objectMode })
    await pipeline(createReadStream(path), zlib.createGunzip(), writable)
    assert.deepEqual([writable.report.rows, writable.report.delivered], [3_000, 3_000])
  }
  assert.deepEqual([ids().length, new Set(ids()).size], [6_000, 3_000])
})

test('what is wrong with the options or a row ends the stream', async () => {
  const client = open()
  await assert.rejects(pipeline(Readable.from(rows), client.writable({ evnt: 'E' })), /did you mean "event"/)
  await assert.rejects(pipeline(Readable.from(rows), client.writable({ event: 'E', userId: 'x' })), /no column "x"/)
  const stop = client.writable({ event: 'E', onInvalid: 'stop' })
  await assert.rejects(pipeline(Readable.from([rows[0], { n: 1 }]), stop), { row: 2 })
  assert.deepEqual(users(), ['u1'])
})

test('a stream that is written again goes on behind its checkpoint', async () => {
  for (const [count, resumed] of [
    [5, 0],
    [8, 5],
  ]) {
    const writable = open().writable({ event: 'E', checkpoint: at('c') })
    await pipeline(Readable.from(many(count)), writable)
    assert.deepEqual([writable.report.rows, writable.report.resumed], [count, resumed])
  }
  assert.equal(ids().length, 8)
})

test('a stream that is destroyed lets go, and one that waits keeps no program alive', async () => {
  const writable = open().writable({ event: 'E', signal: AbortSignal.timeout(20) })
  const [error] = await once(writable, 'error')
  assert.equal(error.name, 'AbortError')
  const program = `import { Client } from 'intilery'
    const writable = Client.fromEnv().writable({ event: 'E' })
    writable.write({ userId: 'u' })`
  const ended = await run(sandbox, program)
  assert.deepEqual([ended.code, ended.err], [0, ''])
  assert.deepEqual(users(), ['u'])
})

test('a stream that has waited long still finishes', async () => {
  const program = `import { Client } from 'intilery'
    const writable = Client.fromEnv().writable({ event: 'E' })
    writable.write({ userId: 'u1' })
    setTimeout(() => {
      writable.end({ userId: 'u2' })
      writable.on('finish', () => console.log(writable.report.delivered))
    }, 500)`
  const ended = await run(sandbox, program)
  assert.deepEqual([ended.code, ended.out, ended.err], [0, '2\n', ''])
})

// Ends

test('a worker may end in the middle of a run', async () => {
  const program = `const { workerData, parentPort } = require('node:worker_threads')
    const { Client } = require('intilery')
    const client = new Client(workerData)
    function* rows() { for (let n = 0; ; ++n) { if (n === 2000) parentPort.postMessage('on'); yield { userId: 'u' + n } } }
    client.sendMany(rows(), { event: 'E' })`
  const workerData = {
    clientId: 'hea',
    accountId: 'hea',
    brandId: 'HEA',
    authToken: 'sandbox-token',
    endpoint: sandbox.url,
    rateLimit: 1e6,
    burst: 1e6,
  }
  for (let round = 0; round < 5; ++round) {
    const worker = new Worker(program, { eval: true, workerData })
    await once(worker, 'message')
    await worker.terminate()
  }
  assert.ok(sandbox.eventCount() > 0)
})

test('process.exit delivers the rows that were accepted', async () => {
  const program = `import { Client } from 'intilery'
    const client = Client.fromEnv()
    client.sendMany(Array.from({ length: 500 }, (_, n) => ({ userId: 'u' + n })), { event: 'E' })
    while (client.stats().accepted < 500) await new Promise(setImmediate)
    process.exit(0)`
  const ended = await run(sandbox, program)
  assert.deepEqual([ended.code, ended.err], [0, ''])
  assert.equal(new Set(users()).size, 500)
})
