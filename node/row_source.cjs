'use strict'
/** Where the rows of `sendMany` come from. */

const { createHash } = require('node:crypto')
const { createReadStream } = require('node:fs')
const { open, stat } = require('node:fs/promises')
const { basename, extname } = require('node:path')
const { fileURLToPath } = require('node:url')
const { pipeline } = require('node:stream/promises')
const { types } = require('node:util')
const zlib = require('node:zlib')
const { load } = require('./native.cjs')
const { refuse } = require('./plan.cjs')

const { countRows } = load('intilery')

/** Read at once. The event loop waits while its lines are looked at, a millisecond or so. */
const pieceSize = 1 << 18

/** So much of a file's beginning tells whether it is the same one. */
const headSize = 1 << 16

/** A path of the source, or undefined if it is something else. */
function pathOf(source) {
  if (typeof source === 'string') return source
  return source instanceof URL ? fileURLToPath(source) : undefined
}

/** The stream that unpacks a file of that name, if there is one. */
function unpacker(path) {
  switch (extname(path).toLowerCase()) {
    case '.gz':
      return zlib.createGunzip({ chunkSize: pieceSize })
    case '.zst':
      if (zlib.createZstdDecompress === undefined) {
        throw refuse('source', 'unsupported_type', `${path}: this Node has no zstd (22.15 and later have); unpack it`)
      }
      return zlib.createZstdDecompress({ chunkSize: pieceSize })
    default:
      return undefined
  }
}

function checkFormat(path, format) {
  const packed = ['.gz', '.zst'].includes(extname(path).toLowerCase())
  const kind = format ?? extname(packed ? path.slice(0, path.lastIndexOf('.')) : path).toLowerCase()
  if (['ndjson', '.ndjson', '.jsonl'].includes(kind)) return
  throw refuse(
    'format',
    format === undefined ? 'required' : 'invalid_value',
    `${path}: sendMany reads NDJSON; say format: 'ndjson' if it is that (the Python package reads CSV and Parquet, too)`,
  )
}

const unreadable = (path, error) => refuse('source', 'unreadable', `${path} cannot be read: ${error.message}`)

/** The pieces of a file, unpacked. What ends too early is an error. */
async function* pieces(path, signal) {
  const file = createReadStream(path, { highWaterMark: pieceSize })
  const unpacked = unpacker(path)
  const done = unpacked === undefined ? undefined : pipeline(file, unpacked)
  done?.catch(() => {})
  try {
    for await (const piece of unpacked ?? file) {
      signal?.throwIfAborted()
      yield piece
    }
    await done
  } catch (error) {
    throw signal?.aborted ? error : unreadable(path, error)
  } finally {
    file.destroy()
  }
}

function* slices(bytes) {
  for (let from = 0; from < bytes.length; from += pieceSize) yield bytes.subarray(from, from + pieceSize)
}

/** What tells that a file is still the same one, though it may have grown. */
async function headOf(path, size = headSize) {
  const file = await open(path)
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(size), 0, size, 0)
    const sha256 = createHash('sha256').update(buffer.subarray(0, bytesRead)).digest('hex')
    return { size: (await file.stat()).size, start: bytesRead, sha256 }
  } finally {
    await file.close()
  }
}

/** Whether a file is the one of an earlier `headOf`. */
async function isSame(path, head) {
  const now = await headOf(path, head.start)
  return now.size >= head.size && now.sha256 === head.sha256
}

/**
 * Reads a file once before anything is sent: that finds one that is cut short, and counts the rows.
 *
 * @returns a source, as `openSource` does
 */
async function openFile(path, format, signal) {
  const found = await stat(path).catch(() => undefined)
  if (!found?.isFile()) throw refuse('source', 'not_found', `there is no file ${path}`)
  checkFormat(path, format)
  const counter = countRows()
  for await (const piece of pieces(path, signal)) counter.feed(piece)
  const { rows, names } = counter.end()
  if (names.length === 0) throw refuse('source', 'empty', `${path} has no JSON object in its first 100 lines`)
  return { path, name: basename(path), names, total: rows, head: await headOf(path), items: pieces(path, signal) }
}

/**
 * Finds out what a source is.
 *
 * @returns its `items`: bytes that are pieces of text, and rows; `textIsBytes` if text is pieces, too, and not one row.
 *   Of a file also `path`, `name`, `names` of its columns, `total` of its rows, and `head`.
 */
async function openSource(source, format, signal) {
  const path = pathOf(source)
  if (path !== undefined) return openFile(path, format, signal)
  if (types.isUint8Array(source)) return { items: slices(source), textIsBytes: true }
  if (typeof source?.getReader === 'function') return { items: source, textIsBytes: true }
  if (typeof source?.pipe === 'function') return { items: source, textIsBytes: !source.readableObjectMode }
  if (typeof source?.[Symbol.asyncIterator] === 'function' || typeof source?.[Symbol.iterator] === 'function') {
    const total = Array.isArray(source) ? source.length : undefined
    return { items: source, textIsBytes: false, total }
  }
  throw refuse('source', 'wrong_type', 'a source is a path, a stream, or an iterable of objects')
}

module.exports = { isSame, openSource, pathOf }
