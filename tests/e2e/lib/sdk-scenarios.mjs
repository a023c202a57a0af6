// What an app on an official SDK must live through; the same for every SDK (protocol.md §20, sdk-needs).
import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import {passes, repeatUntil} from './inbox.mjs'
import {suite} from './suite.mjs'
import {sha256} from './token.mjs'

const STREAMS = ['button', 'head', 'vad', 'double_tap', 'battery', 'location', 'notification', 'audio']

const press = (id) => ({type: 'button_press', buttonId: id, pressType: 'short', timestamp: Date.now()})

/** The app hears a button of its own: its handlers are subscribed and the way from phone to app is whole. */
async function alive(phone, app, user, id) {
  await repeatUntil(() => phone.send(press(id)), app.take(user, 'data', {stream: 'button_press', data: {buttonId: id}}, {within: 15_000}))
}

/** Sends `count` chunks of PCM and finds every byte in the app, in order. */
async function audioArrives(phone, app, user, count = 12) {
  const chunks = Array.from({length: count}, (_, i) => randomBytes(640 + 2 * i))
  const mark = app.events.mark()
  for (const chunk of chunks) phone.audio(chunk)
  for (const chunk of chunks) await app.take(user, 'audio', {sha: sha256(chunk)}, {what: `a chunk of ${chunk.length} bytes, unchanged`})
  const heard = app.events.since(mark, {event: 'audio', user})
  assert.deepEqual(heard.map((chunk) => chunk.length), chunks.map((chunk) => chunk.length), 'chunks in the order sent, each one frame')
}

/** Its text wall reaches the phone, named and placed as the server must. */
async function textWallArrives(phone, app, user, text) {
  const [event] = await Promise.all([
    phone.take({type: 'display_event', layout: {layoutType: 'text_wall', text}}),
    app.command(user, 'showTextWall', text),
  ])
  assert.equal(event.packageName, app.packageName)
  assert.equal(event.view, 'main')
}

/**
 * Declares the scenarios for one SDK: 'v2', 'v3' or 'hono8'. `comesBack`: how the SDK returns after its socket was cut.
 */
