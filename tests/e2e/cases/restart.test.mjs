// Shutdown, crash and return of the server (protocol.md §1.7, §3.4; behaviour.md §2.11, §10.6; scenarios 16 and 24).
import assert from 'node:assert/strict'
import {Agent, request} from 'node:http'
import {handshake} from '../lib/http.mjs'
import {repeatUntil} from '../lib/inbox.mjs'
import {RawSocket} from '../lib/rawsocket.mjs'
import {suite} from '../lib/suite.mjs'
import {coreToken} from '../lib/token.mjs'

const scenario = suite({
  apps: {
    classic: {generation: 2, settings: [{type: 'text', key: 'lang', label: 'Language', defaultValue: 'en'}]},
    modern: {generation: 3},
    sdk2: {sdk: 'v2', streams: ['button']},
    sdk3: {sdk: 'v3', streams: ['button']},
  },
})
const press = (buttonId) => ({type: 'button_press', buttonId, pressType: 'short', timestamp: Date.now()})

/** Kills or stops the server and starts it again on the same port and data. */
async function restart(cloud, signal) {
  const end = await cloud.stop(signal)
  await cloud.start()
  return end
}

/** A GET on a connection that was open before the server began to drain. */
function onOpenConnection(agent, cloud, path, headers = {}) {
  return new Promise((resolve, reject) => {
    const call = request(cloud.base + path, {agent, headers}, (answer) => {
      let text = ''
      answer.on('data', (chunk) => (text += chunk))
      answer.on('end', () => resolve({status: answer.statusCode, text}))
    })
    call.on('upgrade', (answer, socket) => {
      socket.destroy()
      resolve({status: answer.statusCode, text: 'upgraded'})
    })
    call.on('error', reject)
    call.end()
  })
}

scenario('SIGTERM: 1001 on every kind of socket, 503 to newcomers, /livez still ok, exit 0 within 5 s', async ({phone, user, apps, start, cloud}) => {
  const p = await phone(user())
  const app = await start(p, apps.classic)
  const absent = user('absent')
  const parked = await apps.modern.reconnect({userId: absent, sessionId: `${absent}-com.e2e.modern`, websocketUrl: `${cloud.wsBase}/ws/miniapp`})
  await parked.take({type: 'reconnect_deferred'})
  const silent = apps.classic.open({userId: absent, mentraOSWebsocketUrl: `${cloud.wsBase}/app-ws`}, {headers: {}})
  await silent.opened
  // This phone never answers a close frame: the server must not wait for it for ever, and drains while it does.
  const deaf = await RawSocket.open(`${cloud.wsBase}/glasses-ws?token=${coreToken(user('deaf'))}`)
  const agents = Array.from({length: 4}, () => new Agent({keepAlive: true, maxSockets: 1}))
  for (const agent of agents) await onOpenConnection(agent, cloud, '/livez')
  const mark = apps.classic.webhooks.mark()

  const ending = cloud.stop('SIGTERM')
  const ends = await Promise.all([p.closed, app.ended(), parked.ended(), silent.ended(), deaf.closed])
  for (const end of ends) assert.deepEqual([end?.code, end?.reason], [1001, 'Server shutting down'])
  const asked = await Promise.all([
    onOpenConnection(agents[0], cloud, '/livez'),
    onOpenConnection(agents[1], cloud, '/health'),
    onOpenConnection(agents[2], cloud, '/api/client/min-version'),
    onOpenConnection(agents[3], cloud, `/glasses-ws?token=${coreToken(user())}`, handshake),
  ]).catch((error) => {
    throw new Error(`the draining server did not answer on connections that were open (a peer still owes it a close frame): ${error.message}`)
  })
  const draining = {status: 'draining', message: 'Server is shutting down'}
  assert.deepEqual([asked[0].status, asked[0].text.trim()], [200, 'ok'])
  for (const answer of asked.slice(1, 3)) assert.deepEqual([answer.status, JSON.parse(answer.text)], [503, draining])
  assert.deepEqual([asked[3].status, asked[3].text], [503, 'Server is shutting down'])
  const end = await ending
  for (const agent of agents) agent.destroy()
  // After 5 s its watchdog would end it with 1.
  assert.deepEqual([end.code, end.signal], [0, null], cloud.child.tail(20))
  assert.deepEqual(apps.classic.webhooks.since(mark, {user: p.email}), [], 'no webhooks at shutdown')
  assert.ok(cloud.child.log.some((line) => line.includes('shutdown-started')), 'shutdown-started on stderr')
  assert.ok(cloud.child.log.some((line) => line.includes('shutdown-complete')), 'shutdown-complete on stderr')
  await cloud.start()
})

scenario('SIGINT ends it the same way', async ({phone, user, cloud}) => {
  const p = await phone(user())
  const end = await restart(cloud, 'SIGINT')
  assert.deepEqual([end.code, (await p.closed).code], [0, 1001])
})

