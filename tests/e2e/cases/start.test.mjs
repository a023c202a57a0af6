// Cold start and the ways an app gets, or does not get, into a session (protocol.md §2.1, §3.1–3.2, §4; scenarios 1, 3–6).
import assert from 'node:assert/strict'
import {suite} from '../lib/suite.mjs'

const scenario = suite({
  apps: {
    scribe: {packageName: 'com.acme.scribe', settings: [{type: 'text', key: 'lang', label: 'Language', defaultValue: 'en'}, {type: 'group', title: 'More'}]},
    modern: {generation: 3},
    hyphens: {packageName: 'note-taker-app'},
    deaf: {packageName: 'com.e2e.deaf'},
    camera: {packageName: 'com.e2e.camera', hardwareRequirements: [{type: 'CAMERA', level: 'REQUIRED'}]},
  },
  env: {PRISM_APP_INIT_TIMEOUT_MS: '1500'},
})

scenario('cold start: pong, ack and REST do not wait for an app that is starting', async ({dial, user, apps, cloud}) => {
  const email = user()
  // The app answers its webhook only when the test lets it: its start stays pending.
  const called = new Promise((resolve) => {
    apps.scribe.on('session_request', email, ({reply}) => resolve(() => reply(500, {status: 'error', message: 'Failed to connect'})))
  })
  const phone = dial(email)
  await phone.ready()
  assert.equal(phone.ack.sessionId, email)
  assert.equal(phone.ack.env, 'e2e')
  assert.match(phone.ack.timestamp, /Z$/)
  assert.equal(phone.ack.udpHost, undefined, 'no UDP host is configured here')
  assert.deepEqual(Object.keys((await phone.pongs.take({type: 'pong'}))), ['type'], 'a pong has no other member')

  const pending = phone.start('com.acme.scribe')
  const release = await called
  // A start that is pending holds up nothing.
  let over = false
  pending.then(() => (over = true))
  await phone.handled()
  assert.ok(!over, 'the pong came while the app was starting')
  assert.equal((await phone.rest('POST', '/api/client/device/state', {batteryLevel: 12})).status, 200)
  apps.scribe.on('session_request', email, ({reply}) => reply(500, {status: 'error', message: 'Failed to connect'}))
  release()
  assert.equal((await pending).body.data.isRunning, false)
  assert.ok(cloud.child.running)
})

scenario('an S2 app starts: webhook, init, ack, device state, all before the webhook is answered', async ({phone, user, apps}) => {
  const email = user()
  const p = await phone(email)
  let answerWebhook
  let socket
  apps.scribe.on('session_request', email, async ({body, reply}) => {
    answerWebhook = () => reply(200, {status: 'success'})
    socket = await apps.scribe.connect(body)
  })
  const begun = p.messages.mark()
  const answer = await p.start('com.acme.scribe')
  assert.deepEqual(answer.body, {success: true, data: {status: 'started', isRunning: true}}, 'the webhook is still unanswered')

  const hook = (await apps.scribe.webhooks.take({body: {type: 'session_request', userId: email}}))
  assert.equal(hook.path, '/webhook')
  const {timestamp, ...body} = hook.body
  const ws = p.cloud.wsBase
  assert.deepEqual(body, {type: 'session_request', sessionId: `${email}-com.acme.scribe`, userId: email,
    websocketUrl: `${ws}/ws/miniapp`, mentraOSWebsocketUrl: `${ws}/app-ws`, augmentOSWebsocketUrl: `${ws}/app-ws`})
  assert.ok(!Number.isNaN(Date.parse(timestamp)))

  const ack = await socket.take({type: 'tpa_connection_ack'})
  assert.equal(ack.sessionId, `${email}-com.acme.scribe`)
  assert.equal(ack.userId, email)
  assert.deepEqual(ack.subscriptions, [])
  assert.deepEqual(ack.settings.map(({key, value}) => ({key, value})), [{key: 'lang', value: 'en'}], 'defaults as values, no group')
  assert.equal(ack.capabilities.modelName, 'Even Realities G1')
  assert.equal(ack.mentraosSettings.brightness, 50)
  assert.equal(ack.mentraosSettings.preferredMic, 'auto')
  const state = await socket.take({type: 'device_state_update'})
  assert.equal(state.fullSnapshot, true)
  assert.equal(state.state.modelName, 'Even Realities G1')
  assert.deepEqual(socket.order.slice(0, 2), ['tpa_connection_ack', 'device_state_update'])
  socket.subscribe(['button_press'])
  await p.take({type: 'app_state_change', sessionId: email})
  assert.ok(p.messages.since(begun, {type: 'display_event', layout: {title: '// MentraOS - Starting App'}}).length > 0, 'the boot screen')
  answerWebhook()
})

scenario('an S3 app starts: the user is in the header, the init names no session', async ({phone, user, apps, start}) => {
  const email = user()
  const p = await phone(email)
  const socket = await start(p, apps.modern)
  assert.equal(socket.acked.sessionId, `${email}-com.e2e.modern`)
  assert.deepEqual(socket.order.slice(0, 2), ['tpa_connection_ack', 'device_state_update'])
  await socket.subscribed(['button_press'])
})

