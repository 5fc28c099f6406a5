/** What `import … from 'intilery/testing'` gives. */

import testing from './testing.cjs'

export const { MemoryClient, Sandbox, useSandbox } = testing
