// The REST side: refusals, unknown routes, CORS, health and metrics (protocol.md §1.7, §18; behaviour.md §10, §11.5).
import assert from 'node:assert/strict'
import {DRIVER, ORIGIN} from '../lib/cloud.mjs'
import {PATIENCE} from '../lib/inbox.mjs'
import {suite} from '../lib/suite.mjs'
import {coreToken, jwt} from '../lib/token.mjs'

const scenario = suite({apps: {scribe: {type: 'standard'}}})
const STATE = '/api/client/device/state'

scenario('client calls without a good token are refused in the specified words', async ({cloud}) => {
  const post = (authorization) => cloud.request('POST', STATE, {headers: authorization === undefined ? {} : {authorization}, body: {connected: true}})
  const is401 = async (authorization, body) => {
    const answer = await post(authorization)
    assert.deepEqual([answer.status, answer.body], [401, body], `Authorization: ${authorization}`)
  }
  await is401(undefined, {error: 'Authorization header missing or invalid'})
  await is401('Basic abc', {error: 'Authorization header missing or invalid'})
  await is401('Bearer null', {error: 'Invalid token'})
  await is401('Bearer undefined', {error: 'Invalid token'})
  await is401(`Bearer ${jwt({sub: '1'})}`, {error: 'Invalid token data'})
  const bad = await post(`Bearer ${jwt({email: 'a@b.io'}, {secret: 'other'})}`)
  assert.equal(bad.status, 401)
  assert.equal(bad.body.error, 'Invalid or expired token')
  assert.equal(typeof bad.body.message, 'string')
})

scenario('the app routes refuse in their own words', async ({cloud}) => {
  const start = (headers) => cloud.request('POST', '/apps/com.e2e.scribe/start', {headers})
  assert.deepEqual((await start({})).body, {error: 'Authorization header missing or invalid'})
  assert.deepEqual((await start({authorization: `Bearer ${jwt({sub: '1'})}`})).body, {error: 'Invalid token data'})
  assert.deepEqual((await start({authorization: 'Bearer rubbish'})).body, {error: 'Invalid or expired token'})
})

scenario('a user without a session gets the 503 that makes the phone reconnect', async ({cloud, user}) => {
  const gone = {error: 'NO_ACTIVE_SESSION', message: 'No active cloud session for this client.'}
  const email = user('nobody')
  for (const [method, path] of [['POST', STATE], ['GET', '/api/client/apps'], ['POST', '/api/client/audio/configure'], ['POST', '/api/client/location'], ['POST', '/api/client/notifications']]) {
    const answer = await cloud.asUser(email, method, path, method === 'POST' ? {} : undefined)
    assert.deepEqual([answer.status, answer.body], [503, gone], `${method} ${path}`)
  }
  for (const path of ['/apps/com.e2e.scribe/start', '/api/apps/com.e2e.scribe/stop']) {
    const answer = await cloud.asUser(email, 'POST', path)
    assert.equal(answer.status, 503, path)
    assert.equal(answer.body.error, 'NO_ACTIVE_SESSION', path)
  }
})

scenario('an app of a user with a letter outside ASCII gets its settings: clients send such headers as Latin-1', async ({cloud, phone, user}) => {
  const email = user('zoë')
  await phone(email)
  const answer = await cloud.get('/appsettings/user/com.e2e.scribe', {authorization: `Bearer ${email}-com.e2e.scribe`})
  assert.deepEqual([answer.status, answer.body], [200, {success: true, settings: []}])
})

scenario('unknown routes are 404 with the path', async ({cloud}) => {
  const answer = await cloud.get('/api/no/such/route')
  assert.equal(answer.status, 404)
  assert.equal(answer.body.error, 'Not found')
  assert.equal(answer.body.path, '/api/no/such/route')
  assert.ok(!Number.isNaN(Date.parse(answer.body.timestamp)))
})

