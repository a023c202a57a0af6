// Deliberate stops, the one foreground app, and the guard against empty subscription lists (protocol.md §3.5–3.6; scenarios 18, 19).
import assert from 'node:assert/strict'
import {passes} from '../lib/inbox.mjs'
import {suite} from '../lib/suite.mjs'

const scenario = suite({
  apps: {
    classic: {generation: 2},
    modern: {generation: 3},
    front: {type: 'standard'},
    rival: {type: 'standard'},
  },
})

for (const name of ['classic', 'modern']) {
  scenario(`stop of a ${name} app: webhook answered, then app_stopped, then 1000, and it stays stopped`, async ({phone, user, apps, start}) => {
    const email = user()
    const p = await phone(email)
    const app = apps[name]
    const socket = await start(p, app)
    await socket.subscribed(['button_press', 'audio_chunk'])
    await p.take({type: 'microphone_state_change', isMicrophoneEnabled: true})
    let answered
    let heardDuring
    app.on('stop_request', email, ({body, reply}) => {
      assert.equal(body.reason, 'user_disabled')
      assert.equal(body.sessionId, `${email}-${app.packageName}`)
      // While the webhook is out nothing but app_stopped may reach the app.
      const mark = socket.messages.mark()
      const heard = socket.audio.mark()
      p.send({type: 'button_press', buttonId: 'too late', pressType: 'short'})
      p.audio(Buffer.alloc(320))
      setTimeout(() => {
        heardDuring = [...socket.messages.since(mark, {type: 'data_stream'}), ...socket.audio.since(heard)]
        answered = performance.now()
        reply(200, {status: 'success'})
      }, 500)
    })
    const mark = app.webhooks.mark()
    const stopped = await p.stop(app.packageName)
    assert.deepEqual([stopped.status, stopped.body], [200, {success: true, data: {status: 'stopped', isRunning: false}}])
    const end = await socket.ended()
    assert.deepEqual([end.code, end.reason], [1000, 'App stopped'])
    assert.equal(socket.order.at(-2), 'app_stopped')
    assert.equal(socket.messages.all({type: 'app_stopped'})[0].reason, 'user_disabled')
    assert.ok(end.at >= answered, 'the webhook was answered before the close')
    assert.deepEqual(heardDuring, [])
    await p.take({type: 'microphone_state_change', isMicrophoneEnabled: false})
    await app.webhooks.never({user: email, body: {type: 'session_request'}}, 5_500, 'a stopped app stays stopped', mark)
    const again = await p.stop(app.packageName)
    assert.deepEqual([again.status, again.body.data.isRunning], [200, false], 'a stop of a stopped app is no error')
    assert.equal(app.webhooks.since(mark, {body: {type: 'stop_request', userId: email}}).length, 1)
    const reconnect = name === 'modern' ? await app.reconnect(socket.webhook) : await app.connect(socket.webhook)
    await reconnect.take({code: name === 'modern' ? 'NOT_RUNNING' : 'APP_NOT_STARTED'})
  })
}

scenario('an app server that does not answer the stop holds it up for 3 s at most', async ({phone, user, apps, start}) => {
  const email = user()
  const p = await phone(email)
  const socket = await start(p, apps.classic)
  apps.classic.on('stop_request', email, () => {})
  const begun = performance.now()
  p.send({type: 'stop_app', packageName: 'com.e2e.classic', timestamp: Date.now()})
  const end = await socket.ended()
  assert.equal(end.reason, 'App stopped')
  assert.ok(end.at - begun >= 2_900, `closed after ${(end.at - begun).toFixed(0)} ms; the webhook has 3 s`)
})

scenario('a flapping app can be stopped: inside its grace, and for good', async ({phone, user, apps, start}) => {
  const email = user()
  const p = await phone(email)
  const socket = await start(p, apps.classic)
  await socket.cut()
  const stopped = await p.stop('com.e2e.classic')
  assert.equal(stopped.body.data.isRunning, false)
  const mark = apps.classic.webhooks.mark()
  await apps.classic.webhooks.never({user: email, body: {type: 'session_request'}}, 6_000, 'stopped in its grace', mark)
})

scenario('one foreground app: starting another stops the first, background apps stay', async ({phone, user, apps, start}) => {
  const email = user()
  const p = await phone(email)
  const behind = await start(p, apps.classic)
  const front = await start(p, apps.front)
  const mark = apps.front.webhooks.mark()
  const rival = await start(p, apps.rival)
  const end = await front.ended()
  assert.deepEqual([end.code, end.reason], [1000, 'App stopped'])
  const stop = apps.front.webhooks.since(mark, {body: {type: 'stop_request', userId: email}})[0]
  const session = apps.rival.webhooks.all({body: {type: 'session_request', userId: email}})[0]
  assert.ok(stop.at <= session.at, 'the first was stopped before the second was called')
  await behind.subscribed(['button_press'])
  await rival.subscribed(['button_press'])
  for (const [name, running] of [['front', false], ['rival', true], ['classic', true]]) {
    await p.rest('POST', `/api/apps/install/com.e2e.${name}`)
    const list = (await p.rest('GET', '/api/client/apps')).body.data
    assert.equal(list.find((app) => app.packageName === `com.e2e.${name}`).running, running, name)
  }
})

scenario('an empty list right after an attach is ignored; after 8 s it clears (v2)', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const first = await start(p, apps.classic)
  await first.subscribed(['button_press'])
  await first.cut()
  const socket = await apps.classic.connect(first.webhook)
  await socket.take({type: 'tpa_connection_ack'})
  const attached = performance.now()
  socket.subscribe([])
  p.send({type: 'button_press', buttonId: 'guarded', pressType: 'short'})
  await socket.stream('button_press', {buttonId: 'guarded'})
  await passes(8_500 - (performance.now() - attached), 'the guard lasts 8 s')
  socket.subscribe([])
  await p.take({type: 'app_state_change'}, {what: 'the applied update to be told'})
  await socket.handled()
  const mark = socket.messages.mark()
  p.send({type: 'button_press', buttonId: 'cleared', pressType: 'short'})
  await socket.messages.never({streamType: 'button_press'}, 1_000, 'the list was cleared', mark)
})

scenario('an empty list of a v3 app is meant, at any time', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const socket = await start(p, apps.modern)
  socket.subscribe(['audio_chunk'])
  await p.take({type: 'microphone_state_change', isMicrophoneEnabled: true})
  socket.subscribe([])
  await p.take({type: 'microphone_state_change', isMicrophoneEnabled: false})
})

scenario('uninstalling stops', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  await p.rest('POST', '/api/apps/install/com.e2e.classic')
  const socket = await start(p, apps.classic)
  const answer = await p.rest('POST', '/api/apps/uninstall/com.e2e.classic')
  assert.deepEqual([answer.status, answer.body], [200, {success: true, message: 'App com.e2e.classic uninstalled successfully'}])
  assert.equal((await socket.ended()).reason, 'App stopped')
  assert.equal((await p.rest('POST', '/api/apps/uninstall/com.e2e.classic')).body.message, 'App is not installed')
})
