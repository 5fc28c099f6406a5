// What the page asks of the sandbox. The token, if the sandbox wants one, stays in this tab.

const key = 'intilery-sandbox-token'

export class Refused extends Error {}

async function call(path, options = {}) {
  const headers = { ...options.headers }
  const token = sessionStorage.getItem(key)
  if (token !== null) headers['auth-token'] = token
  const answer = await fetch(`/sandbox/${path}`, { ...options, headers, cache: 'no-store' })
  const body = await answer.json()
  if (answer.status === 403) throw new Refused(body.message)
  if (!answer.ok) throw new Error(body.message ?? `HTTP status ${answer.status}`)
  return body
}

const post = (path, body) =>
  call(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })

const query = (members) =>
  new URLSearchParams(Object.entries(members).filter(([, value]) => value !== '' && value !== undefined)).toString()

export const server = {
  setToken: (token) => sessionStorage.setItem(key, token),
  live: (filter) => call(`live?${query(filter)}`),
  request: (number, item) => call(`requests/${number}?${query({ item })}`),
  profiles: (search) => call(`profiles?${query({ search })}`),
  profile: (userId) => call(`profiles/${encodeURIComponent(userId)}`),
  setFaults: (rules) => post('faults', rules),
  clear: () => post('clear', {}),
}
