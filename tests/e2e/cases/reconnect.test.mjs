// Sockets that go and come back, of apps and of phones (protocol.md §2, §3.4–3.5; scenarios 14, 15, 17; real graces).
import assert from 'node:assert/strict'
import {passes} from '../lib/inbox.mjs'
import {suite} from '../lib/suite.mjs'

const scenario = suite({apps: {classic: {generation: 2}, modern: {generation: 3}}})

/** Webhooks for the user since a mark: their types. */
const hooks = (app, email, mark) => app.webhooks.since(mark, {user: email}).map((hook) => hook.body.type)

async function hears(p, socket, id) {
  p.send({type: 'button_press', buttonId: id, pressType: 'short'})
  await socket.stream('button_press', {buttonId: id})
}

scenario('a v2 app that drops and is back within 5 s: no webhook, subscriptions as they were', async ({phone, user, apps, start}) => {
  const email = user()
  const p = await phone(email)
  const first = await start(p, apps.classic)
  await first.subscribed(['button_press', 'audio_chunk'])
  await p.take({type: 'microphone_state_change', isMicrophoneEnabled: true})
  const mark = apps.classic.webhooks.mark()
  const before = p.messages.mark()
  await first.cut()
  await passes(1_000, 'away, inside the 5 s')
  const second = await apps.classic.connect(first.webhook)
  const ack = await second.take({type: 'tpa_connection_ack'})
  assert.ok(['button_press', 'audio_chunk'].every((name) => ack.subscriptions.includes(name)), `subscriptions ${ack.subscriptions}`)
  second.subscribe([])
  await hears(p, second, 'back')
  await apps.classic.webhooks.never({user: email}, 5_000, 'it came back within the grace', mark)
  await hears(p, second, 'later')
  assert.deepEqual(p.messages.since(before, {type: 'microphone_state_change', isMicrophoneEnabled: false}), [], 'the microphone was not toggled')
})

scenario('a v2 app that stays away is restarted: stop_request, its answer, then session_request', async ({phone, user, apps, start}) => {
  const email = user()
  const p = await phone(email)
  const first = await start(p, apps.classic)
  await first.subscribed(['button_press'])
  const mark = apps.classic.webhooks.mark()
  const times = {}
  apps.classic.on('stop_request', email, ({body, reply}) => {
    times.stop = performance.now()
    assert.equal(body.reason, 'user_disabled')
    setTimeout(() => {
      times.stopAnswered = performance.now()
      reply(200, {status: 'success'})
    }, 300)
  })
  const dropped = performance.now()
  await first.close(1001, 'going away')
  const second = await apps.classic.socket(email, {within: 15_000})
  const types = hooks(apps.classic, email, mark)
  assert.deepEqual(types, ['stop_request', 'session_request'])
  const session = apps.classic.webhooks.since(mark, {body: {type: 'session_request', userId: email}})[0]
  assert.ok(times.stop - dropped >= 4_900, `the grace was ${(times.stop - dropped).toFixed(0)} ms, 5 s are specified`)
  assert.ok(session.at >= times.stopAnswered, 'onStop is through before the next onSession')
  assert.deepEqual(second.acked.subscriptions, [], 'a v2 restart clears them')
  await second.subscribed(['button_press'])
})

scenario('an app that cannot be restarted is stopped, and the phone is told', async ({phone, user, apps, start}) => {
  const email = user()
  const p = await phone(email)
  const first = await start(p, apps.classic)
  apps.classic.on('session_request', email, ({reply}) => reply(500, {status: 'error', message: 'Failed to connect'}))
  await first.cut()
  await p.take({type: 'app_stopped', packageName: 'com.e2e.classic'}, {within: 18_000})
  apps.classic.on('session_request', email, undefined)
  const again = await start(p, apps.classic)
  assert.equal(again.acked.userId, email, 'the user can start it again')
})

scenario('a v3 app reconnects within 5 s and keeps its subscriptions', async ({phone, user, apps, start}) => {
  const email = user()
  const p = await phone(email)
  const first = await start(p, apps.modern)
  await first.subscribed(['button_press', 'transcription:auto'])
  const mark = apps.modern.webhooks.mark()
  await first.cut()
  const second = await apps.modern.reconnect(first.webhook)
  const ack = await second.take({type: 'reconnect_ack'})
  assert.equal(ack.sessionId, `${email}-com.e2e.modern`)
  assert.ok(['button_press', 'transcription:auto'].every((name) => ack.subscriptions.includes(name)), `subscriptions ${ack.subscriptions}`)
  assert.deepEqual(second.order.slice(0, 2), ['reconnect_ack', 'device_state_update'])
  await hears(p, second, 'back')
  await apps.modern.webhooks.never({user: email}, 5_500, 'it came back within the grace', mark)
})

