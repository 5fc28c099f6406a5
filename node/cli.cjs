#!/usr/bin/env node
'use strict'
/** `npx intilery`. */

const { parseArgs } = require('node:util')
const { load } = require('./native.cjs')
const { version } = require('../package.json')

/** Each gets the arguments after its name, and gives its exit code. */
const commands = {
  sandbox: (args) => load('intilery_sandbox').runCommand('intilery sandbox', args),
  doctor: (args) => require('./doctor.cjs').run(args),
  send: (args) => require('./send_command.cjs').send(args),
}

const help = `usage: intilery COMMAND [options]

Commands:
  doctor     find what keeps a client from delivering
  sandbox    run a stand-in for the service
  send       send the lines of an NDJSON file as events
\`intilery COMMAND --help\` has its options.

Options:
  --help, --version`

async function main([command, ...rest]) {
  if (Object.hasOwn(commands, command ?? '')) return commands[command](rest)
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
    return 0
  } catch (error) {
    console.error(`intilery: ${error.message}\n${help}`)
    return 2
  }
}

main(process.argv.slice(2)).then((code) => {
  process.exitCode = code
})
