'use strict'
/** What `require('intilery')` gives; documented in index.d.ts. */

const client = require('./client.cjs')
const errors = require('./errors.cjs')

module.exports = {
  Client: client.Client,
  IntileryError: errors.IntileryError,
  ConfigurationError: errors.ConfigurationError,
  ValidationError: errors.ValidationError,
  QueueFullError: errors.QueueFullError,
  ClosedError: errors.ClosedError,
  DeliveryError: errors.DeliveryError,
  AuthError: errors.AuthError,
  TimeoutError: errors.TimeoutError,
  SpoolError: errors.SpoolError,
  diagnose: client.diagnose,
  get optionList() {
    return client.optionList
  },
  get version() {
    return client.version
  },
}
