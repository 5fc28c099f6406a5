'use strict'
/** Builds the native modules into build/node; npm runs it at install. `--force` builds even if they are there. */

const { spawnSync } = require('node:child_process')
const { rmSync } = require('node:fs')
const { availableParallelism, cpus } = require('node:os')
const { join } = require('node:path')

const root = join(__dirname, '..')
const directory = join(root, 'build', 'node-cmake')
const { version } = require('../package.json')

function isBuilt() {
  try {
    require('../build/node/intilery_sandbox.node')
    return require('../build/node/intilery.node').version === version
  } catch {
    return false
  }
}

function run(...args) {
  const { status, error } = spawnSync('cmake', args, { cwd: root, stdio: 'inherit' })
  if (error?.code === 'ENOENT') {
    fail('cmake was not found')
  } else if (status !== 0) {
    fail(`cmake ${args[0]} failed, see above`)
  }
}

function fail(why) {
  console.error(`intilery: the native modules could not be built: ${why}.
They need cmake >= 3.22, a C++20 compiler and these packages (Debian, Ubuntu):
  apt-get install g++ make cmake pkg-config libcurl4-openssl-dev nlohmann-json3-dev libsimdjson-dev libsqlite3-dev libhiredis-dev libre2-dev libyaml-dev libcpp-httplib-dev libcli11-dev`)
  process.exit(1)
}

const force = process.argv.includes('--force')
if (force || !isBuilt()) {
  const hasNinja = spawnSync('ninja', ['--version']).status === 0
  run(
    ...(hasNinja ? ['-G', 'Ninja'] : []),
    '-S',
    root,
    '-B',
    directory,
    '-DINTILERY_BUILD_NODE=ON',
    '-DINTILERY_INSTALL=OFF',
    '-DINTILERY_WERROR=OFF',
    '-DCMAKE_BUILD_TYPE=Release',
  )
  run('--build', directory, '--parallel', String(availableParallelism?.() ?? cpus().length))
  // Five times as large as all that is used. Whoever builds by hand builds again.
  if (!force) rmSync(directory, { recursive: true, force: true })
}
