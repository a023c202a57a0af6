// Tokens of protocol.md §1.5, made with node:crypto alone.
import {createHash, createHmac} from 'node:crypto'

export const SECRET = 'prism-e2e-secret'

const part = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

/** A JWT with these claims; `alg` HS256, HS384, HS512 or none. */
export function jwt(claims, {secret = SECRET, alg = 'HS256'} = {}) {
  const body = `${part({alg, typ: 'JWT'})}.${part(claims)}`
  if (alg === 'none') return `${body}.`
  const mac = createHmac(`sha${alg.slice(2)}`, secret).update(body).digest('base64url')
  return `${body}.${mac}`
}

/** A phone's core token. */
export function coreToken(email, extra = {}, options) {
  return jwt({sub: `id-${email}`, email, organizations: [], defaultOrg: null, iat: Math.floor(Date.now() / 1000), ...extra}, options)
}

export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex')
