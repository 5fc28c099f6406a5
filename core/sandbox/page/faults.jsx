import { useState } from 'preact/hooks'
import { server } from './server.js'

const switches = [
  ['offline', 'Offline', 'every connection is reset'],
  ['limited', '429', 'Limit Exceeded'],
  ['unavailable', '503', 'Unavailable'],
  ['lostAck', 'Lost acknowledgements', 'the events are kept, and the answer is not sent'],
  ['latency', 'Latency', 'before each answer'],
]

const calm = {
  offline: false,
  limited: false,
  unavailable: false,
  lostAck: false,
  latency: false,
  share: 50,
  delay: 500,
}

/** The fault rules that the switches mean. */
export function rulesOf(state) {
  const rules = []
  const wait = state.latency ? { delay_ms: Number(state.delay) } : {}
  const some = { probability: Number(state.share) / 100, seed: 1 }
  if (state.offline) rules.push({ close: 'reset_before' })
  if (state.limited) rules.push({ status: 429, body: '{"message":"Limit Exceeded"}', ...wait, ...some })
  if (state.unavailable) rules.push({ status: 503, body: '{"message":"Unavailable"}', ...wait, ...some })
  if (state.lostAck) rules.push({ lost_ack: true, ...wait, ...some })
  if (state.latency) rules.push(wait)
  return rules
}

/** What the switches would have to be for these rules. */
function stateOf(rules) {
  const state = { ...calm }
  for (const rule of rules) {
    if (rule.close === 'reset_before') state.offline = true
    if (rule.status === 429) state.limited = true
    if (rule.status === 503) state.unavailable = true
    if (rule.lost_ack === true) state.lostAck = true
    if (rule.delay_ms !== undefined) Object.assign(state, { latency: true, delay: rule.delay_ms })
    if (rule.probability !== undefined) state.share = Math.round(rule.probability * 100)
  }
  return state
}

const canonical = (rules) => JSON.stringify(rules.map((rule) => Object.entries(rule).sort()))

export function Faults({ current, onChange }) {
  const derived = stateOf(current)
  const isForeign = canonical(rulesOf(derived)) !== canonical(current)
  const [last, setLast] = useState({})
  const [error, setError] = useState('')
  // The server's rules are the truth; what they do not tell (a share without a fault) is as it was set last.
  const state = { ...derived, ...(derived.latency ? {} : { delay: last.delay ?? calm.delay }) }
  if (!derived.limited && !derived.unavailable && !derived.lostAck) state.share = last.share ?? calm.share
  const change = (members) => {
    const next = { ...state, ...members }
    setLast(next)
    const rules = rulesOf(next)
    onChange(rules)
    server.setFaults(rules).then(
      () => setError(''),
      (failure) => setError(failure.message),
    )
  }
  return (
    <section class="panel" aria-label="Faults">
      <h2>Faults</h2>
      <p class="note">See your program cope: what is switched on happens to the calls from now on.</p>
      {switches.map(([name, label, meaning]) => (
        <label class="switch" key={name}>
          <input
            type="checkbox"
            id={`fault-${name}`}
            checked={state[name]}
            onChange={(event) => change({ [name]: event.currentTarget.checked })}
          />
          <span>
            <b>{label}</b> {meaning}
          </span>
        </label>
      ))}
      <label class="field">
        429, 503, lost acknowledgements: {state.share} % of the calls
        <input
          type="range"
          min="1"
          max="100"
          value={state.share}
          onChange={(e) => change({ share: e.currentTarget.value })}
        />
      </label>
      <label class="field">
        Latency, milliseconds
        <input
          type="number"
          min="0"
          max="60000"
          step="100"
          value={state.delay}
          onChange={(e) => change({ delay: Math.min(60000, Math.max(0, Number(e.currentTarget.value))) })}
        />
      </label>
      {error !== '' && (
        <p class="bad" role="alert">
          {error}
        </p>
      )}
      <h3>Rules now</h3>
      {isForeign && <p class="note">Not from these switches: a program or a command line set them.</p>}
      <pre class="json">{current.length === 0 ? 'none' : JSON.stringify(current, null, 2)}</pre>
    </section>
  )
}
