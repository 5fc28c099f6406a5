/** What `import … from 'intilery/compat/segment'` gives. */

import segment from './segment.cjs'

export const { Analytics, Context } = segment
export default Analytics