scenario('an unknown app is 404, an installed one is listed', async ({phone, user}) => {
  const p = await phone(user())
  const unknown = await p.start('com.e2e.missing')
  assert.deepEqual([unknown.status, unknown.body], [404, {success: false, message: 'App not found'}])
  const install = await p.rest('POST', '/api/apps/install/com.e2e.scribe')
  assert.deepEqual([install.status, install.body], [200, {success: true, message: 'App com.e2e.scribe installed successfully'}])
  assert.equal((await p.rest('POST', '/api/apps/install/com.e2e.scribe')).body.message, 'App is already installed')
  const list = await p.rest('GET', '/api/client/apps')
  const [app, ...others] = list.body.data
  assert.deepEqual(others, [], 'installed apps only')
  assert.deepEqual(
    {packageName: app.packageName, type: app.type, running: app.running, healthy: app.healthy, permissions: app.permissions.map((x) => x.type)},
    {packageName: 'com.e2e.scribe', type: 'standard', running: false, healthy: true, permissions: ['ALL']},
  )
})

scenario('pre-flight requests are answered for known origins only', async ({cloud}) => {
  const ask = (origin) => cloud.request('OPTIONS', '/api/client/apps', {headers: {origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization'}})
  const known = await ask(ORIGIN)
  assert.ok(known.status === 200 || known.status === 204, `status ${known.status}`)
  assert.equal(known.headers['access-control-allow-origin'], ORIGIN)
  assert.equal(known.headers['access-control-allow-credentials'], 'true')
  assert.match(known.headers.vary ?? '', /origin/i)
  assert.match(known.headers['access-control-allow-methods'] ?? '', /POST/)
  assert.match(known.headers['access-control-allow-headers'] ?? '', /authorization/i)
  assert.equal(known.headers['access-control-max-age'], '600')
  const foreign = await ask('https://elsewhere.example')
  assert.equal(foreign.headers['access-control-allow-origin'], undefined)
  const served = await cloud.get('/api/client/min-version', {origin: ORIGIN})
  assert.equal(served.headers['access-control-allow-origin'], ORIGIN)
})

scenario('the minimum version is public', async ({cloud}) => {
  const answer = await cloud.get('/api/client/min-version')
  assert.deepEqual([answer.status, answer.body.success, answer.body.data], [200, true, {required: '2.7.0', recommended: '2.7.0'}])
  assert.equal(answer.headers['cache-control'], 'no-store, no-cache, must-revalidate')
})

scenario('/livez, /health and /metrics say what operators read', async ({cloud, phone, user}) => {
  const p = await phone(user())
  const live = await cloud.get('/livez')
  assert.deepEqual([live.status, live.text.trim()], [200, 'ok'])
  // Figures of a shard that a busy machine does not let report in time are in a later answer.
  let health
  const until = performance.now() + 8_000 * PATIENCE
  do health = (await cloud.get('/health')).body
  while (!(health.activeSessions >= 1) && performance.now() < until)
  assert.equal(health.status, 'ok')
  assert.match(health.ioDriver, new RegExp(DRIVER === 'uring' ? 'uring' : 'epoll', 'i'), 'the driver that was asked for')
  assert.ok(health.activeSessions >= 1, `activeSessions ${health.activeSessions}`)
  for (const key of ['timestamp', 'rssMB', 'eventLoopLagMs', 'uptimeSeconds', 'eventLoop', 'sessions', 'throughput', 'udp', 'memory', 'connections', 'messages', 'quality']) {
    assert.ok(key in health, `/health lacks ${key}`)
  }
  assert.ok(health.sessions.userSessions >= 1)
  const text = (await cloud.get('/metrics')).text
  for (const name of ['mentra_user_sessions', 'mentra_miniapp_sessions', 'mentra_event_loop_lag_ms', 'mentra_ws_client_messages_in_total', 'mentra_ws_client_messages_out_total',
    'mentra_ws_miniapp_messages_in_total', 'mentra_ws_miniapp_messages_out_total', 'mentra_udp_packets_received_total', 'mentra_http_requests_total', 'mentra_rss_bytes',
    'mentra_uptime_seconds', 'mentra_connections_active', 'mentra_upgrade_total', 'mentra_messages_total', 'mentra_message_latency_seconds']) {
    assert.match(text, new RegExp(`^${name}(_bucket|_count)?[{ ]`, 'm'), `/metrics lacks ${name}`)
  }
  assert.doesNotMatch(text, new RegExp(p.email.split('@')[0]), 'no user in a label')
})

scenario('device state is applied, answered and limited', async ({phone, user}) => {
  const p = await phone(user())
  const state = await p.rest('POST', STATE, {connected: true, modelName: 'Mentra Live'})
  assert.equal(state.status, 200)
  const {isGlassesConnected, isPhoneConnected, modelName, capabilities} = state.body.appliedState
  assert.deepEqual([isGlassesConnected, isPhoneConnected, modelName, capabilities.hasCamera], [true, true, 'Mentra Live', true])
  const burst = await Promise.all(Array.from({length: 30}, (_, i) => p.rest('POST', STATE, {batteryLevel: i})))
  const limited = burst.find((answer) => answer.status === 429)
  assert.ok(limited, `30 at once, answered ${burst.map((answer) => answer.status)}`)
  assert.deepEqual([limited.body, limited.headers['retry-after']], [{error: 'Too Many Requests'}, '1'])
})

scenario('audio configuration answers with the effective values', async ({phone, user}) => {
  const p = await phone(user())
  const set = (body) => p.rest('POST', '/api/client/audio/configure', body)
  const lc3 = await set({format: 'lc3', lc3Config: {sampleRate: 48000, frameDurationMs: 7.5, frameSizeBytes: 33}})
  assert.deepEqual([lc3.status, lc3.body.format, lc3.body.lc3Config], [200, 'lc3', {sampleRate: 16000, frameDurationMs: 10, frameSizeBytes: 20}])
  const bad = await set({format: 'mp3'})
  assert.equal(bad.status, 400)
  assert.equal(bad.body.message, 'Invalid format. Must be "pcm" or "lc3"')
  assert.equal((await set({format: 'pcm', lc3Config: null})).status, 200)
})

scenario('simple storage keeps what an app writes, under its own key only', async ({cloud, user}) => {
  const email = user('store')
  const call = (method, path, body, key = 'com.e2e.scribe:key-of-com.e2e.scribe') =>
    cloud.request(method, `/api/sdk/simple-storage/${email}${path}`, {headers: {authorization: `Bearer ${key}`}, body})
  assert.deepEqual((await call('GET', '')).body, {success: true, data: {}})
  assert.equal((await call('PUT', '', {data: {'a.b': '1', c: '2'}})).body.success, true)
  assert.deepEqual((await call('GET', '')).body.data, {'a.b': '1', c: '2'}, 'keys are stored literally')
  assert.deepEqual((await call('GET', '/a.b')).body, {success: true, data: {value: '1'}})
  assert.equal((await call('DELETE', '/c')).status, 200)
  assert.equal((await call('GET', '/c')).status, 404)
  const wrong = await call('GET', '', undefined, 'com.e2e.scribe:wrong')
  assert.equal(wrong.status, 401)
  assert.equal((await call('PUT', '', {data: {n: 1}})).status, 400, 'values are strings')
  // AppServer of 3.x cuts nothing but /app-ws off the URL of its socket.
  const below = await cloud.request('GET', `/ws/miniapp/api/sdk/simple-storage/${email}`, {headers: {authorization: 'Bearer com.e2e.scribe:key-of-com.e2e.scribe'}})
  assert.deepEqual(below.body, {success: true, data: {'a.b': '1'}})
})

scenario('a tool call that an app fails is made once more, and its last answer is passed on', async ({cloud, user, apps}) => {
  const email = user()
  const call = (toolId) => cloud.asUser(email, 'POST', '/api/tools/apps/com.e2e.scribe/tool', {toolId, userId: email, toolParameters: {text: 'milk'}})
  let fails = 0
  apps.scribe.on(undefined, email, ({body, reply}) => {
    if (body.toolId === 'flaky' && fails++ > 0) return reply(200, {status: 'success', reply: 'noted'})
    return reply(500, {status: 'error', message: `no ${body.toolId} today`})
  })
  const flaky = await call('flaky')
  assert.deepEqual([flaky.status, flaky.body], [200, {status: 'success', reply: 'noted'}])
  assert.equal(fails, 2)
  const broken = await call('broken')
  assert.deepEqual([broken.status, broken.body], [500, {status: 'error', message: 'no broken today'}])
})
