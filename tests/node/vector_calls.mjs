// The calls that a case of tests/vectors stands for (see its README).

/** JSON.parse, but `{"$": …}` stays and a number keeps what only its text says. */
function special(given) {
  switch (given.$) {
    case 'nan':
      return Number.NaN
    case 'infinity':
      return Number.POSITIVE_INFINITY
    case '-infinity':
      return Number.NEGATIVE_INFINITY
    case 'integer':
      return BigInt(given.text)
    case 'double':
      return Number(given.text)
    case 'instant':
      return new Date(given.ms)
    case 'invalid_date':
      return new Date(Number.NaN)
    case 'set':
      return new Set([1])
    case 'bytes':
      return Buffer.from('x')
    case 'function':
      return () => {}
    case 'symbol':
      return Symbol('x')
    case 'undefined':
      return undefined
    case 'map':
      return new Map(given.entries.map(([key, value]) => [key, decoded(value)]))
    case 'int_key':
      return new Map([[1, 'x']])
    case 'cycle': {
      const cycle = {}
      cycle.self = cycle
      return cycle
    }
    case 'nested': {
      let nested = []
      for (let i = 1; i < given.levels; ++i) nested = [nested]
      return nested
    }
    case 'surrogate':
      return '\ud800'
    case 'text':
      return given.repeat.repeat(given.times)
    default:
      throw new Error(`no such value: ${given.$}`)
  }
}

export function decoded(given) {
  if (Array.isArray(given)) return given.map(decoded)
  if (given === null || typeof given !== 'object') return given
  if ('$' in given) return special(given)
  return Object.fromEntries(Object.entries(given).map(([key, value]) => [key, decoded(value)]))
}

export const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase())

export function call(client, { call: name, args }) {
  const given = decoded(args)
  return name === 'send' ? client.send(given.message) : client[camel(name)](given)
}