scenario('an app token at the upgrade stands for the init', async ({phone, user, apps, cloud}) => {
  const {jwt} = await import('../lib/token.mjs')
  const email = user()
  const p = await phone(email)
  const token = jwt({packageName: 'com.acme.scribe', apiKey: 'key-of-com.acme.scribe', iat: 1})
  let socket
  apps.scribe.on('session_request', email, async ({body, reply}) => {
    socket = apps.scribe.open(body, {headers: {authorization: `Bearer ${token}`, 'x-user-id': email, 'x-session-id': body.sessionId}})
    reply(200, {status: 'success'})
  })
  assert.equal((await p.start('com.acme.scribe')).body.data.isRunning, true)
  await socket.take({type: 'tpa_connection_ack', sessionId: `${email}-com.acme.scribe`})
  assert.ok(cloud.child.running)
})

/** Sends an init that must be refused: error frame (or none), close code and reason. */
async function refusedInit(app, webhook, init, {code, message, close, reason = message}) {
  const socket = app.open(webhook, {headers: {}})
  await socket.opened
  socket.send(init)
  if (code) {
    const error = await socket.take({type: 'tpa_connection_error'})
    assert.deepEqual([error.code, error.message], [code, message])
    assert.ok(!Number.isNaN(Date.parse(error.timestamp)))
  }
  const end = await socket.ended()
  assert.deepEqual([end.code, end.reason], [close, reason])
  assert.deepEqual(socket.order, code ? ['tpa_connection_error', 'close'] : ['close'])
}

scenario('wrong key, unknown session, not started, deprecated, nameless: code, close and reason', async ({phone, user, apps, cloud}) => {
  const email = user()
  const p = await phone(email)
  const {scribe} = apps
  const webhook = {userId: email, sessionId: `${email}-com.acme.scribe`, mentraOSWebsocketUrl: `${cloud.wsBase}/app-ws`}
  const init = scribe.init(webhook)
  await refusedInit(scribe, webhook, {...init, apiKey: 'wrong'}, {code: 'INVALID_API_KEY', message: 'Invalid API key', close: 1008})
  await refusedInit(scribe, webhook, {...init, packageName: 'com.e2e.unknown'}, {code: 'INVALID_API_KEY', message: 'Invalid API key', close: 1008})
  await refusedInit(scribe, webhook, init, {code: 'APP_NOT_STARTED', message: 'App not started for this session', close: 1008})
  const stranger = user('stranger')
  await refusedInit(scribe, webhook, {...init, sessionId: `${stranger}-com.acme.scribe`}, {code: 'SESSION_NOT_FOUND', message: 'Session not found', close: 1008})
  const {sessionId: _, ...nameless} = init
  await refusedInit(scribe, webhook, nameless, {close: 1008, reason: 'User session identity missing'})
  await refusedInit(scribe, webhook, {...init, packageName: 'system.augmentos.dashboard'},
    {code: 'APP_DEPRECATED', message: 'App system.augmentos.dashboard is deprecated and no longer accepted', close: 1008, reason: 'App deprecated'})
  p.ping()
  assert.equal((await p.rest('GET', '/api/client/apps')).status, 200, 'the session is none the worse')
})

scenario('a wrong key during a start ends it at once with AUTHENTICATION', async ({phone, user, apps}) => {
  const email = user()
  const p = await phone(email)
  apps.scribe.on('session_request', email, async ({body, reply}) => {
    const socket = apps.scribe.open(body)
    await socket.opened
    socket.send({...apps.scribe.init(body), apiKey: 'wrong'})
    reply(200, {status: 'success'})
  })
  const answer = await p.start('com.acme.scribe')
  assert.equal(answer.status, 200)
  assert.equal(answer.body.data.isRunning, false)
  assert.equal(answer.body.data.error.stage, 'AUTHENTICATION')
})

scenario('a webhook that fails twice, hardware that lacks, an app that never connects: 200 with the stage', async ({phone, user, apps}) => {
  const email = user()
  const p = await phone(email)
  apps.scribe.on('session_request', email, ({reply}) => reply(500, {status: 'error', message: 'Failed to connect'}))
  const failed = await p.start('com.acme.scribe')
  assert.deepEqual([failed.status, failed.body.success, failed.body.data.isRunning, failed.body.data.error.stage], [200, true, false, 'WEBHOOK'])
  assert.equal(apps.scribe.webhooks.all({body: {type: 'session_request', userId: email}}).length, 2, 'two attempts')

  const blind = await p.start('com.e2e.camera')
  assert.deepEqual([blind.body.data.isRunning, blind.body.data.error.stage], [false, 'HARDWARE_CHECK'], 'a G1 has no camera')
  assert.equal(blind.body.data.error.message, 'This app requires a camera which is not available on your connected glasses')

  apps.deaf.on('session_request', email, ({reply}) => reply(200, {status: 'success'}))
  const begun = performance.now()
  const late = await p.start('com.e2e.deaf')
  assert.deepEqual([late.body.data.isRunning, late.body.data.error.stage], [false, 'TIMEOUT'])
  assert.ok(performance.now() - begun >= 5_900, 'the 6 s of a start were given')
  const webhook = apps.deaf.webhooks.all({body: {type: 'session_request', userId: email}})[0].body
  const socket = await apps.deaf.connect(webhook)
  await socket.take({type: 'tpa_connection_error', code: 'APP_NOT_STARTED'})

  apps.deaf.on('session_request', email, () => new Promise(() => {}))
  const hung = await p.start('com.e2e.deaf')
  assert.deepEqual([hung.body.data.isRunning, hung.body.data.error.stage], [false, 'TIMEOUT'], 'no answer is no refusal')
})