export function sdkScenarios(sdk, {comesBack}) {
  const settings = [
    {type: 'text', key: 'lang', label: 'Language', defaultValue: 'en'},
    {type: 'toggle', key: 'loud', label: 'Loud', defaultValue: true},
  ]
  const scenario = suite({apps: {app: {sdk, type: 'standard', streams: STREAMS, settings}}})

  async function running({user, phone, apps}, stem) {
    const email = user(stem)
    const p = await phone(email)
    const answer = await p.start(apps.app.packageName)
    assert.deepEqual(answer.body?.data?.isRunning, true, `start was answered ${answer.text}`)
    const session = await apps.app.take(email, 'session')
    assert.equal(session.sessionId, `${email}-${apps.app.packageName}`)
    return {email, p, app: apps.app}
  }

  scenario(`${sdk}: starts by webhook, hears events, draws, is stopped`, async (t) => {
    const {email, p, app} = await running(t)
    await alive(p, app, email, 'warm-up')
    p.send({type: 'head_position', position: 'up', timestamp: Date.now()})
    await app.take(email, 'data', {stream: 'head_position', data: {position: 'up'}})
    p.send({type: 'VAD', status: true})
    await app.take(email, 'data', {stream: 'VAD'})
    p.send({type: 'touch_event', device_model: 'Mentra Live', gesture_name: 'double_tap', timestamp: Date.now()})
    await app.take(email, 'data', {stream: 'touch_event:double_tap'})
    p.send({type: 'glasses_battery_update', level: 42, charging: true, timestamp: Date.now()})
    await app.take(email, 'data', {stream: 'glasses_battery_update', data: {level: 42, charging: true}})
    const location = await p.rest('POST', '/api/client/location', {coords: {latitude: 38.5, longitude: -9.25, accuracy: 12}, timestamp: Date.now()})
    assert.equal(location.status, 200)
    await app.take(email, 'data', {stream: 'location_update', data: {lat: 38.5, lng: -9.25}})
    const notice = {notificationId: 'n-1', app: 'Mail', title: 'Ines', content: 'Running late', priority: 'normal', timestamp: Date.now(), packageName: 'org.mail'}
    assert.equal((await p.rest('POST', '/api/client/notifications', notice)).status, 200)
    await app.take(email, 'data', {stream: 'phone_notification', data: {notificationId: 'n-1', title: 'Ines', content: 'Running late'}})
    await textWallArrives(p, app, email, `hello from ${sdk}`)

    const stopped = await p.stop(app.packageName)
    assert.deepEqual(stopped.body?.data, {status: 'stopped', isRunning: false})
    assert.equal((await app.take(email, 'stop')).reason, 'user_disabled', 'the reason a developer acts on first')
    await app.events.never({event: 'session', user: email}, 4_000, 'a stopped app stays stopped; SDKs retry after 1 s and 2 s')
  })

  scenario(`${sdk}: settings come with the session, and again when the user changes them`, async (t) => {
    const email = t.user()
    const p = await t.phone(email)
    assert.equal((await p.start(t.apps.app.packageName)).body?.data?.isRunning, true)
    const value = (event) => event.settings.find((item) => item.key === 'lang')?.value
    // SDK 3.x hands the session out before its ack; its settings come with `onConnected`.
    assert.equal(value(await t.apps.app.take(email, sdk === 'v3' ? 'connected' : 'session')), 'en')
    const saved = await p.rest('POST', `/appsettings/${t.apps.app.packageName}`, {key: 'lang', value: 'pt'})
    assert.deepEqual([saved.status, saved.body], [200, {success: true, message: 'Settings updated successfully'}])
    const told = await t.apps.app.take(email, 'settings', {settings: (list) => value({settings: list}) === 'pt'})
    assert.equal(told.settings.find((item) => item.key === 'loud')?.value, true, 'what the user never touched is still there')
  })

  scenario(`${sdk}: audio arrives byte for byte`, async (t) => {
    const {email, p, app} = await running(t)
    await p.take({type: 'microphone_state_change', isMicrophoneEnabled: true, requiredData: ['pcm'], bypassVad: true})
    await audioArrives(p, app, email, 40)
  })

  scenario(`${sdk}: killed with -9 and restarted, it is called back and works again`, async (t) => {
    const {email, p, app} = await running(t)
    await alive(p, app, email, 'before')
    await app.kill()
    await app.listen(app.port)
    await app.take(email, 'session', {}, {within: 20_000, what: 'the session_request that follows the 5 s grace'})
    await alive(p, app, email, 'after')
    await audioArrives(p, app, email)
  })

  scenario(`${sdk}: its socket cut, it returns within the grace and nothing is lost`, async (t) => {
    const {email, p, app} = await running(t)
    await alive(p, app, email, 'before')
    const mark = app.events.mark()
    await app.command(email, 'cut')
    await app.take(email, comesBack)
    await alive(p, app, email, 'after')
    await app.events.never((e) => e.user === email && (e.event === 'session' || e.event === 'stop'), 5_000, 'no webhook after a return within 5 s', mark)
    await audioArrives(p, app, email)
  })

  scenario(`${sdk}: a phone that drops and returns within the grace disturbs no app`, async (t) => {
    const {email, p, app} = await running(t)
    await alive(p, app, email, 'before')
    const mark = app.events.mark()
    await p.cut()
    await passes(1_500, 'the phone is away, well inside its 60 s')
    const again = await t.phone(email)
    await again.take({type: 'microphone_state_change', isMicrophoneEnabled: true}, {what: 'the microphone state to be re-sent'})
    await alive(again, app, email, 'after')
    await audioArrives(again, app, email)
    const heard = app.events.since(mark, (e) => e.user === email && ['session', 'stop', 'disconnected'].includes(e.event))
    assert.deepEqual(heard, [], 'the app noticed nothing')
  })

  scenario(`${sdk}: a user's goodbye ends its session for good`, async (t) => {
    const {email, p, app} = await running(t)
    await alive(p, app, email, 'before')
    await p.close()
    await p.goodbye()
    await app.take(email, 'disconnected', {}, {what: 'its socket to be closed with the session'})
    await app.events.never({event: 'session', user: email}, 4_000, 'an ended session is not brought back')
  })
}
