// Raw JSON, indented, with one place in it marked. Everything is put in as text, so hostile content stays text.

/** `batch[3].traits.email must be …` begins with its place. */
export function placeIn(message) {
  const found = /^[A-Za-z_$][\w$-]*(\[\d+\])?(\.[\w$-]+(\[\d+\])?)*/.exec(message ?? '')
  return found === null ? [] : found[0].split(/[.[\]]+/).filter((part) => part !== '')
}

/** The deepest part of the place that is there. */
function known(value, place) {
  const parts = []
  for (const part of place) {
    if (value === null || typeof value !== 'object' || !Object.hasOwn(value, part)) break
    parts.push(part)
    value = value[part]
  }
  return parts
}

function lines(value, place, depth, lead, out) {
  const pad = '  '.repeat(depth)
  const isMark = place !== undefined && place.length === 0
  const put = (text) => out.push({ text, mark: isMark })
  if (value === null || typeof value !== 'object' || Object.keys(value).length === 0) {
    put(`${pad}${lead}${JSON.stringify(value)}`)
    return
  }
  const isArray = Array.isArray(value)
  put(`${pad}${lead}${isArray ? '[' : '{'}`)
  const entries = Object.entries(value)
  for (const [i, [key, member]] of entries.entries()) {
    const next = place !== undefined && place.length > 0 && place[0] === key ? place.slice(1) : undefined
    const before = out.length
    lines(member, isMark ? [] : next, depth + 1, isArray ? '' : `${JSON.stringify(key)}: `, out)
    if (i + 1 < entries.length) out[out.length - 1].text += ','
    if (out.length > 5000 && before < out.length) break
  }
  put(`${pad}${isArray ? ']' : '}'}`)
}

export function Json({ text, message }) {
  let value
  try {
    value = JSON.parse(text)
  } catch {
    return <pre class="json">{text}</pre>
  }
  const place = placeIn(message)
  const found = known(value, place)
  const out = []
  lines(value, found.length > 0 ? found : undefined, 0, '', out)
  const shown = out.slice(0, 5000)
  return (
    <pre class="json">
      {shown.map(({ text, mark }, i) => (
        <div key={i} class={mark ? 'mark' : undefined}>
          {text}
        </div>
      ))}
      {out.length > shown.length && <div class="note">… and more</div>}
    </pre>
  )
}
