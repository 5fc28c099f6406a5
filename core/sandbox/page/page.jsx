import 'uplot/dist/uPlot.min.css'
import './page.css'
import { render } from 'preact'
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { Calls, statusText } from './calls.jsx'
import { Chart } from './chart.jsx'
import { Faults } from './faults.jsx'
import { Profiles } from './profiles.jsx'
import { Refused, server } from './server.js'

const interval = 400 // milliseconds between looks; what comes faster is sampled
const history = 300 // points of the chart: two minutes

const nothing = {
  calls: [],
  sampled: false,
  arriving: 0,
  looked: 0,
  events: 0,
  requests: {},
  bytes: 0,
  bucket: { level: 0, rate: 0, burst: 1 },
  faults: [],
  account: null,
}

function Token({ onToken }) {
  const [token, setToken] = useState('')
  return (
    <form
      class="panel"
      onSubmit={(event) => {
        event.preventDefault()
        server.setToken(token)
        onToken()
      }}
    >
      <h2>Token</h2>
      <p>Others can reach this sandbox, so it shows what arrived only to those who have its token.</p>
      <input
        type="password"
        aria-label="Token"
        autocomplete="off"
        value={token}
        onInput={(e) => setToken(e.currentTarget.value)}
      />{' '}
      <button type="submit">Show</button>
    </form>
  )
}

const keys = [
  ['/', 'filter'],
  ['j, k, ↓, ↑', 'next, previous event'],
  ['Esc', 'close'],
  ['p', 'pause, go on'],
  ['1, 2, 3', 'events, profiles, faults'],
  ['t', 'light, dark'],
  ['?', 'these keys'],
]

const isTyping = (element) => element.matches('select, textarea, input:not([type=checkbox]):not([type=range])')

