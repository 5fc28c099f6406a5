/** The npm package in dist/, installed as its users do: without this repository, a compiler or a network. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url)
const root = fileURLToPath(new URL('../..', import.meta.url))
const { version } = require('../../package.json')
const tarball = join(root, 'dist', `intilery-${version}.tgz`)
const target = `${process.platform}-${process.arch}`
const readme = readFileSync(join(root, 'README.md'), 'utf8').match(/^```js\n(.*?)^```/ms)[1]

const work = mkdtempSync(join(tmpdir(), 'intilery-npm-'))
after(() => rmSync(work, { recursive: true, force: true }))

/** Nothing but what npm itself needs is on the path, and neither is this repository's environment. */
const bin = join(work, 'bin')
mkdirSync(bin)
for (const program of ['node', 'npm', 'sh', 'env']) {
  symlinkSync(execFileSync('which', [program], { encoding: 'utf8' }).trim(), join(bin, program))
}
const bare = { PATH: bin, HOME: work, npm_config_cache: join(work, 'cache'), npm_config_offline: 'true' }

function run(command, args, { cwd = work, env = bare } = {}) {
  const ended = spawnSync(command, args, { cwd, env, encoding: 'utf8', timeout: 300_000 })
  assert.equal(ended.status, 0, `${command} ${args.join(' ')}\n${ended.error ?? ''}${ended.stdout}${ended.stderr}`)
  return ended.stdout
}

function project(name, { install = [], manifest = {} } = {}) {
  const folder = join(work, name)
  mkdirSync(folder)
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name, private: true, ...manifest }))
  const args = ['install', '--no-audit', '--no-fund', '--foreground-scripts', ...install, tarball]
  return {
    folder,
    said: run(join(bin, 'npm'), args, { cwd: folder }),
    installed: join(folder, 'node_modules/intilery'),
  }
}

function addons(installed) {
  const folder = join(installed, 'node/prebuilds', target)
  return readdirSync(folder).map((file) => join(folder, file))
}
const lines = (command, ...args) => execFileSync(command, args, { encoding: 'utf8' }).trim().split('\n')

