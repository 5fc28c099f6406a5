'use strict'
/** A client's counters as OpenTelemetry metrics; documented in otel.d.ts. */

const metricList = require('../python/intilery/metrics.json')
const { version } = require('../package.json')

function load() {
  try {
    return require('@opentelemetry/api')
  } catch (cause) {
    if (cause.code !== 'MODULE_NOT_FOUND') throw cause
    throw new Error('intilery/otel needs OpenTelemetry: npm install @opentelemetry/api', { cause })
  }
}

const { metrics } = load()

const states = ['running', 'paused: auth', 'paused: rate', 'paused: unreachable', 'closed']

const create = {
  counter: 'createObservableCounter',
  up_down_counter: 'createObservableUpDownCounter',
  gauge: 'createObservableGauge',
}

/** A metric's value as `[label, number]` pairs, one without a label if it has no parts. */
function parts({ field, attribute }, stats) {
  const value = stats[field.replace(/_(.)/g, (_, letter) => letter.toUpperCase())]
  if (attribute === undefined) return [[undefined, value]]
  if (field === 'state') return states.map((state) => [state, Number(state === value)])
  return Object.entries(value).map(([key, count]) => [field === 'requests' ? Number(key) : key, count])
}

/** A meter provider's instruments, and the clients that they observe. */
class Instruments {
  watched = new Set()
  #instruments
  /** All that was ever observed, as the SDK remembers it too. */
  #sums = new Map()

  constructor(provider) {
    const meter = provider.getMeter('intilery', version)
    this.#instruments = metricList.map(({ name, kind, unit, description }) =>
      meter[create[kind]](name, { unit, description }),
    )
    meter.addBatchObservableCallback((result) => this.#observe(result), this.#instruments)
  }

  #observe(result) {
    for (const sum of this.#sums.values()) sum.value = undefined
    for (const watch of this.watched) {
      const stats = watch.client.deref()?.stats()
      if (stats === undefined) {
        this.watched.delete(watch)
      } else {
        this.#add(stats, watch.attributes)
      }
    }
    // The SDK repeats the last value of what is not observed: right for a counter, but no client is in a state any more.
    for (const { index, attributes, value } of this.#sums.values()) {
      const left = metricList[index].kind === 'counter' ? value : (value ?? 0)
      if (left !== undefined) result.observe(this.#instruments[index], left, attributes)
    }
  }

  #add(stats, own) {
    metricList.forEach((metric, index) => {
      for (const [label, value] of parts(metric, stats)) {
        const attributes = label === undefined ? own : { ...own, [metric.attribute]: label }
        const key = JSON.stringify([index, Object.entries(attributes).sort()])
        const sum = this.#sums.get(key)
        if (sum === undefined) {
          this.#sums.set(key, { index, attributes, value })
        } else {
          sum.value = (sum.value ?? 0) + value
        }
      }
    })
  }
}

/** By meter provider: a second set of instruments would replace what the first observes. */
const instruments = new WeakMap()

function instrument(client, { meterProvider = metrics.getMeterProvider(), attributes = {} } = {}) {
  if (!instruments.has(meterProvider)) instruments.set(meterProvider, new Instruments(meterProvider))
  const { watched } = instruments.get(meterProvider)
  const watch = { client: new WeakRef(client), attributes: { ...attributes } }
  watched.add(watch)
  return {
    stop() {
      watched.delete(watch)
    },
  }
}

module.exports = { instrument }