function App() {
  const [tab, setTab] = useState('events')
  const [live, setLive] = useState(nothing)
  const [points, setPoints] = useState([])
  const [filter, setFilter] = useState({ user: '', event: '', status: '' })
  const [selected, setSelected] = useState(null)
  const [profile, setProfile] = useState(null)
  const [paused, setPaused] = useState(false)
  const [help, setHelp] = useState(false)
  const [trouble, setTrouble] = useState('')
  const [refused, setRefused] = useState(false)
  const dark = matchMedia('(prefers-color-scheme: dark)').matches
  const [theme, setTheme] = useState(() => localStorage.getItem('intilery-sandbox-theme') ?? (dark ? 'dark' : 'light'))
  const before = useRef(null)

  document.documentElement.dataset.theme = theme

  const look = useCallback(async () => {
    try {
      const now = await server.live(filter)
      const at = performance.now()
      const total = Object.values(now.requests).reduce((sum, count) => sum + count, 0)
      const refusedNow = total - (now.requests['200'] ?? 0)
      const last = before.current
      before.current = { at, total, refused: refusedNow, events: now.events }
      let arriving = 0
      let sampled = false
      if (last !== null && total >= last.total) {
        const seconds = Math.max(0.001, (at - last.at) / 1000)
        arriving = Math.max(0, Math.round((now.events - last.events) / seconds))
        sampled = now.events - last.events > now.calls.length && now.calls.length > 0
        const point = [
          Date.now() / 1000,
          now.bucket.level,
          (total - last.total) / seconds,
          (refusedNow - last.refused) / seconds,
        ]
        setPoints((points) => [...points.slice(1 - history), point])
      }
      setTrouble('')
      setRefused(false)
      setLive((old) => ({
        ...now,
        arriving,
        calls: paused ? old.calls : now.calls,
        sampled: paused ? old.sampled : sampled,
      }))
    } catch (error) {
      if (error instanceof Refused) setRefused(true)
      else setTrouble('The sandbox does not answer. It may have been stopped.')
    }
  }, [filter, paused])

  useEffect(() => {
    let timer = null
    let stopped = false
    const step = async () => {
      await look()
      if (!stopped) timer = setTimeout(step, document.hidden ? 2000 : interval)
    }
    step()
    return () => {
      stopped = true
      clearTimeout(timer)
    }
  }, [look])

  const changeTheme = useCallback(() => {
    setTheme((theme) => {
      const next = theme === 'dark' ? 'light' : 'dark'
      localStorage.setItem('intilery-sandbox-theme', next)
      return next
    })
  }, [])

  useLayoutEffect(() => {
    const press = (event) => {
      if (event.key === 'Escape') {
        if (help) setHelp(false)
        else if (tab === 'profiles') setProfile(null)
        else setSelected(null)
        document.activeElement?.blur?.()
        return
      }
      if (isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey) return
      const move = (by) => {
        const place = live.calls.findIndex((call) => call.id === selected?.id)
        const next = live.calls[place < 0 ? 0 : Math.min(live.calls.length - 1, Math.max(0, place + by))]
        if (next !== undefined) {
          setPaused(true)
          setSelected(next)
        }
      }
      const actions = {
        '/': () => document.getElementById('filter-user')?.focus(),
        j: () => move(1),
        ArrowDown: () => move(1),
        k: () => move(-1),
        ArrowUp: () => move(-1),
        p: () => setPaused((paused) => !paused),
        1: () => setTab('events'),
        2: () => setTab('profiles'),
        3: () => setTab('faults'),
        t: changeTheme,
        '?': () => setHelp((help) => !help),
      }
      if (Object.hasOwn(actions, event.key)) {
        event.preventDefault()
        actions[event.key]()
      }
    }
    addEventListener('keydown', press)
    return () => removeEventListener('keydown', press)
  }, [tab, live.calls, selected, help, changeTheme])

  useEffect(() => {
    document.querySelector('tr.selected')?.scrollIntoView({ block: 'nearest' })
  })

  if (refused) return <Token onToken={look} />
  const rate = live.bucket.rate
  return (
    <>
      <header class="top">
        <h1>Intilery sandbox</h1>
        {live.account !== null && (
          <span class="note">
            {live.account.client_id} / {live.account.account_id} / {live.account.brand_ids.join(', ')}
          </span>
        )}
        <span class="space" />
        <button type="button" id="pause" aria-pressed={paused} onClick={() => setPaused(!paused)}>
          {paused ? 'Go on' : 'Pause'}
        </button>
        <button
          type="button"
          id="clear"
          onClick={() =>
            server.clear().then(() => {
              setSelected(null)
              setProfile(null)
              look()
            })
          }
        >
          Clear
        </button>
        <button type="button" id="theme" onClick={changeTheme}>
          {theme === 'dark' ? 'Light' : 'Dark'}
        </button>
        <button type="button" aria-label="Keys" onClick={() => setHelp(!help)}>
          ?
        </button>
      </header>
      {trouble !== '' && (
        <p class="trouble" role="alert">
          {trouble}
        </p>
      )}
      {help && (
        <dl class="panel keys">
          {keys.map(([key, meaning]) => (
            <div key={key}>
              <dt>{key}</dt>
              <dd>{meaning}</dd>
            </div>
          ))}
        </dl>
      )}
      <div class="figures">
        <div>
          <b id="events">{live.events.toLocaleString('en')}</b> events
        </div>
        <div>
          <b>{live.arriving.toLocaleString('en')}</b> a second
        </div>
        <div>
          <b id="level">{Math.floor(live.bucket.level).toLocaleString('en')}</b> of{' '}
          {live.bucket.burst.toLocaleString('en')} tokens
          {rate > 0 ? `, ${rate.toLocaleString('en')} a second` : ', no limit'}
        </div>
        {Object.entries(live.requests).map(([status, count]) => (
          <div key={status} class="by-status">
            <b>{count.toLocaleString('en')}</b> × {statusText(Number(status))}
          </div>
        ))}
      </div>
      <Chart points={points} burst={live.bucket.burst} theme={theme} />
      <div class="tabs" role="tablist">
        {['events', 'profiles', 'faults'].map((name) => (
          <button
            type="button"
            role="tab"
            key={name}
            id={`tab-${name}`}
            aria-selected={tab === name}
            onClick={() => setTab(name)}
          >
            {name[0].toUpperCase() + name.slice(1)}
            {name === 'faults' && live.faults.length > 0 && (
              <span class="dot" title="Faults are on">
                {' '}
                ●
              </span>
            )}
          </button>
        ))}
      </div>
      {tab === 'events' && (
        <Calls
          live={live}
          filter={filter}
          onFilter={setFilter}
          selected={selected}
          onSelect={setSelected}
          onUser={(user) => {
            setTab('profiles')
            setProfile(user)
          }}
        />
      )}
      {tab === 'profiles' && <Profiles open={profile} onOpen={setProfile} />}
      {tab === 'faults' && (
        <Faults current={live.faults} onChange={(faults) => setLive((live) => ({ ...live, faults }))} />
      )}
    </>
  )
}

render(<App />, document.body)
