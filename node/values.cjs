'use strict'
/**
 * JavaScript values as exact JSON text.
 *
 * JSON.stringify is the fast way, and writes what it cannot hold as something else: NaN as null, a Map as {}. Where its
 * text is suspicious (bindings/node/suspicion.hpp) or it throws, this serialiser looks at the value itself. For every
 * value that JSON.stringify writes faithfully, the two give the same text.
 */

const { types } = require('node:util')

/** Deepest nesting of one value; the core has the same. */
const maxDepth = 64

/** A value that cannot travel: a code of ValidationError, and what the core needs to say it in words. */
class Refusal extends Error {
  constructor(code, detail) {
    super(code)
    this.code = code
    this.detail = detail
  }
}

// Half of a surrogate pair.
const loneSurrogate = /\p{Surrogate}/u

function writeText(text) {
  if (loneSurrogate.test(text)) throw new Refusal('invalid_text')
  return JSON.stringify(text)
}

/** What JSON.stringify writes as `{}`, and is not an empty object. */
const hidden = [
  [types.isSet, 'Set'],
  [types.isPromise, 'Promise'],
  [types.isRegExp, 'regular expression'],
  [types.isNativeError, 'JavaScript Error'],
  [types.isAnyArrayBuffer, 'binary buffer'],
  [types.isDataView, 'binary buffer'],
  [types.isWeakMap, 'WeakMap'],
  [types.isWeakSet, 'WeakSet'],
  [types.isMapIterator, 'iterator'],
  [types.isSetIterator, 'iterator'],
  [types.isGeneratorObject, 'generator'],
]

function unbox(value) {
  if (types.isNumberObject(value)) return Number(value)
  if (types.isStringObject(value)) return String(value)
  if (types.isBooleanObject(value)) return Boolean.prototype.valueOf.call(value)
  if (types.isBigIntObject(value)) return BigInt.prototype.valueOf.call(value)
  return value
}

/** Calls toJSON as JSON.stringify does. */
function prepare(value, key) {
  const type = typeof value
  if (value === null || (type !== 'object' && type !== 'function' && type !== 'bigint')) return value
  if (Buffer.isBuffer(value) && value.toJSON === Buffer.prototype.toJSON)
    throw new Refusal('unsupported_type', 'Buffer')
  const { toJSON } = value
  if (typeof toJSON === 'function') {
    const result = toJSON.call(value, key)
    if (result === null && types.isDate(value) && Number.isNaN(Date.prototype.getTime.call(value))) {
      throw new Refusal('invalid_date')
    }
    value = result
  }
  return value !== null && typeof value === 'object' ? unbox(value) : value
}

class Writer {
  /** Keys and indices from the outermost value to the one that is being written. */
  path = []
  #open = []
  #levels

  constructor(levels) {
    this.#levels = levels
  }

  /** @returns {string | undefined} JSON text; undefined for what JSON leaves out */
  write(value, key) {
    value = prepare(value, key)
    switch (typeof value) {
      case 'string':
        return writeText(value)
      case 'number':
        if (!Number.isFinite(value)) throw new Refusal('not_finite', value)
        return JSON.stringify(value)
      case 'boolean':
        return value ? 'true' : 'false'
      case 'bigint':
        return value.toString()
      case 'object':
        return value === null ? 'null' : this.#container(value)
      default:
        return undefined
    }
  }

  #container(value) {
    if (this.#open.includes(value)) throw new Refusal('cycle')
    if (this.#open.length >= this.#levels) throw new Refusal('too_deep')
    this.#open.push(value)
    const text = Array.isArray(value) ? this.#array(value) : this.#object(value)
    this.#open.pop()
    return text
  }

  #array(array) {
    const texts = []
    const { length } = array
    for (let index = 0; index < length; ++index) {
      this.path.push(index)
      texts.push(this.write(array[index], String(index)) ?? 'null')
      this.path.pop()
    }
    return `[${texts.join(',')}]`
  }

  #object(object) {
    if (types.isTypedArray(object) && object.length > 0) throw new Refusal('unsupported_type', 'typed array')
    const keys = Object.keys(object)
    if (keys.length === 0) {
      if (types.isMap(object)) return this.#members(Map.prototype.entries.call(object))
      if (types.isTypedArray(object)) throw new Refusal('unsupported_type', 'typed array')
      for (const [is, kind] of hidden) {
        if (is(object)) throw new Refusal('unsupported_type', kind)
      }
    }
    return this.#members(
      keys.map((key) => [key]),
      object,
    )
  }

  /** @param entries [key, value] pairs, or [key] of members of `object`, which are read only now, as JSON.stringify does */
  #members(entries, object) {
    let text = ''
    for (const entry of entries) {
      const [key] = entry
      if (typeof key !== 'string') throw new Refusal('invalid_key', key === null ? 'null' : typeof key)
      const keyText = writeText(key)
      this.path.push(key)
      const value = this.write(object === undefined ? entry[1] : object[key], key)
      this.path.pop()
      if (value !== undefined) text += `${text && ','}${keyText}:${value}`
    }
    return `{${text}}`
  }
}

/**
 * Serialises exactly.
 *
 * @param {unknown} value
 * @param {number} [levels] deepest nesting
 * @returns {string | undefined | [code: string, detail: unknown, ...path: (string | number)[]]} JSON text; undefined for
 *   what JSON leaves out; or why and where the value cannot travel
 */
function serialise(value, levels = maxDepth) {
  const writer = new Writer(levels)
  try {
    return writer.write(value, '')
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return [error.code, error.detail, ...writer.path]
  }
}

/**
 * Whether JSON.stringify writes a value faithfully beyond doubt: plain objects and arrays of texts, finite numbers,
 * booleans and nulls. A null in a text is no more than suspicious, and this costs far less than serialising again.
 *
 * @param {unknown} value
 * @param {unknown} text what JSON.stringify wrote of it, if it wrote anything
 * @param {number} [levels] deepest nesting
 */
function isFaithful(value, text, levels = maxDepth) {
  return typeof text === 'string' && !text.includes('\\ud') && isPlain(value, levels)
}

function isPlain(value, levels) {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return true
    case 'number':
      return Number.isFinite(value)
    case 'object':
      break
    default:
      return false
  }
  if (value === null) return true
  if (levels === 0 || value.toJSON !== undefined) return false
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; ++index) {
      if (!isPlain(value[index], levels - 1)) return false
    }
    return true
  }
  const prototype = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return false
  for (const key in value) {
    const member = value[key]
    if (member !== undefined && !isPlain(member, levels - 1)) return false
  }
  return true
}

module.exports = { isFaithful, maxDepth, serialise }