describe('installed without a network and a compiler', () => {
  let esm
  before(() => {
    esm = project('esm', { manifest: { type: 'module' } })
  })

  test('nothing is built, for the binary in the package loads', () => {
    assert.doesNotMatch(esm.said, /built here/)
    assert.equal(existsSync(join(esm.installed, 'build')), false)
  })

  test("the README's example runs as an ES module", () => {
    writeFileSync(join(esm.folder, 'example.js'), readme)
    assert.equal(run(join(bin, 'node'), ['example.js'], { cwd: esm.folder }), '200\n')
  })

  test("the README's example runs in a CommonJS project", () => {
    const { folder } = project('cjs')
    const program = readme.replace(/import (.*) from ('.*?')/g, 'const $1 = require($2)')
    writeFileSync(join(folder, 'example.js'), `(async () => {\n${program}\n})()`)
    assert.equal(run(join(bin, 'node'), ['example.js'], { cwd: folder }), '200\n')
  })

  test('it works where install scripts are not run, too', () => {
    const { folder } = project('quiet', { install: ['--ignore-scripts'] })
    writeFileSync(join(folder, 'example.mjs'), readme)
    assert.equal(run(join(bin, 'node'), ['example.mjs'], { cwd: folder }), '200\n')
  })

  for (const [resolution, module] of [
    ['node16', 'node16'],
    ['bundler', 'esnext'],
  ]) {
    test(`TypeScript takes the README's example, strictly, with moduleResolution ${resolution}`, () => {
      const folder = join(esm.folder, resolution)
      mkdirSync(folder)
      writeFileSync(join(folder, 'example.ts'), readme)
      writeFileSync(join(folder, 'wrong.ts'), readme.replace("event: 'Order", "evnt: 'Order"))
      const tsc = join(root, 'node_modules/typescript/bin/tsc')
      const options = ['--strict', '--target', 'es2022', '--module', module, '--moduleResolution', resolution]
      const types = ['--typeRoots', join(root, 'node_modules/@types'), '--types', 'node']
      run(process.execPath, [tsc, ...options, ...types, 'example.ts'], { cwd: folder })
      assert.equal(run(join(bin, 'node'), ['example.js'], { cwd: folder }), '200\n')
      const wrong = spawnSync(process.execPath, [tsc, ...options, ...types, '--noEmit', 'wrong.ts'], {
        cwd: folder,
        encoding: 'utf8',
      })
      assert.match(wrong.stdout, /'evnt' does not exist/)
    })
  }

  test('each worker thread has a client of its own', () => {
    writeFileSync(
      join(esm.folder, 'workers.js'),
      `import { once } from 'node:events'
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { Client } from 'intilery'
import { Sandbox } from 'intilery/testing'
if (isMainThread) {
  const sandbox = await Sandbox.start({ rateLimit: 0 })
  const options = { clientId: 'hea', accountId: 'hea', brandId: 'HEA', authToken: 'sandbox-token', endpoint: sandbox.url }
  const workers = Array.from({ length: 4 }, () => new Worker(new URL(import.meta.url), { workerData: options }))
  console.log(...(await Promise.all(workers.map((worker) => once(worker, 'exit')))).flat(), sandbox.eventCount())
  await sandbox.stop()
} else {
  const client = new Client(workerData)
  for (let i = 0; i < 100; ++i) client.track({ userId: 'u' + i, event: 'E' })
  await client.close()
}
`,
    )
    assert.equal(run(join(bin, 'node'), ['workers.js'], { cwd: esm.folder }), '0 0 0 0 400\n')
  })

  const nodes = join(root, 'build/packages/nodes/node_modules')
  for (const major of [18, 22, 24]) {
    test(`the same binary runs in Node ${major}`, () => {
      const node = join(nodes, `node${major}/bin/node`)
      writeFileSync(join(esm.folder, 'version.js'), `${readme}\nconsole.log(process.versions.node.split('.')[0])`)
      assert.equal(run(node, ['version.js'], { cwd: esm.folder }), `200\n${major}\n`)
    })
  }

  test('it carries its licence, and the notices and licences of what is inside', () => {
    assert.match(readFileSync(join(esm.installed, 'LICENSE'), 'utf8'), /MIT License/)
    const notice = readFileSync(join(esm.installed, 'NOTICE.md'), 'utf8')
    const licences = readdirSync(join(esm.installed, 'licences'))
    for (const [name, source] of Object.entries({
      libcurl: 'curl',
      simdjson: 'simdjson',
      hiredis: 'hiredis',
      RE2: 're2',
      LibYAML: 'libyaml',
      SQLite: 'sqlite3',
      OpenSSL: 'openssl',
      nghttp2: 'nghttp2',
    })) {
      assert.ok(notice.includes(name), `NOTICE.md names ${name}`)
      assert.ok(licences.includes(source), `licences/${source} is there`)
    }
  })

  test('it holds what it needs, and nothing of the machine that it was made on', () => {
    const held = lines('tar', '-tzf', tarball)
    for (const needed of [
      'package.json',
      'CMakeLists.txt',
      'node/index.d.ts',
      'core/include/intilery/intilery.hpp',
      `node/prebuilds/${target}/intilery.node`,
    ]) {
      assert.ok(held.includes(`package/${needed}`), needed)
    }
    assert.deepEqual(
      held.filter(
        (file) =>
          !/^package\/(CMakeLists\.txt|LICENSE|NOTICE\.md|README\.md|package\.json|(bindings\/node|core|licences|node|node_modules|python\/intilery)\/.*)$/.test(
            file,
          ),
      ),
      [],
    )
    for (const file of addons(esm.installed)) {
      assert.ok(!readFileSync(file).includes(root), `${file} names ${root}`)
    }
    assert.ok(statSync(tarball).size < 6_000_000, `${statSync(tarball).size} bytes`)
  })
})

