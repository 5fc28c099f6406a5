/** What `import … from 'intilery'` gives: the same objects as `require('intilery')`. */

import intilery from './index.cjs'

export const {
  Client,
  IntileryError,
  ConfigurationError,
  ValidationError,
  QueueFullError,
  ClosedError,
  DeliveryError,
  AuthError,
  TimeoutError,
  SpoolError,
  diagnose,
  optionList,
  version,
} = intilery
