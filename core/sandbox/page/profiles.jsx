import { useEffect, useState } from 'preact/hooks'
import { Json } from './json.jsx'
import { server } from './server.js'

function Profile({ userId, onClose }) {
  const [profile, setProfile] = useState(null)
  const [error, setError] = useState('')
  useEffect(() => {
    const read = () => server.profile(userId).then(setProfile, (failure) => setError(failure.message))
    read()
    const timer = setInterval(read, 2000)
    return () => clearInterval(timer)
  }, [userId])
  return (
    <aside class="detail" aria-label="Profile">
      <header>
        <h2>{userId}</h2>
        <button type="button" onClick={onClose} aria-label="Close">
          ×
        </button>
      </header>
      {error !== '' && <p class="bad">{error}</p>}
      {profile !== null && (
        <>
          <p class="note">
            {profile.meta.events.toLocaleString('en')} events, first {profile.meta.firstSeen}, last{' '}
            {profile.meta.lastSeen}
          </p>
          <h3>Traits</h3>
          <Json text={JSON.stringify(profile.traits)} />
          <h3>Timeline</h3>
          <ol class="timeline">
            {profile.events.map((event) => (
              <li key={event.eventId}>
                <time>{event.eventTime}</time> <b>{event.rawData.event ?? event.eventAction}</b>
                <details>
                  <summary>{event.eventAction}</summary>
                  <Json text={JSON.stringify(event.rawData)} />
                </details>
              </li>
            ))}
          </ol>
          {profile.meta.events > profile.events.length && (
            <p class="note">The newest {profile.events.length} are shown.</p>
          )}
        </>
      )}
    </aside>
  )
}

export function Profiles({ open, onOpen }) {
  const [search, setSearch] = useState('')
  const [found, setFound] = useState({ profiles: [], total: 0 })
  useEffect(() => {
    const read = () => server.profiles(search).then(setFound, () => {})
    read()
    const timer = setInterval(read, 1500)
    return () => clearInterval(timer)
  }, [search])
  return (
    <div class="split">
      <section aria-label="Profiles">
        <div class="filters">
          <input
            id="filter-user"
            type="search"
            placeholder="User id contains …"
            aria-label="Filter by user id"
            value={search}
            onInput={(event) => setSearch(event.currentTarget.value)}
          />
          <span class="note">
            {found.profiles.length < found.total
              ? `${found.profiles.length} of ${found.total.toLocaleString('en')} profiles`
              : `${found.total.toLocaleString('en')} profiles`}
          </span>
        </div>
        <table class="rows">
          <thead>
            <tr>
              <th>User</th>
              <th class="number">Events</th>
              <th>Last seen</th>
            </tr>
          </thead>
          <tbody>
            {found.profiles.map((profile) => (
              <tr
                key={profile.id}
                tabIndex={0}
                class={profile.userId === open ? 'selected' : undefined}
                onClick={() => onOpen(profile.userId)}
                onKeyDown={(event) => event.key === 'Enter' && onOpen(profile.userId)}
              >
                <td>{profile.userId}</td>
                <td class="number">{profile.events.toLocaleString('en')}</td>
                <td>{profile.lastSeen}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      {open !== null && <Profile key={open} userId={open} onClose={() => onOpen(null)} />}
    </div>
  )
}
