// Whatever goes in comes back equal, or is refused at its place: with values by chance (fast-check).
//
// INTILERY_EXAMPLES multiplies the number of examples (`make properties`); a failure prints the seed and the path with
// which fast-check replays it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ValidationError, version } from 'intilery'
import { MemoryClient, Sandbox } from 'intilery/testing'

const examples = Number(process.env.INTILERY_EXAMPLES ?? 1)
const runs = (count) => ({ numRuns: count * examples, ...(examples === 1 && { seed: 7 }) })

// Texts, with something that must be escaped at the borders of vector registers.
const odd = fc.constantFrom('"', '\\', '\0', '\u001f', '\u007f', 'é', '\u2028', '\ufffd', '\u{1f600}', '\u{10ffff}')
const atBorders = fc
  .tuple(fc.constantFrom(14, 15, 16, 17, 30, 31, 32, 33, 62, 63, 64, 65, 127, 128), odd, fc.nat(70))
  .map(([before, one, after]) => 'x'.repeat(before) + one + 'y'.repeat(after))
const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 20 }), atBorders, odd)
const name = text.filter((given) => given !== '')
const key = fc.oneof(text, fc.constantFrom('', 'toJSON', 'a.b', 'a[0]', '0', '10', 'length', 'constructor', 'userId'))
const instant = fc.date({
  min: new Date('0000-01-01T00:00:00Z'),
  max: new Date('9999-12-31T23:59:59.999Z'),
  noInvalidDate: true,
})
const leaf = fc.oneof(
  text,
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer(),
  fc.bigInt(),
  fc.boolean(),
  fc.constantFrom(null, undefined, -0, 5e-324, 1.7976931348623157e308, 2 ** 53, 1e21, 1e-7),
  instant,
  fc.constant(() => {}),
)
/** Plain objects; JSON.stringify would call a function of this one name. */
const dictionary = (values, maxKeys) =>
  fc.dictionary(key, values, { maxKeys }).map((given) => {
    if (typeof given.toJSON === 'function') delete given.toJSON
    return given
  })
const { value } = fc.letrec((tie) => ({
  value: fc.oneof({ depthSize: 'small', withCrossShrink: true }, leaf, tie('array'), tie('object'), tie('map')),
  array: fc.array(tie('value'), { maxLength: 6 }),
  object: dictionary(tie('value'), 6),
  map: fc.array(fc.tuple(key, tie('value')), { maxLength: 4 }).map((entries) => new Map(entries)),
}))
const object = fc.oneof(
  dictionary(value, 6),
  fc.array(fc.tuple(key, value), { maxLength: 4 }).map((entries) => new Map(entries)),
)

/** What the table in docs/values.md makes of a value; undefined for what is left out. */
function expected(given) {
  if (given === null) return 'null'
  if (typeof given === 'bigint') return String(given)
  if (typeof given !== 'object' || given instanceof Date) return JSON.stringify(given)
  if (Array.isArray(given)) return `[${given.map((element) => expected(element) ?? 'null').join(',')}]`
  const entries = given instanceof Map ? [...given] : Object.keys(given).map((own) => [own, given[own]])
  const members = entries.map(([own, member]) => [JSON.stringify(own), expected(member)])
  return `{${members
    .filter(([, member]) => member !== undefined)
    .map((member) => member.join(':'))
    .join(',')}}`
}

const library = `"library":{"name":"intilery-node","version":"${version}"}`
const quoted = (given) => JSON.stringify(given)

