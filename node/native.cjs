'use strict'
/** Loads the addons that node/build.cjs built. */

const { join } = require('node:path')

/**
 * @param {'intilery' | 'intilery_sandbox'} name
 * @returns {any} the addon's exports
 */
function load(name) {
  const path = join(__dirname, '..', 'build', 'node', `${name}.node`)
  try {
    const addon = require(path)
    // A system without ca-certificates, as the slim images of Node are. Node has its own.
    if (addon.lacksCertificates?.()) addon.setCertificates(require('node:tls').rootCertificates.join('\n'))
    return addon
  } catch (cause) {
    const why = cause.code === 'MODULE_NOT_FOUND' ? 'was not built' : `does not load (${cause.message})`
    throw new Error(`intilery: its native module ${path} ${why}; run: npm rebuild intilery --foreground-scripts`, {
      cause,
    })
  }
}

module.exports = { load }
