'use strict'
/** What of a row says what: the options of `sendMany` that mean members of rows. docs/data.md has each. */

const { readFile } = require('node:fs/promises')
const { extname } = require('node:path')
const { ConfigurationError } = require('./errors.cjs')
const { load } = require('./native.cjs')

const { didYouMean } = load('intilery')

const actions = ['identify', 'track', 'page', 'screen']

/** In this order, as the Python package has them. */
const planNames = [
  'action',
  'event',
  'userId',
  'anonymousId',
  'eventColumn',
  'timestamp',
  'messageId',
  'properties',
  'exclude',
  'format',
  'sourceId',
]
const lists = new Set(['properties', 'exclude'])

/** Of Python's `send_many`, and not here. */
const elsewhere = new Set(['timestampFormat', 'timezone', 'sql', 'delimiter'])

const camelCase = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase())
const snakeCase = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

const refuse = (option, code, message) => new ConfigurationError({ code, path: option, message })

/** A name that is no option. */
function unknown(option, name, names, what = `${option} is no option of sendMany`) {
  const hint = elsewhere.has(name)
    ? ': the Python package reads CSV, queries and times in other forms (intilery send)'
    : didYouMean(name, names)
  return refuse(option, 'unknown_option', `${what}${hint}`)
}

async function readMapping(mapping) {
  let read = mapping
  if (typeof mapping === 'string') {
    if (extname(mapping) !== '.json') throw refuse('mapping', 'invalid_value', 'a mapping is an object or a JSON file')
    try {
      read = JSON.parse(await readFile(mapping, 'utf8'))
    } catch (error) {
      throw refuse('mapping', 'unreadable', `the mapping ${mapping} cannot be read: ${error.message}`)
    }
  }
  if (typeof read !== 'object' || read === null || Array.isArray(read)) {
    throw refuse('mapping', 'wrong_type', 'a mapping must be one object, of names to columns')
  }
  // One file serves both languages.
  return Object.fromEntries(Object.entries(read).map(([name, value]) => [camelCase(name), value]))
}

/** The plan of the options that were given, over what `mapping` says. */
async function makePlan(given, mapping) {
  const merged = mapping === undefined || mapping === null ? {} : await readMapping(mapping)
  for (const name of Object.keys(merged)) {
    if (!planNames.includes(name)) throw unknown('mapping', name, planNames, `the mapping has no "${name}"`)
  }
  const plan = { action: 'track' }
  for (const name of planNames) {
    const value = given[name] ?? merged[name] ?? undefined
    if (value === undefined) continue
    const right = lists.has(name)
      ? Array.isArray(value) && value.every((column) => typeof column === 'string')
      : typeof value === 'string'
    if (!right) {
      const kind = lists.has(name) ? 'an array of names' : 'text'
      throw refuse(name, 'wrong_type', `${name} must be ${kind}`)
    }
    plan[name] = value
  }
  if (!actions.includes(plan.action)) {
    throw refuse('action', 'invalid_value', `action must be one of ${actions.join(', ')}, not "${plan.action}"`)
  }
  for (const name of ['event', 'eventColumn']) {
    if (plan.action !== 'track' && plan[name] !== undefined) {
      throw refuse(name, 'invalid_value', `${name} is for action: 'track'; ${plan.action} has its own event name`)
    }
  }
  if (plan.event !== undefined && plan.eventColumn !== undefined) {
    throw refuse('event', 'invalid_value', 'give event, or eventColumn, and not both')
  }
  if (plan.properties !== undefined && plan.exclude?.length > 0) {
    throw refuse('exclude', 'invalid_value', 'give properties, or exclude, and not both')
  }
  return plan
}

/** The plan as a checkpoint has it. */
function planText(plan) {
  return JSON.stringify(Object.fromEntries(planNames.map((name) => [snakeCase(name), plan[name] ?? null])))
}

/**
 * Finds the plan's columns among a source's. One that has its option's own name need not be named, in either style.
 *
 * @returns the columns as bindings/node/row_sender.cpp takes them
 */
function resolve(plan, columns) {
  const known = (option, name) => {
    if (columns.includes(name)) return name
    const there = columns.slice(0, 20).join(', ') + (columns.length > 20 ? ', …' : '')
    const near = didYouMean(name, columns)
    throw refuse(option, 'unknown_column', `${option}: the source has no column "${name}"${near}; it has ${there}`)
  }
  const find = (name) => [name, snakeCase(name)].find((style) => columns.includes(style))
  const found = {}
  for (const name of ['userId', 'anonymousId', 'timestamp', 'messageId']) {
    found[name] = plan[name] === undefined ? find(name) : known(name, plan[name])
  }
  if (plan.eventColumn !== undefined) {
    found.event = known('eventColumn', plan.eventColumn)
  } else if (plan.action === 'track' && plan.event === undefined) {
    found.event = find('event')
    if (found.event === undefined) {
      throw refuse('event', 'required', "give event, the events' name, or eventColumn, the column that has it")
    }
  }
  if (found.userId === undefined && found.anonymousId === undefined) known('userId', 'userId')
  const only = plan.properties !== undefined
  const listed = (plan.properties ?? plan.exclude ?? []).map((name) => known(only ? 'properties' : 'exclude', name))
  return { ...found, only, listed }
}

module.exports = { camelCase, makePlan, planNames, planText, refuse, resolve, unknown }