scenario('starts asked for at once send one webhook and give one answer', async ({phone, user, apps}) => {
  const email = user()
  const p = await phone(email)
  const answers = await Promise.all(Array.from({length: 5}, () => p.start('com.acme.scribe')))
  assert.deepEqual(answers.map((answer) => answer.body.data.isRunning), [true, true, true, true, true])
  assert.equal((await p.start('com.acme.scribe')).body.data.isRunning, true, 'already running')
  p.send({type: 'start_app', packageName: 'com.acme.scribe', timestamp: Date.now()})
  await apps.scribe.webhooks.never({body: {type: 'session_request', userId: email}}, 500, 'the app runs')
  assert.equal(apps.scribe.webhooks.all({body: {type: 'session_request', userId: email}}).length, 1)
})

scenario('e-mails and packages with hyphens are told apart', async ({phone, user, apps, start}) => {
  for (const stem of ['jean-luc', 'ana-maria-de-sa']) {
    const email = user(stem).replace('lumen.io', 'north-star.co')
    const p = await phone(email)
    const socket = await start(p, apps.hyphens)
    assert.equal(socket.acked.sessionId, `${email}-note-taker-app`)
    assert.equal(socket.acked.userId, email)
    await socket.subscribed(['button_press'])
  }
})

scenario('a second init repeats the ack; one with another identity ends the socket', async ({phone, user, apps, start}) => {
  const email = user()
  const p = await phone(email)
  const socket = await start(p, apps.scribe)
  await socket.subscribed(['button_press'])
  socket.send(apps.scribe.init(socket.webhook))
  const again = await socket.take({type: 'tpa_connection_ack'})
  assert.ok(again.subscriptions.includes('button_press'))
  const other = user('other')
  socket.send({...apps.scribe.init(socket.webhook), sessionId: `${other}-com.acme.scribe`})
  const end = await socket.ended()
  assert.deepEqual([end.code, end.reason], [1008, 'Identity mismatch'])
})

scenario('ping is answered before the init; other words are not', async ({phone, user, apps, cloud}) => {
  const email = user()
  await phone(email)
  const socket = apps.scribe.open({userId: email, sessionId: `${email}-com.acme.scribe`, mentraOSWebsocketUrl: `${cloud.wsBase}/app-ws`}, {headers: {}})
  await socket.opened
  socket.send({type: 'ping'})
  const pong = await socket.take({type: 'pong'})
  assert.equal(typeof pong.timestamp, 'number')
  socket.send({type: 'subscription_update', packageName: 'com.acme.scribe', subscriptions: ['button_press']})
  const error = await socket.take({type: 'tpa_connection_error'})
  assert.deepEqual([error.code, error.message], ['SESSION_NOT_FOUND', 'Session not found'])
  // This server was given 1.5 s instead of 30 for an init.
  const end = await socket.ended()
  assert.deepEqual([end.code, end.reason], [1008, 'Initialization timeout'])
})

scenario('of two sockets of one app the newer wins, the older is let go after 5 s', async ({phone, user, apps, start}) => {
  const email = user()
  const p = await phone(email)
  const first = await start(p, apps.scribe)
  await first.subscribed(['button_press'])
  const begun = performance.now()
  const second = await apps.scribe.connect(first.webhook)
  const ack = await second.take({type: 'tpa_connection_ack'})
  assert.ok(ack.subscriptions.includes('button_press'), 'subscriptions are kept')
  const mark = first.messages.mark()
  p.send({type: 'button_press', buttonId: 'x', pressType: 'short'})
  await second.stream('button_press', {buttonId: 'x'})
  assert.deepEqual(first.messages.since(mark, {type: 'data_stream'}), [], 'nothing more for the old one')
  const end = await first.ended(12_000)
  assert.deepEqual([end.code, end.reason], [1000, 'Replaced by new connection'])
  assert.ok(end.at - begun >= 4_900, 'not at once: an SDK closes its old socket itself')
  assert.equal(first.order.at(-2), 'app_stopped')
  p.send({type: 'button_press', buttonId: 'y', pressType: 'short'})
  await second.stream('button_press', {buttonId: 'y'}, {what: 'the new socket to be untouched by the end of the old one'})
})