for (const signal of ['SIGTERM', 'SIGKILL']) {
  scenario(`after ${signal} the user's running apps come back with the phone, stopped ones do not`, async ({phone, user, apps, start, cloud}) => {
    const email = user()
    const p = await phone(email)
    const stopped = await start(p, apps.modern)
    assert.equal((await p.stop('com.e2e.modern')).status, 200)
    await stopped.ended()
    await p.rest('POST', '/api/apps/install/com.e2e.classic')
    await p.rest('PUT', '/api/client/user/settings', {settings: {brightness: 77}})
    await start(p, apps.classic)
    const saved = await p.rest('POST', '/appsettings/com.e2e.classic', {key: 'lang', value: 'pt'})
    assert.equal(saved.status, 200, saved.text)
    const mark = apps.modern.webhooks.mark()
    await restart(cloud, signal)
    const again = await phone(email)
    const socket = await apps.classic.socket(email, {what: 'the running app to be started after the restart'})
    assert.deepEqual(socket.acked.settings.map(({key, value}) => [key, value]), [['lang', 'pt']])
    assert.equal(socket.acked.mentraosSettings.brightness, 77)
    const list = (await again.rest('GET', '/api/client/apps')).body.data
    assert.equal(list.find((app) => app.packageName === 'com.e2e.classic')?.running, true)
    await apps.modern.webhooks.never({user: email}, 1_000, 'the user had stopped it', mark)
  })
}

scenario('a v2 app whose old session returns after its restart keeps both sockets until it is stopped', async ({phone, user, apps, start, cloud}) => {
  const email = user()
  await start(await phone(email), apps.classic)
  await restart(cloud, 'SIGKILL')
  const p = await phone(email)
  const asked = await apps.classic.socket(email, {what: 'the running app to be started after the restart'})
  const retry = await apps.classic.connect(asked.webhook)
  await retry.take({type: 'tpa_connection_ack'})
  await retry.subscribed(['button_press'])
  // SDKs before 2.1.29 forget a user with the close of either socket, and answer web views with the one that was asked for.
  await asked.messages.never({type: 'app_stopped'}, 6_000, 'other replaced sockets leave after 5 s')
  asked.show('from the web view')
  await p.take({type: 'display_event', layout: {text: 'from the web view'}})
  p.send(press('heard'))
  await retry.stream('button_press', {buttonId: 'heard'})
  assert.equal((await p.stop('com.e2e.classic')).status, 200)
  for (const socket of [asked, retry]) {
    const end = await socket.ended()
    assert.deepEqual([end.code, end.reason], [1000, 'App stopped'])
  }
})

scenario('a v3 app that returns before its phone is parked, and attached without a webhook', async ({phone, user, apps, start, cloud}) => {
  const email = user()
  const p = await phone(email)
  const first = await start(p, apps.modern)
  await first.subscribed(['button_press'])
  await restart(cloud, 'SIGTERM')
  const older = await apps.modern.reconnect(first.webhook)
  const deferred = await older.take({type: 'reconnect_deferred'})
  assert.deepEqual([deferred.code, deferred.message, deferred.timeoutMs], ['BOOTING', 'Cloud is still restoring user session state', 30_000])
  const parked = await apps.modern.reconnect(first.webhook)
  await parked.take({type: 'reconnect_deferred', code: 'BOOTING'})
  const superseded = await older.ended()
  assert.deepEqual([superseded.code, superseded.reason], [1013, 'Superseded by newer deferred connection'])
  parked.send({type: 'ping'})
  await parked.take({type: 'pong'})

  const mark = apps.modern.webhooks.mark()
  const again = await phone(email)
  const ack = await parked.take({type: 'reconnect_ack'})
  assert.equal(ack.sessionId, `${email}-com.e2e.modern`)
  await parked.subscribed(['button_press'])
  assert.deepEqual(apps.modern.webhooks.since(mark, {user: email}), [], 'no webhook')
  // Still v3 after that: lost, it is not given a stop_request.
  await parked.cut()
  const next = await apps.modern.reconnect(first.webhook)
  await next.take({type: 'reconnect_ack', subscriptions: (list) => list.includes('button_press')})
})

scenario('the official SDKs live through a restart of the server', async ({phone, user, apps, cloud}) => {
  const email = user()
  const p = await phone(email)
  for (const app of [apps.sdk2, apps.sdk3]) {
    assert.equal((await p.start(app.packageName)).body.data.isRunning, true)
    await app.take(email, 'session')
    await repeatUntil(() => p.send(press('before')), app.take(email, 'data', {data: {buttonId: 'before'}}))
  }
  await restart(cloud, 'SIGTERM')
  assert.match((await apps.sdk2.take(email, 'stop')).reason, /^Clean disconnect/)
  await apps.sdk3.take(email, 'parked', {}, {within: 12_000})
  const mark = apps.sdk3.events.mark()
  const again = await phone(email)
  await apps.sdk3.take(email, 'reconnected')
  await apps.sdk2.take(email, 'session')
  for (const app of [apps.sdk2, apps.sdk3]) {
    await repeatUntil(() => again.send(press('after')), app.take(email, 'data', {data: {buttonId: 'after'}}))
  }
  assert.deepEqual(apps.sdk3.events.since(mark, {event: 'session', user: email}), [], 'no webhook for the one that came by itself')
})
