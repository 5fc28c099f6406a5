/** Where the package is. */
export const root = new URL('../..', import.meta.url)

/** The environment of a program whose `Client.fromEnv()` sends to the sandbox. */
export const environment = (sandbox, more = {}) => ({
  ...process.env,
  INTILERY_CLIENT_ID: 'hea',
  INTILERY_ACCOUNT_ID: 'hea',
  INTILERY_BRAND_ID: 'HEA',
  INTILERY_AUTH_TOKEN: 'sandbox-token',
  INTILERY_ENDPOINT: sandbox.url,
  ...more,
})