scenario('a v3 app that stays away gets a session_request only; its set is kept', async ({phone, user, apps, start}) => {
  const email = user()
  const p = await phone(email)
  const first = await start(p, apps.modern)
  await first.subscribed(['button_press'])
  const mark = apps.modern.webhooks.mark()
  await first.cut()
  const second = await apps.modern.socket(email, {within: 15_000})
  assert.deepEqual(hooks(apps.modern, email, mark), ['session_request'])
  assert.ok(second.acked.subscriptions.includes('button_press'))
  await hears(p, second, 'resumed')
})

scenario('reconnects that cannot be: each gets its own answer', async ({phone, user, apps, start, cloud}) => {
  const email = user()
  const p = await phone(email)
  const app = apps.modern
  const webhook = {userId: email, sessionId: `${email}-com.e2e.modern`, websocketUrl: `${cloud.wsBase}/ws/miniapp`}
  const rejected = async (socket, expected, close, linger) => {
    const {type, code, message} = await socket.take((m) => /rejected|error/.test(m.type))
    assert.deepEqual([type, code, message], expected)
    const end = await socket.ended()
    assert.deepEqual([end.code, end.reason], [1008, close])
    if (linger) assert.ok(end.at - socket.made >= 950, `closed after ${(end.at - socket.made).toFixed(0)} ms; an init may follow within 1 s`)
  }
  await rejected(await app.reconnect(webhook), ['reconnect_rejected', 'NOT_RUNNING', 'App is not expected to run for this user session'], 'App not running')

  const old = app.open(webhook)
  await old.opened
  old.send({type: 'reconnect', sessionId: webhook.sessionId, sdkVersion: '2.1.29'})
  await rejected(old, ['reconnect_rejected', 'SESSION_NOT_FOUND', 'Reconnect is only supported for SDK v3'], 'Reconnect unsupported', true)

  const nameless = app.open(webhook, {headers: {}})
  await nameless.opened
  nameless.send({type: 'reconnect', sessionId: webhook.sessionId, sdkVersion: '3.0.0'})
  await rejected(nameless, ['reconnect_rejected', 'SESSION_NOT_FOUND', 'Reconnect missing user or package identity'], 'Reconnect identity missing', true)

  const keyless = app.open(webhook, {headers: {'x-user-id': email, 'x-package-name': 'com.e2e.modern'}})
  await keyless.opened
  keyless.send({type: 'reconnect', sessionId: webhook.sessionId, sdkVersion: '3.0.0'})
  await rejected(keyless, ['reconnect_rejected', 'SESSION_NOT_FOUND', 'Reconnect requires apiKey when cloud state is unavailable'], 'Reconnect unauthenticated', true)

  const forged = app.open(webhook, {headers: {'x-user-id': email, 'x-package-name': 'com.e2e.modern', 'x-api-key': 'wrong'}})
  await forged.opened
  forged.send({type: 'reconnect', sessionId: webhook.sessionId, sdkVersion: '3.0.0'})
  await rejected(forged, ['tpa_connection_error', 'INVALID_API_KEY', 'Invalid API key'], 'Invalid API key')

  const running = await start(p, app)
  await running.subscribed(['button_press'])
  const expired = await app.reconnect(webhook, 'another-id')
  await rejected(expired, ['reconnect_rejected', 'SESSION_EXPIRED', 'Reconnect session identity does not match the active app session'], 'Session expired', true)
  await hears(p, running, 'none the worse')
})

scenario('an init on the socket that was told SESSION_EXPIRED keeps it open', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const first = await start(p, apps.modern)
  await first.subscribed(['button_press'])
  await first.cut()
  const socket = await apps.modern.reconnect(first.webhook, 'another-id')
  await socket.take({type: 'reconnect_rejected', code: 'SESSION_EXPIRED'})
  socket.send(apps.modern.init(first.webhook))
  await socket.take({type: 'tpa_connection_ack'})
  await passes(1_500, 'the linger of a rejected reconnect is 1 s')
  await hears(p, socket, 'kept')
})

