'use strict'
/**
 * What can go wrong.
 *
 *     IntileryError
 *      ├─ ConfigurationError   an option is missing or makes no sense
 *      ├─ ValidationError      an event breaks the contract
 *      ├─ QueueFullError       more waits than maxQueueBytes
 *      ├─ ClosedError          the client was closed before the call
 *      ├─ DeliveryError        the event was accepted and will not be sent (again)
 *      │   └─ AuthError        … because the token has no rights
 *      ├─ TimeoutError         a wait ended before what it waited for; nothing is lost
 *      └─ SpoolError           the spool cannot be opened, or an event not be written there
 */

class IntileryError extends Error {
  constructor(info) {
    super(info.message)
    this.code = info.code
  }
}

class ConfigurationError extends IntileryError {
  constructor(info) {
    super(info)
    this.option = info.path
  }
}

class ValidationError extends IntileryError {
  constructor(info) {
    super(info)
    this.path = info.path
    this.errors = info.errors ?? []
  }
}

class QueueFullError extends IntileryError {}

class ClosedError extends IntileryError {}

class DeliveryError extends IntileryError {
  constructor(info) {
    super(info)
    this.reason = info.code
    this.arrived = info.arrived
    this.status = info.status || undefined
    this.attempts = info.attempts
    // The server's answer may repeat what the event holds: there for who asks, not for a log of the whole error.
    Object.defineProperty(this, 'body', { value: info.body, enumerable: false })
  }
}

class AuthError extends DeliveryError {}

class TimeoutError extends IntileryError {}

class SpoolError extends IntileryError {}

const kinds = {
  configuration: ConfigurationError,
  validation: ValidationError,
  queue_full: QueueFullError,
  closed: ClosedError,
  delivery: DeliveryError,
  auth: AuthError,
  timeout: TimeoutError,
  spool: SpoolError,
}

for (const type of [IntileryError, ...Object.values(kinds)]) {
  Object.defineProperty(type.prototype, 'name', { value: type.name, configurable: true, writable: true })
}

/**
 * The error that the core's `ErrorInfo` describes.
 *
 * @param {{kind: string, code: string, message: string, path: string}} info
 * @param {string} [messageId] of the event that failed
 * @param {unknown} [cause] what the program's own function threw
 */
function makeError(info, messageId, cause) {
  const error = new (kinds[info.kind] ?? IntileryError)(info)
  if (messageId) error.messageId = messageId
  if (cause !== undefined) Object.defineProperty(error, 'cause', { value: cause, writable: true, configurable: true })
  return error
}

module.exports = {
  makeError,
  IntileryError,
  ConfigurationError,
  ValidationError,
  QueueFullError,
  ClosedError,
  DeliveryError,
  AuthError,
  TimeoutError,
  SpoolError,
}
