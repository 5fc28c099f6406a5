'use strict'
/** The reject file of `sendMany`: a line of JSON for each row that was not delivered. */

const { createReadStream } = require('node:fs')
const { open, rename, rm, stat } = require('node:fs/promises')
const { createInterface } = require('node:readline')

/** The row as JSON text of one line: as it is, or as a JSON string. */
function asJson(text) {
  try {
    JSON.parse(text)
    if (!text.includes('\n')) return text
  } catch {
    // It is no JSON.
  }
  return JSON.stringify(text)
}

class RejectFile {
  #isDone
  #file

  /** @param isDone of the rows of an earlier run, whether they stay; the others will be sent again. None: all are new */
  constructor(path, isDone) {
    this.path = path
    this.#isDone = isDone
  }

  /** Opens the file of an earlier run, if there is one. */
  async resume() {
    if (this.#isDone !== undefined && (await stat(this.path).catch(() => undefined))) await this.#open()
  }

  /** Whether there is one. */
  get written() {
    return this.#file !== undefined
  }

  /** Adds lines: what is known of a row, and its text. The file is made when the first one is. */
  async write(rejects) {
    await this.#open()
    const lines = rejects.map(
      ({ text, ...known }) => `${JSON.stringify(known).slice(0, -1)},"values":${asJson(text)}}\n`,
    )
    await this.#file.write(lines.join(''))
  }

  async close() {
    await this.#file?.close()
  }

  async #open() {
    if (this.#file !== undefined) return
    const fresh = `${this.path}.new`
    await rm(fresh, { force: true }) // a killed run's, or anybody's: then its mode is its own
    const file = await open(fresh, 'wx', 0o600) // it holds customers' data
    try {
      for await (const line of this.#kept()) await file.write(`${line}\n`)
      await rename(fresh, this.path)
    } catch (error) {
      await file.close()
      throw error
    }
    this.#file = file
  }

  async *#kept() {
    if (this.#isDone === undefined || !(await stat(this.path).catch(() => undefined))) return
    for await (const line of createInterface({
      input: createReadStream(this.path),
      crlfDelay: Number.POSITIVE_INFINITY,
    })) {
      try {
        if (this.#isDone(JSON.parse(line).row)) yield line
      } catch {
        // A line that the end of the earlier run has cut.
      }
    }
  }
}

module.exports = { RejectFile }