scenario('released ownership: the app sleeps, nothing restarts it until the phone returns', async ({phone, user, apps, start}) => {
  const email = user()
  const p = await phone(email)
  const socket = await start(p, apps.classic)
  const mark = apps.classic.webhooks.mark()
  socket.send({type: 'ownership_release', packageName: 'com.e2e.classic', sessionId: '', reason: 'clean_shutdown'})
  await socket.close()
  await apps.classic.webhooks.never({user: email}, 6_000, 'ownership was released', mark)
  await p.cut()
  const again = await phone(email)
  await apps.classic.socket(email, {what: 'the dormant app to be restarted when the phone returns'})
  assert.equal(again.ack.sessionId, email)
})

scenario('the close of a refused socket does not touch the running app', async ({phone, user, apps, start}) => {
  const email = user()
  const p = await phone(email)
  const running = await start(p, apps.classic)
  await running.subscribed(['button_press'])
  const mark = apps.classic.webhooks.mark()
  const thief = apps.classic.open(running.webhook, {headers: {}})
  await thief.opened
  thief.send({...apps.classic.init(running.webhook), apiKey: 'wrong'})
  assert.equal((await thief.ended()).code, 1008)
  await hears(p, running, 'during')
  await apps.classic.webhooks.never({user: email}, 5_500, 'a stranger cannot knock an app over', mark)
  await hears(p, running, 'after')
})

scenario('a phone that drops and returns: same session, apps untouched, microphone re-sent after 100 ms', async ({phone, user, apps, start}) => {
  const email = user()
  const p = await phone(email)
  const app = await start(p, apps.classic)
  await app.subscribed(['audio_chunk', 'button_press'])
  const mark = apps.classic.webhooks.mark()
  await p.cut()
  app.show('nobody looks')
  await passes(1_500, 'away, inside the 60 s')
  const again = await phone(email)
  await again.take({type: 'microphone_state_change', isMicrophoneEnabled: true, requiredData: ['pcm']})
  await hears(again, app, 'back')
  again.audio(Buffer.alloc(64, 3))
  await app.audio.take((chunk) => chunk.length === 64 && chunk[0] === 3)
  assert.deepEqual(hooks(apps.classic, email, mark), [])
  assert.ok(!app.order.includes('app_stopped'))
})

scenario('an app lost while the phone is away sleeps, and wakes with the phone', async ({phone, user, apps, start}) => {
  const email = user()
  const p = await phone(email)
  const app = await start(p, apps.classic)
  const mark = apps.classic.webhooks.mark()
  await p.cut()
  await app.cut()
  await apps.classic.webhooks.never({user: email}, 6_500, 'no restart while the phone is away', mark)
  await phone(email)
  await apps.classic.socket(email, {what: 'the dormant app to be restarted'})
})

scenario('a second phone socket takes over; the first is not closed, only left without events', async ({phone, dial, user, apps, start}) => {
  const email = user()
  const first = await phone(email)
  const app = await start(first, apps.classic)
  await app.subscribed(['button_press'])
  const second = await phone(email)
  await hears(second, app, 'from the second')
  const mark = first.messages.mark()
  app.show('for the second')
  await second.take({type: 'display_event', layout: {text: 'for the second'}})
  assert.deepEqual(first.messages.since(mark, {type: 'display_event'}), [])
  await first.handled()
  assert.equal(first.ws.readyState, 1, 'a phone reacts to any close by reconnecting: it must stay open')
  await first.close()
  await hears(second, app, 'after the first has gone')
  assert.equal((await second.rest('GET', '/api/client/apps')).status, 200, 'its close started no grace')
})

scenario('goodbye ends a session at once, but not under an open phone', async ({phone, user, apps, start}) => {
  const email = user()
  const p = await phone(email)
  const socket = await start(p, apps.classic)
  await socket.subscribed(['button_press'])
  const kept = await p.goodbye()
  assert.deepEqual([kept.status, kept.body], [200, {success: true}])
  p.send({type: 'button_press', buttonId: 'kept', pressType: 'short'})
  await socket.stream('button_press', {buttonId: 'kept'})
  await p.close()
  await p.goodbye()
  const end = await socket.ended()
  // Long before its grace of 60 s is over.
  assert.deepEqual([end.code, end.reason], [1000, 'User session ended'])
})
