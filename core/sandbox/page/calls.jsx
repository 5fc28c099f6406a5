import { useEffect, useState } from 'preact/hooks'
import { Json } from './json.jsx'
import { server } from './server.js'

const kind = (status) =>
  status === 0 ? 'bad' : status < 300 ? 'good' : status < 500 && status !== 429 ? 'bad' : 'warn'
export const statusText = (status) => (status === 0 ? 'no answer' : String(status))

function message(answer) {
  try {
    return JSON.parse(answer).message ?? ''
  } catch {
    return ''
  }
}

function Call({ call, onClose, onUser }) {
  const [request, setRequest] = useState(null)
  const [whole, setWhole] = useState(call.item === null)
  const [error, setError] = useState('')
  useEffect(() => {
    server.request(call.request, whole ? undefined : call.item).then(setRequest, (failure) => setError(failure.message))
  }, [call.request, call.item, whole])
  const why = request !== null && request.status === 400 ? message(request.answer) : ''
  const [broken] = call.breaks
  const place =
    why === '' && broken !== undefined && !whole ? broken.path : whole ? why : call.why.replace(/^batch\[\d+\]\./, '')
  const toggle = () => {
    setRequest(null)
    setWhole(!whole)
  }
  return (
    <aside class="detail" aria-label="Call">
      <header>
        <h2>{call.event || call.action}</h2>
        <button type="button" onClick={onClose} aria-label="Close">
          ×
        </button>
      </header>
      {error !== '' && <p class="bad">{error}</p>}
      {request !== null && (
        <>
          <p>
            <span class={`status ${kind(request.status)}`}>{statusText(request.status)}</span>{' '}
            {call.user !== '' && (
              <button type="button" class="link" onClick={() => onUser(call.user)}>
                {call.user}
              </button>
            )}
          </p>
          {why !== '' && (
            <p class="violation" role="alert">
              {why}
            </p>
          )}
          {call.breaks.length > 0 && (
            <ul class="violation plan">
              {call.breaks.map(({ path, message }) => (
                <li key={path + message}>Breaks the plan: {message}</li>
              ))}
            </ul>
          )}
          <h3>Request</h3>
          <pre class="head">
            {`${request.method} ${request.path}\n${request.headers.map(([name, value]) => `${name}: ${value}`).join('\n')}`}
          </pre>
          {call.item !== null && (
            <p class="note">
              {whole ? `A batch of ${call.items}.` : `batch[${call.item}] of ${call.items}.`}{' '}
              <button type="button" class="link" onClick={toggle}>
                {whole ? 'This event alone' : 'The whole request'}
              </button>
            </p>
          )}
          <Json text={request.body} message={place} />
          {request.cut && <p class="note">The body is cut: it has {request.size.toLocaleString('en')} bytes.</p>}
          <h3>Answer</h3>
          {request.status === 0 ? <p class="note">None: the connection ended.</p> : <Json text={request.answer} />}
        </>
      )}
    </aside>
  )
}

export function Calls({ live, filter, onFilter, selected, onSelect, onUser }) {
  const set = (name) => (event) => onFilter({ ...filter, [name]: event.currentTarget.value })
  return (
    <div class="split">
      <section aria-label="Events">
        <div class="filters">
          <input
            id="filter-user"
            type="search"
            placeholder="User  ( / )"
            aria-label="Filter by user"
            value={filter.user}
            onInput={set('user')}
          />
          <input
            id="filter-event"
            type="search"
            placeholder="Event"
            aria-label="Filter by event"
            value={filter.event}
            onInput={set('event')}
          />
          <select id="filter-status" aria-label="Filter by status" value={filter.status} onChange={set('status')}>
            <option value="">any status</option>
            <option value="accepted">accepted</option>
            <option value="refused">refused</option>
            {live.plan && <option value="plan">breaks the plan</option>}
            {['400', '403', '413', '429', '503', '0'].map((status) => (
              <option key={status} value={status}>
                {statusText(Number(status))}
              </option>
            ))}
          </select>
          <span class="note" id="sampled" role="status">
            {live.sampled
              ? `a sample: the newest ${live.calls.length} of some ${live.arriving.toLocaleString('en')} events a second`
              : ''}
          </span>
        </div>
        <table class="rows" id="calls">
          <thead>
            <tr>
              <th>Arrived</th>
              <th>Event</th>
              <th>User</th>
              <th>Action</th>
              <th>Status</th>
              <th>Why</th>
            </tr>
          </thead>
          <tbody>
            {live.calls.map((call) => (
              <tr
                key={call.id}
                class={selected?.id === call.id ? 'selected' : undefined}
                onClick={() => onSelect(call)}
              >
                <td>
                  <time>{new Date(call.received).toISOString().slice(11, 23)}</time>
                </td>
                <td class="name">{call.event}</td>
                <td class="name">{call.user}</td>
                <td>{call.action}</td>
                <td>
                  <span class={`status ${kind(call.status)}`}>{statusText(call.status)}</span>
                </td>
                <td class="name">
                  {call.why || (call.breaks.length > 0 && <span class="warn">plan: {call.breaks[0].message}</span>)}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
        {live.calls.length === 0 && (
          <p class="empty">
            {filter.user || filter.event || filter.status
              ? `Nothing matches in the ${live.looked.toLocaleString('en')} requests that were looked at.`
              : 'Nothing has arrived yet. Give this address to a client as its endpoint.'}
          </p>
        )}
      </section>
      {selected !== null && <Call key={selected.id} call={selected} onClose={() => onSelect(null)} onUser={onUser} />}
    </div>
  )
}