/** A call that is right, and the wire bytes that it must become, without `sentAt`. */
const call = fc
  .record({
    kind: fc.constantFrom('identify', 'track', 'page', 'screen', 'sendEmail', 'startJourney'),
    id: text,
    name,
    body: object,
    timestamp: instant,
    context: fc.option(dictionary(value, 3), { nil: undefined }),
  })
  .map(({ kind, id, name, body, timestamp, context }) => (number) => {
    const userId = `${number}${id}`
    const messageId = `${number}-${id}`
    const given = { userId, messageId, timestamp, context }
    let own = ''
    const text = expected(body)
    if (kind === 'identify') {
      given.traits = body
      own = `"event":"identify","traits":${text}`
    } else if (kind === 'track') {
      given.event = `${name}.`
      given.properties = body
      own = `"event":${quoted(given.event)},"properties":${text}`
    } else if (kind === 'page' || kind === 'screen') {
      given.properties = body
      if (kind === 'screen') given.name = name
      own = `"event":"${kind}",${kind === 'screen' ? `"name":${quoted(name)},` : ''}"properties":${text}`
    } else {
      const entries = body instanceof Map ? [...body] : Object.entries(body)
      given.data = new Map(entries.map(([field, member]) => [`x${field}`, member]))
      const data = expected(given.data).slice(1, -1)
      if (kind === 'sendEmail') {
        given.assetId = name
        own = `"event":"send_email","assetId":${quoted(name)}`
      } else {
        given.journeyId = name
        own = `"event":"start_journey","properties":{"journeyIdToTrigger":${quoted(name)}}`
      }
      if (data !== '') own += `,${data}`
    }
    let around = expected(context ?? {}).slice(1, -1)
    if (context === undefined || !Object.hasOwn(context, 'library')) around += `${around && ','}${library}`
    const moment = `"timestamp":"${timestamp.toISOString()}"`
    const wire = `{"userId":${quoted(userId)},${own},"context":{${around}},${moment},"messageId":${quoted(messageId)}}`
    return { kind, given, wire }
  })

const withoutSentAt = (body) => body.replace(/,"sentAt":"[^"]{24}"}$/, '}')

test('whatever a call gives arrives as it was, to the byte', async () => {
  const sandbox = new Sandbox({ rateLimit: 0 })
  const client = sandbox.client({ delivery: 'event' })
  const property = fc.asyncProperty(fc.array(call, { minLength: 1, maxLength: 12 }), async (made) => {
    sandbox.clear()
    const calls = made.map((make, number) => make(number))
    for (const { kind, given } of calls) client[kind](given)
    const { failed, remaining } = await client.flush({ timeout: 30_000 })
    assert.deepEqual([failed, remaining], [0, 0])
    const arrived = sandbox.requests().map(({ body }) => withoutSentAt(body))
    assert.deepEqual(arrived.sort(), calls.map(({ wire }) => wire).sort())
  })
  try {
    await fc.assert(property, runs(100))
  } finally {
    await client.close()
    await sandbox.stop()
  }
})

const culprit = fc.constantFrom(
  [Number.NaN, 'not_finite'],
  [Number.NEGATIVE_INFINITY, 'not_finite'],
  [new Date(Number.NaN), 'invalid_date'],
  [new Set(), 'unsupported_type'],
  [new Set([1]), 'unsupported_type'],
  [Buffer.from('x'), 'unsupported_type'],
  [new Uint8Array(2), 'unsupported_type'],
  [new ArrayBuffer(1), 'unsupported_type'],
  [Promise.resolve(), 'unsupported_type'],
  [/x/, 'unsupported_type'],
  [new Error('x'), 'unsupported_type'],
  ['a\udc00', 'invalid_text'],
  ['\ud800', 'invalid_text'],
  [{ '\ud800': 1 }, 'invalid_text'],
  [new Map([[1, 2]]), 'invalid_key'],
  [new Map([[null, 2]]), 'invalid_key'],
)

/** One step of a path, as docs/errors.md has them. */
function step(at) {
  if (typeof at === 'number') return `[${at}]`
  return /^[A-Za-z0-9_$-]+$/.test(at) ? `.${at}` : `[${JSON.stringify(at)}]`
}

const layer = fc.record({
  array: fc.boolean(),
  key,
  before: fc.array(leaf, { maxLength: 3 }),
  more: dictionary(leaf, 2),
  map: fc.boolean(),
})

/** An object with a culprit in it, its code, and the culprit's path. */
const spoiled = fc.tuple(culprit, fc.array(layer, { maxLength: 6 }), layer).map(([[bad, code], layers, outermost]) => {
  let given = bad
  let path = ''
  for (const { array, key, before, more, map } of [...layers, { ...outermost, array: false }]) {
    path = step(array ? before.length : key) + path
    if (array) {
      given = [...before, given, 'behind']
    } else {
      const members = Object.entries(more).filter(([other]) => other !== key)
      given = map ? new Map([...members, [key, given]]) : Object.fromEntries([...members, [key, given]])
    }
  }
  return { given, code, path }
})

