'use strict'
/** `npx intilery doctor`. */

const { parseArgs } = require('node:util')
const { diagnose } = require('./client.cjs')
const { IntileryError } = require('./errors.cjs')

const help = `usage: intilery doctor [options]

Find what keeps a client from delivering, and say what to do: the options, the address, TLS, the token and its
rights, the clock, the limits and the spool, as Client.fromEnv() would have them. Sends no event: it reads one event
back, and posts an empty batch.

Options:
  --json                               report in JSON, for programs
  --client-id, --account-id,           over INTILERY_CLIENT_ID and so on
  --brand-id, --endpoint TEXT
  --help

Exit codes: 0 a client would deliver, if perhaps with warnings; 1 a check failed; 2 an option cannot be read.`

const account = { 'client-id': 'clientId', 'account-id': 'accountId', 'brand-id': 'brandId', endpoint: 'endpoint' }
const colours = { ok: 32, warning: 33, failed: 31, skipped: 90 }

/** @returns {string[]} lines that are broken between words */
function wrapped(text, width) {
  const lines = ['']
  for (const word of text.split(' ')) {
    const line = lines[lines.length - 1]
    if (line !== '' && line.length + 1 + word.length > width) lines.push(word)
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`
  }
  return lines
}

function print(checks) {
  const { stdout } = process
  const coloured = stdout.isTTY && !process.env.NO_COLOR && stdout.hasColors()
  const paint = (text, result) => (coloured ? `\u001b[${colours[result]}m${text}\u001b[39m` : text)
  const left = 27
  const width = stdout.isTTY ? Math.max(left + 20, stdout.columns) - left : Number.POSITIVE_INFINITY
  for (const { name, result, message, advice } of checks) {
    const lines = wrapped(message, width)
    if (advice !== '' && result !== 'ok') lines.push(...wrapped(`-> ${advice}`, width))
    const text = lines.join(`\n${' '.repeat(left)}`)
    stdout.write(`${paint(result.padEnd(9), result)}${name.padEnd(left - 9)}${text}\n`)
  }
  const count = (result) => checks.filter((check) => check.result === result).length
  const counted = (result, word) => `${count(result)} ${word}${count(result) === 1 ? '' : 's'}`
  if (count('failed') > 0) {
    stdout.write(`${counted('failed', 'check')} failed: a client would not deliver, or not as its options ask.\n`)
  } else if (count('warning') > 0) {
    stdout.write(`A client would deliver; see the ${counted('warning', 'warning')}.\n`)
  } else {
    stdout.write('A client would deliver.\n')
  }
}

/** @param {string[]} args behind `doctor` */
/** @returns {Promise<number>} its exit code */
async function run(args) {
  let json = args.includes('--json')
  try {
    const flags = { json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } }
    const { values } = parseArgs({
      args,
      options: { ...flags, ...Object.fromEntries(Object.keys(account).map((name) => [name, { type: 'string' }])) },
    })
    json = values.json === true
    if (values.help) {
      console.log(help)
      return 0
    }
    const options = {}
    for (const [flag, name] of Object.entries(account)) if (values[flag] !== undefined) options[name] = values[flag]
    const checks = await diagnose(options)
    const ok = !checks.some((check) => check.result === 'failed')
    if (json) console.log(JSON.stringify({ ok, checks }))
    else print(checks)
    return ok ? 0 : 1
  } catch (error) {
    if (!(error instanceof IntileryError) && !error.code?.startsWith('ERR_PARSE_ARGS')) throw error
    if (json) console.log(JSON.stringify({ error: error.message, code: error.code, exit_code: 2 }))
    else console.error(`intilery doctor: ${error.message}`)
    return 2
  }
}

module.exports = { run }
