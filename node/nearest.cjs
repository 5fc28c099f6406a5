'use strict'

/** How many letters must change, come or go to make `b` of `a`. */
function distance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; ++i) {
    const next = [i]
    for (let j = 1; j <= b.length; ++j) {
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    row = next
  }
  return row[b.length]
}

/**
 * The candidate that was probably meant, if one is near enough.
 *
 * @param {string} name
 * @param {Iterable<string>} candidates
 * @returns {string | undefined}
 */
function nearest(name, candidates) {
  if (name.length > 100) return undefined
  const plain = (text) => text.toLowerCase().replaceAll('_', '')
  let best
  let least = Math.max(1, Math.floor(name.length / 3)) + 1
  for (const candidate of candidates) {
    const d = distance(plain(name), plain(candidate))
    if (d < least) {
      best = candidate
      least = d
    }
  }
  return best
}

module.exports = { nearest }