test('a culprit is refused at its place, and costs no other event', async () => {
  const client = new MemoryClient()
  let fine = 0
  const property = fc.property(
    spoiled,
    fc.constantFrom(['identify', 'traits'], ['page', 'properties'], ['screen', 'context'], ['sendPush', 'data']),
    ({ given, code, path }, [kind, field]) => {
      const accepted = client.stats().accepted
      const wrong = field === 'data' ? new Map([['x', given]]) : given
      assert.throws(
        () => client[kind]({ userId: 'u', ...(kind === 'sendPush' && { assetId: 'a' }), [field]: wrong }),
        (error) => {
          assert(error instanceof ValidationError, String(error))
          assert.deepEqual([error.code, error.path], [code, `${field}${field === 'data' ? '.x' : ''}${path}`])
          return true
        },
      )
      assert.equal(client.stats().accepted, accepted)
      client.track({ userId: 'v', event: 'E' })
      ++fine
    },
  )
  fc.assert(property, runs(300))
  await client.flush()
  assert.equal(client.sent.length, fine)
  assert(client.sent.every(({ userId }) => userId === 'v'))
  await client.close()
})

test('containers go 64 deep and no deeper', async () => {
  const client = new MemoryClient()
  const property = fc.property(fc.array(fc.boolean(), { minLength: 55, maxLength: 70 }), (levels) => {
    let nested = 'leaf'
    for (const isArray of levels) nested = isArray ? [nested] : { k: nested }
    const track = () => client.track({ userId: 'u', event: 'E', properties: { v: nested } })
    if (levels.length < 64) return void track()
    const steps = levels.slice(-63).reverse()
    const path = `properties.v${steps.map((isArray) => (isArray ? '[0]' : '.k')).join('')}`
    assert.throws(track, { name: 'ValidationError', code: 'too_deep', path })
  })
  fc.assert(property, runs(60))
  await client.close()
})

test('a beforeSend changes and drops exactly what it chooses, and what it leaves alone stays as it was', async () => {
  const plain = dictionary(value, 4)
  const made = fc.array(fc.tuple(fc.constantFrom('keep', 'drop', 'change'), plain), { minLength: 1, maxLength: 12 })
  const sandbox = new Sandbox({ rateLimit: 0 })
  const property = fc.asyncProperty(made, async (calls) => {
    sandbox.clear()
    const client = sandbox.client({
      delivery: 'event',
      beforeSend: (message) => {
        if (message.event === 'drop') return null
        return message.event === 'change' ? { ...message, properties: { changed: message.properties } } : message
      },
    })
    for (const [event, properties] of calls) client.track({ userId: 'u', event, properties })
    await client.close()
    const bodies = sandbox.requests().map(({ body }) => /"properties":(.*),"context":\{"library/s.exec(body)[1])
    const kept = calls.filter(([event]) => event !== 'drop')
    assert.deepEqual(
      bodies,
      kept.map(([event, properties]) => expected(event === 'change' ? { changed: properties } : properties)),
    )
    const { accepted, delivered, failed } = client.stats()
    assert.deepEqual([accepted, delivered, failed], [calls.length, kept.length, calls.length - kept.length])
  })
  try {
    await fc.assert(property, runs(30))
  } finally {
    await sandbox.stop()
  }
})

test('every row of a source comes back', async () => {
  const row = fc.dictionary(
    name.map((given) => `x${given}`),
    value,
    { maxKeys: 4 },
  )
  const sandbox = new Sandbox({ rateLimit: 0, maxRequestBytes: 6_000_000 })
  const client = sandbox.client({ delivery: 'event' })
  const property = fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 30 }), async (rows) => {
    sandbox.clear()
    const given = rows.map((one, number) => ({ ...one, userId: `u${number % 3}`, messageId: `${number}` }))
    const sent = await client.sendMany(given, { event: 'Row', userId: 'userId', messageId: 'messageId' })
    assert.deepEqual([sent.rows, sent.delivered], [rows.length, rows.length])
    const bodies = new Map(sandbox.requests().map(({ body }) => [JSON.parse(body).messageId, body]))
    assert.equal(bodies.size, rows.length)
    rows.forEach((one, number) => {
      const start = `{"userId":"u${number % 3}","event":"Row","properties":${expected(one)},"context":`
      assert.equal(bodies.get(`${number}`).slice(0, start.length), start)
    })
  })
  try {
    await fc.assert(property, runs(40))
  } finally {
    await client.close()
    await sandbox.stop()
  }
})
