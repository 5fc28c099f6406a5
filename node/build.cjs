'use strict'
/**
 * Builds the native modules into build/node, unless those that came with the package load; npm runs it at install.
 * `--force` builds in any case.
 */

const { spawnSync } = require('node:child_process')
const { rmSync } = require('node:fs')
const { availableParallelism, cpus } = require('node:os')
const { join } = require('node:path')

const root = join(__dirname, '..')
const directory = join(root, 'build', 'node-cmake')
const { version } = require('../package.json')
const { load } = require('./native.cjs')

/** Why there are no modules to use; undefined: there are. */
function missing() {
  try {
    load('intilery_sandbox')
    const built = load('intilery').version
    return built === version ? undefined : `version ${built} is there`
  } catch (error) {
    return error.reason
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
const reason = force ? 'as --force says' : missing()
if (reason !== undefined) {
  if (!force) console.log(`intilery: its native modules are built here, from source: ${reason}`)
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