describe('its binaries', { skip: process.platform !== 'linux' }, () => {
  const folder = join(work, 'unpacked')
  before(() => {
    mkdirSync(folder)
    execFileSync('tar', ['-xzf', tarball, '-C', folder, 'package/node/prebuilds'])
  })
  const found = () => addons(join(folder, 'package'))

  test('need the C library and nothing else of the system', () => {
    assert.equal(found().length, 2)
    for (const file of found()) {
      const needed = lines('ldd', file).map((line) => line.trim().split(' ')[0].split('/').pop())
      assert.deepEqual(
        needed.filter((name) => !/^(linux-vdso|ld-linux-.*|lib(c|m|dl|pthread|rt))\.so/.test(name)),
        [],
      )
    }
  })

  test('run from glibc 2.31 on', () => {
    for (const file of found()) {
      const versions = lines('objdump', '-T', file).flatMap((line) => line.match(/GLIBC_2\.(\d+)/)?.[1] ?? [])
      assert.ok(
        Math.max(...versions.map(Number)) <= 31,
        `${file} asks for glibc 2.${Math.max(...versions.map(Number))}`,
      )
    }
  })

  // So one binary serves every Node >= 18, and what else has Node-API: Electron, Bun, Deno.
  test('ask their host for Node-API 8 alone: no symbol of V8, libuv or Node', () => {
    const nodeApi = new Set(Object.values(require('node-api-headers').symbols.v8).flat())
    for (const file of found()) {
      // Weak ones (w) may be missing.
      const asked = lines('nm', '-D', '--undefined-only', file).filter((line) => !/@GLIBC_|\bw /.test(line))
      const names = asked.map((line) => line.trim().split(' ').pop())
      assert.deepEqual(
        names.filter((name) => !nodeApi.has(name)),
        [],
      )
      assert.ok(names.includes('napi_create_function'))
    }
  })

  // Electron has no memory outside of V8's cage for them.
  test('hand V8 no memory of their own', () => {
    for (const file of found()) {
      assert.deepEqual(
        lines('nm', '-D', '--undefined-only', file).filter((line) =>
          /napi_create_external_(buffer|arraybuffer)/.test(line),
        ),
        [],
      )
    }
  })

  test('show nothing but what Node looks for', () => {
    for (const file of found()) {
      const shown = lines('nm', '-D', '--defined-only', file).map((line) => line.split(' ').pop())
      assert.deepEqual(
        shown.filter((name) => !/^(napi_register_module_v1|node_api_module_get_api_version_v1)$/.test(name)),
        [],
      )
    }
  })
})

describe('where the binary does not serve', () => {
  /** The package unpacked, its binaries replaced by what cannot be loaded. */
  function broken(name) {
    const folder = join(work, name)
    mkdirSync(folder)
    execFileSync('tar', ['-xzf', tarball, '-C', folder])
    for (const file of addons(join(folder, 'package'))) writeFileSync(file, 'for another machine')
    return join(folder, 'package')
  }

  test('and nothing to build with either, the install says what is missing', () => {
    const folder = broken('helpless')
    const ended = spawnSync(join(bin, 'node'), ['node/build.cjs'], { cwd: folder, env: bare, encoding: 'utf8' })
    assert.equal(ended.status, 1)
    assert.match(ended.stdout, /built here, from source: .*prebuilds\/.*does not load/)
    assert.match(ended.stderr, /cmake was not found[\s\S]*apt-get install g\+\+/)
  })

  test('and nobody ran the install, the first use says how', () => {
    const folder = broken('untouched')
    const ended = spawnSync(join(bin, 'node'), ['-e', "require('./node/index.cjs').Client.fromEnv()"], {
      cwd: folder,
      env: bare,
      encoding: 'utf8',
    })
    assert.match(ended.stderr, /native module is missing: .*does not load .*run: npm rebuild intilery/)
  })

  test('it is built from the sources in the package, and then runs', () => {
    const folder = broken('source')
    run(process.execPath, ['node/build.cjs'], { cwd: folder, env: { ...process.env, npm_config_offline: 'true' } })
    const consumer = join(work, 'source-consumer')
    mkdirSync(join(consumer, 'node_modules'), { recursive: true })
    cpSync(folder, join(consumer, 'node_modules/intilery'), { recursive: true })
    writeFileSync(join(consumer, 'example.mjs'), readme)
    assert.equal(run(join(bin, 'node'), ['example.mjs'], { cwd: consumer }), '200\n')
  })
})
