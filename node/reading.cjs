'use strict'

/** What is read back, one at a time; a page whenever one is needed. */
class Reading {
  #more
  #page = []
  #place = 0
  #ended = false
  /** Calls of `next` wait for each other: a page is for all of them. */
  #last = Promise.resolve()

  /** @param {() => Promise<any[]>} more gets some more; none: there are no more */
  constructor(more) {
    this.#more = more
  }

  next() {
    const taken = this.#last.then(() => this.#take())
    this.#last = taken.catch(() => {})
    return taken
  }

  async #take() {
    if (this.#place === this.#page.length && !this.#ended) {
      this.#page = await this.#more()
      this.#place = 0
      this.#ended = this.#page.length === 0
    }
    if (this.#ended) return { done: true, value: undefined }
    return { done: false, value: this.#page[this.#place++] }
  }

  [Symbol.asyncIterator]() {
    return this
  }

  async toArray() {
    const list = []
    for await (const one of this) list.push(one)
    return list
  }
}

const dateOf = (ms) => (ms === null ? undefined : new Date(ms))

function eventOf(given) {
  given.eventTime = dateOf(given.eventTime)
  given.receivedTime = dateOf(given.receivedTime)
  given.userId ??= undefined
  return given
}

function profileOf({ id, userId, traits, meta }) {
  return { id: id ?? undefined, userId: userId ?? undefined, traits: traits ?? {}, meta: meta ?? {} }
}

module.exports = { Reading, eventOf, profileOf }
