// What a client says to the log.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { Client, ConfigurationError, DeliveryError, ValidationError } from 'intilery'
import { Sandbox } from 'intilery/testing'
import { environment, root } from './environment.mjs'

const account = { clientId: 'hea', accountId: 'hea', brandId: 'HEA', authToken: 'sandbox-token' }

async function withSandbox(body) {
  const sandbox = new Sandbox()
  try {
    await body(sandbox)
  } finally {
    await sandbox.stop()
  }
}

/** A logger that keeps its lines, as `[level, line]`. */
class Lines {
  all = []
  debug(line) {
    this.all.push(['debug', line])
  }
  info(line) {
    this.all.push(['info', line])
  }
  warn(line) {
    this.all.push(['warn', line])
  }
  error(line) {
    this.all.push(['error', line])
  }
}

/** What a program of its own writes. */
async function outputOf(sandbox, program, more = {}) {
  const child = spawn(
    process.execPath,
    ['--input-type=module', '-e', `import { Client } from 'intilery'; ${program}`],
    {
      cwd: root,
      env: environment(sandbox, more),
    },
  )
  const text = { out: '', err: '' }
  child.stdout.on('data', (data) => {
    text.out += data
  })
  child.stderr.on('data', (data) => {
    text.err += data
  })
  const [code] = await once(child, 'close')
  return { ...text, code }
}

test('a dry run checks everything and sends nothing', async () => {
  await withSandbox(async (sandbox) => {
    const logger = new Lines()
    const client = sandbox.client({ dryRun: true, logger })
    const receipt = await client.track({ userId: 'u', event: 'E' })
    assert.deepEqual([receipt.status, receipt.attempts, receipt.eventId], [0, 0, undefined])
    assert.throws(() => client.track({ userId: 'u', event: 'E', properties: { x: Number.NaN } }), ValidationError)
    for (let i = 0; i < 1000; ++i) client.track({ userId: 'u', event: 'E' })
    await client.drained()
    const { accepted, delivered, requests, bytesSent } = client.stats()
    assert.deepEqual([accepted, delivered, requests, bytesSent], [1001, 1001, {}, 0])
    await assert.rejects(client.verify([receipt]), (error) => {
      assert.ok(error instanceof DeliveryError)
      assert.equal(error.reason, 'dry_run')
      assert.match(error.message, /nothing was sent/)
      return true
    })
    await client.close()
    assert.deepEqual(sandbox.requests(), [])
    assert.equal(logger.all.length, 1)
    assert.equal(logger.all[0][0], 'info')
    assert.match(logger.all[0][1], /^intilery: dry_run is on/)
  })
})

test('debug shows the traffic, and never the token', async () => {
  await withSandbox(async (sandbox) => {
    const logger = new Lines()
    const client = sandbox.client({ debug: true, logger })
    await client.track({ userId: 'u', event: 'E', properties: { email: 'fred@example.com', token: 'sandbox-token' } })
    await client.close()
    assert.deepEqual(
      logger.all.map(([level]) => level),
      ['debug', 'debug'],
    )
    const [request, answer] = logger.all.map(([, line]) => line)
    assert.ok(request.includes(`POST ${sandbox.url}/track/hea/hea/HEA/v1/track, auth-token: [redacted], 1 event, `))
    assert.ok(request.includes('"email":"fred@example.com","token":"[redacted]"'))
    assert.match(answer, /^intilery: request 1: status 200 after \d+ ms: \{"eventId":"/)
    assert.doesNotMatch(request + answer, /sandbox-token/)
  })
})

test('the logger gets what nobody observes, as a warning', async () => {
  await withSandbox(async (sandbox) => {
    sandbox.setFaults({ status: 400 })
    const logger = new Lines()
    const client = sandbox.client({ logger })
    client.track({ userId: 'u', event: 'E' })
    await client.close()
    assert.equal(logger.all.length, 1)
    assert.equal(logger.all[0][0], 'warn')
    assert.match(logger.all[0][1], /^intilery: 1 event failed \(rejected\): /)
  })
})

test('a logger that throws or rejects harms nothing, and its warnings go to the console', async () => {
  await withSandbox(async (sandbox) => {
    sandbox.setFaults({ status: 400 })
    const program = (broken) => `
      const broken = ${broken}
      const logger = { debug: broken, info: broken, warn: broken, error: broken }
      const client = Client.fromEnv({ debug: true, logger })
      client.track({ userId: 'u', event: 'E', properties: { email: 'fred@example.com' } })
      await client.close()`
    for (const broken of ["() => { throw new Error('mine') }", "async () => { throw new Error('mine') }"]) {
      const { code, out, err } = await outputOf(sandbox, program(broken))
      assert.deepEqual([code, out], [0, ''], err)
      assert.match(err, /^intilery: 1 event failed \(rejected\): .* \(the logger failed\)\n$/)
    }
  })
})

test('without a logger the console gets warnings, and with debug everything', async () => {
  await withSandbox(async (sandbox) => {
    const program = "const client = Client.fromEnv(); await client.track({ userId: 'u', event: 'E' })"
    assert.deepEqual(await outputOf(sandbox, program, { INTILERY_DRY_RUN: '1' }), { out: '', err: '', code: 0 })
    const { out, err } = await outputOf(sandbox, program, { INTILERY_DRY_RUN: '1', INTILERY_DEBUG: '1' })
    const lines = out.trimEnd().split('\n')
    assert.equal(err, '')
    assert.equal(lines.length, 2, out)
    assert.match(lines[0], /^intilery: dry_run is on/)
    assert.match(lines[1], /^intilery: not sent: POST /)
    assert.deepEqual(sandbox.requests(), [])
  })
})

test('the end of the program tells the logger what is left', async () => {
  await withSandbox(async (sandbox) => {
    sandbox.setFaults({ delay_ms: 20_000 })
    const { out } = await outputOf(
      sandbox,
      `const write = (line) => console.log('mine: ' + line)
       const client = Client.fromEnv({ exitTimeout: 50, logger: { debug: write, info: write, warn: write, error: write } })
       client.track({ userId: 'u', event: 'E' }); process.exit(0)`,
    )
    assert.match(out, /mine: intilery: the program ended before 1 event was delivered/)
    sandbox.setFaults()
  })
})

for (const logger of [5, {}, { debug() {}, info() {}, warn() {} }, 'console']) {
  test(`a wrong logger is named (${JSON.stringify(logger)})`, () => {
    assert.throws(
      () => new Client({ ...account, logger }),
      (error) => {
        assert.ok(error instanceof ConfigurationError)
        assert.deepEqual([error.option, error.code], ['logger', 'wrong_type'])
        return true
      },
    )
  })
}

test('console is a logger, and null is none', async () => {
  for (const logger of [console, null]) await new Client({ ...account, logger }).close()
})
