/** What `import … from 'intilery/otel'` gives. */

import otel from './otel.cjs'

export const { instrument } = otel
