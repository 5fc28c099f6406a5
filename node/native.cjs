'use strict'
/** Loads the addons: those that node/build.cjs built here, or else those that came with the package. */

const { existsSync, readdirSync } = require('node:fs')
const { join } = require('node:path')

/** Which binaries serve here: `linux-x64`, `linux-arm64-musl`. */
function host() {
  const name = `${process.platform}-${process.arch}`
  // Node takes milliseconds to say which C library it runs on. Where there is no musl it need not be asked.
  if (process.platform !== 'linux' || !existsSync('/lib')) return name
  if (!readdirSync('/lib').some((file) => file.startsWith('ld-musl-'))) return name
  return /** @type {any} */ (process.report.getReport()).header.glibcVersionRuntime ? name : `${name}-musl`
}

const prebuilds = join(__dirname, 'prebuilds')
const loaded = new Map()

/**
 * @param {'intilery' | 'intilery_sandbox'} name
 * @returns {any} the addon's exports
 */
function load(name) {
  if (loaded.has(name)) return loaded.get(name)
  const reasons = []
  let cause
  for (const folder of [join(__dirname, '..', 'build', 'node'), join(prebuilds, host())]) {
    const path = join(folder, `${name}.node`)
    if (!existsSync(path)) continue
    try {
      const addon = require(path)
      // A system without ca-certificates, as the slim images of Node are. Node has its own.
      if (addon.lacksCertificates?.()) addon.setCertificates(require('node:tls').rootCertificates.join('\n'))
      loaded.set(name, addon)
      return addon
    } catch (error) {
      cause = error
      reasons.push(`${path} does not load (${error.message})`)
    }
  }
  if (reasons.length === 0) {
    const there = existsSync(prebuilds) ? readdirSync(prebuilds).join(', ') : 'none'
    reasons.push(`none was built for ${host()} (prebuilt: ${there})`)
  }
  const reason = reasons.join('; ')
  const hint = 'run: npm rebuild intilery --foreground-scripts'
  throw Object.assign(new Error(`intilery: its native module is missing: ${reason}; ${hint}`, { cause }), { reason })
}

module.exports = { load }
