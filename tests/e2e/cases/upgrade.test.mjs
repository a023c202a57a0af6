// Who may open a socket, and what the others are told (protocol.md §1.2–1.5, scenarios 2 and 6).
import assert from 'node:assert/strict'
import {suite} from '../lib/suite.mjs'
import {http, handshake} from '../lib/http.mjs'
import {coreToken, jwt} from '../lib/token.mjs'

const scenario = suite({apps: {scribe: {}}})
const ISO = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/

/** A refusal of an upgrade: status, type and every byte of the body but the time. */
async function refused(cloud, path, headers, expected) {
  const answer = await http('GET', cloud.base + path, {headers: {...handshake, ...headers}})
  assert.equal(answer.status, 401, `${path}: ${answer.text}`)
  assert.match(answer.headers['content-type'] ?? '', /^application\/json/)
  const time = answer.body?.timestamp
  assert.match(String(time), ISO)
  assert.equal(answer.text, JSON.stringify({...expected, timestamp: time}))
}

const phoneRefusal = (message) => ({type: 'connection_error', message})

scenario('a phone without a token is told so', async ({cloud}) => {
  await refused(cloud, '/glasses-ws', {}, phoneRefusal('No core token provided'))
  await refused(cloud, '/ws/client?livekit=true&udpEncryption=true', {}, phoneRefusal('No core token provided'))
})

scenario('a token that does not verify is refused, whatever is wrong with it', async ({cloud}) => {
  const past = Math.floor(Date.now() / 1000) - 3600
  const bad = {
    'signed with another secret': coreToken('x@lumen.io', {}, {secret: 'another'}),
    expired: coreToken('x@lumen.io', {exp: past}),
    'no token at all': 'rubbish',
    'three empty parts': '..',
    unsigned: coreToken('x@lumen.io', {}, {alg: 'none'}),
  }
  for (const [why, token] of Object.entries(bad)) {
    await refused(cloud, `/glasses-ws?token=${token}`, {}, phoneRefusal('Invalid core token')).catch((error) => {
      throw new Error(`${why}: ${error.message}`)
    })
  }
  await refused(cloud, '/glasses-ws', {authorization: 'Bearer rubbish'}, phoneRefusal('Invalid core token'))
})

scenario('a token without an e-mail is refused by its own text', async ({cloud}) => {
  await refused(cloud, `/glasses-ws?token=${jwt({sub: '1', iat: 1})}`, {}, phoneRefusal('Invalid core token - no user ID'))
  const app = jwt({packageName: 'com.e2e.scribe', apiKey: 'key-of-com.e2e.scribe', iat: 1})
  await refused(cloud, `/glasses-ws?token=${app}`, {}, phoneRefusal('Invalid core token - no user ID'))
})

scenario('the token is found in the query or in the header, signed with any of the three HMACs', async ({user, dial}) => {
  for (const alg of ['HS256', 'HS384', 'HS512']) {
    const email = user(alg.toLowerCase())
    const token = coreToken(email, {}, {alg})
    const phone = dial(email, {token, query: {}, headers: {authorization: `Bearer ${token}`}})
    await phone.ready()
  }
  await dial(user(), {path: '/ws/client'}).ready()
})

scenario('an e-mail in mixed case is one and the same user', async ({user, phone, cloud}) => {
  const lower = user('mixed')
  const upper = lower.replace('mixed', 'MiXeD').replace('lumen.io', 'Lumen.IO')
  const first = await phone(upper)
  assert.equal(first.ack.sessionId, lower)
  const state = await cloud.asUser(lower, 'GET', '/api/client/apps')
  assert.equal(state.status, 200, 'the session is found under the other spelling')
})

scenario('an app with a token but without a user, or with a bad token, is refused', async ({cloud, user}) => {
  const good = jwt({packageName: 'com.e2e.scribe', apiKey: 'key-of-com.e2e.scribe', iat: 1})
  await refused(cloud, '/app-ws', {authorization: `Bearer ${good}`},
    {type: 'tpa_connection_error', code: 'MISSING_HEADERS', message: 'Missing userId in request headers'})
  const bad = {
    signature: jwt({packageName: 'p', apiKey: 'k'}, {secret: 'other'}),
    shape: 'rubbish',
    expiry: jwt({packageName: 'p', apiKey: 'k', exp: 1}),
    claims: jwt({packageName: 'com.e2e.scribe'}),
    'no signature': jwt({packageName: 'p', apiKey: 'k'}, {alg: 'none'}),
  }
  for (const [why, token] of Object.entries(bad)) {
    const answer = await http('GET', `${cloud.base}/ws/miniapp`, {headers: {...handshake, authorization: `Bearer ${token}`, 'x-user-id': user()}})
    assert.equal(answer.status, 401, why)
    assert.equal(answer.body?.type, 'tpa_connection_error', why)
    assert.equal(answer.body?.code, 'JWT_INVALID', why)
    assert.match(answer.body?.message ?? '', /^Invalid JWT token: ./, why)
  }
})

scenario('unknown paths and broken handshakes get the specified answers', async ({cloud, user}) => {
  const unknown = await http('GET', `${cloud.base}/nowhere-ws`, {headers: handshake})
  assert.deepEqual([unknown.status, unknown.text], [404, 'Unknown WebSocket path'])
  const echo = await http('GET', `${cloud.base}/echo`, {headers: handshake})
  assert.equal(echo.status, 404, '/echo exists only when switched on')
  const path = `/glasses-ws?token=${coreToken(user())}`
  const {'sec-websocket-key': _, ...keyless} = handshake
  const broken = await http('GET', cloud.base + path, {headers: keyless})
  assert.deepEqual([broken.status, broken.text], [500, 'WebSocket upgrade failed'])
})

scenario('no extension and no subprotocol is agreed on', async ({cloud, user}) => {
  const offer = {...handshake, 'sec-websocket-extensions': 'permessage-deflate', 'sec-websocket-protocol': 'chat'}
  const answer = await http('GET', `${cloud.base}/glasses-ws?token=${coreToken(user())}`, {headers: offer})
  assert.equal(answer.status, 101)
  assert.equal(answer.headers['sec-websocket-accept'], 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=')
  assert.equal(answer.headers['sec-websocket-extensions'], undefined)
  assert.equal(answer.headers['sec-websocket-protocol'], undefined)
})
