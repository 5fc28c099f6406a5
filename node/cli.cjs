#!/usr/bin/env node
'use strict'
/** `npx intilery sandbox`, `npx intilery doctor`. */

const { parseArgs } = require('node:util')
const { load } = require('./native.cjs')
const { version } = require('../package.json')

const help = `usage: intilery sandbox [options]

Commands:
  doctor     find what keeps a client from delivering; \`intilery doctor --help\` has its options
  sandbox    run a stand-in for the service; \`intilery sandbox --help\` has its options

Options:
  --help, --version`

const [command, ...rest] = process.argv.slice(2)
if (command === 'sandbox') {
  process.exitCode = load('intilery_sandbox').runCommand('intilery sandbox', rest)
} else if (command === 'doctor') {
  require('./doctor.cjs').run(rest)
} else {
  const options = { help: { type: 'boolean', short: 'h' }, version: { type: 'boolean' } }
  try {
    const { values, positionals } = parseArgs({ options, allowPositionals: true })
    if (values.version) {
      console.log(version)
    } else if (values.help) {
      console.log(help)
    } else {
      throw new Error(positionals.length > 0 ? `there is no command "${positionals[0]}"` : 'a command is missing')
    }
  } catch (error) {
    console.error(`intilery: ${error.message}\n${help}`)
    process.exitCode = 2
  }
}
