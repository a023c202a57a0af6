// Streams: who gets what, unmodified, and who must not (protocol.md §5; scenarios 8 and 9).
import assert from 'node:assert/strict'
import {suite} from '../lib/suite.mjs'

const scenario = suite({
  apps: {
    one: {},
    two: {},
    wild: {permissions: []},
    poor: {permissions: ['CALENDAR']},
    bare: {permissions: []},
  },
})

scenario('a message of an unknown type reaches its subscribers unmodified', async ({phone, user, apps, start}) => {
  const email = user()
  const p = await phone(email)
  const [one, two] = [await start(p, apps.one), await start(p, apps.two)]
  await one.subscribed(['foo_bar'])
  await two.subscribed(['button_press'])
  const message = {type: 'foo_bar', x: 1, nested: {'ключ': ['Ж', '\u2028', '\u0000', 1e21, -0.5, null]}, timestamp: 'odd'}
  const mark = two.messages.mark()
  p.send(message)
  const envelope = await one.stream('foo_bar')
  assert.deepEqual(envelope.data, message)
  assert.equal(envelope.sessionId, `${email}-com.e2e.one`)
  assert.deepEqual(Object.keys(envelope).sort(), ['data', 'sessionId', 'streamType', 'timestamp', 'type'])
  p.send({type: 'button_press', buttonId: 'end', pressType: 'short'})
  await two.stream('button_press', {buttonId: 'end'})
  assert.deepEqual(two.messages.since(mark, {streamType: 'foo_bar'}), [])
})

scenario('messages of one phone arrive in the order sent', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const app = await start(p, apps.one)
  await app.subscribed(['button_press', 'counter'])
  const mark = app.messages.mark()
  for (let i = 0; i < 300; i += 1) p.send({type: i % 3 ? 'counter' : 'button_press', n: i})
  await app.take({type: 'data_stream', data: {n: 299}})
  assert.deepEqual(app.messages.since(mark, {data: {n: (n) => n !== undefined}}).map((m) => m.data.n), Array.from({length: 300}, (_, i) => i))
})

scenario('one tap, one envelope each, under the name the app asked for', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const [one, two, wild] = [await start(p, apps.one), await start(p, apps.two), await start(p, apps.wild)]
  await one.subscribed(['touch_event'])
  await two.subscribed(['touch_event:single_tap', 'touch_event'])
  await wild.subscribed(['*'])
  p.send({type: 'touch_event', device_model: 'Mentra Live', gesture_name: 'single_tap', timestamp: 5})
  await one.stream('touch_event', {gesture_name: 'single_tap', device_model: 'Mentra Live', timestamp: 5})
  await two.stream('touch_event:single_tap')
  await wild.stream('touch_event:single_tap')
  p.send({type: 'touch_event', device_model: 'Mentra Live', gesture_name: 'double_tap', timestamp: 6})
  await one.stream('touch_event', {gesture_name: 'double_tap'})
  await two.stream('touch_event', {gesture_name: 'double_tap'})
  for (const app of [one, two, wild]) {
    p.send({type: 'foo_end'})
    assert.equal(app.messages.all({data: {gesture_name: 'single_tap'}}).length, 1, `${app.name}: once per app`)
  }
})

scenario('a new list replaces the old one', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const app = await start(p, apps.one)
  await app.subscribed(['button_press', 'head_position'])
  await app.subscribed(['head_position'])
  const mark = app.messages.mark()
  p.send({type: 'button_press', buttonId: 'gone', pressType: 'short'})
  p.send({type: 'head_position', position: 'down'})
  await app.stream('head_position')
  assert.deepEqual(app.messages.since(mark, {streamType: 'button_press'}), [])
})

scenario('notifications, location and calendar come in over REST and go out in their own form', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const app = await start(p, apps.one)
  await app.subscribed(['phone_notification', 'phone_notification_dismissed', {stream: 'location_stream', rate: 'high'}, 'calendar_event'])
  await p.take({type: 'set_location_tier', tier: 'high'})

  const notice = {notificationId: 'n-1', app: 'Mail', title: 'Ines', content: 'Running late', priority: 'normal', timestamp: 1773480413000, packageName: 'org.mail'}
  assert.equal((await p.rest('POST', '/api/client/notifications', notice)).body.message, 'Notification relayed to subscribed apps')
  assert.deepEqual((await app.stream('phone_notification')).data, {type: 'phone_notification', ...notice})
  const incomplete = await p.rest('POST', '/api/client/notifications', {app: 'Mail'})
  assert.equal(incomplete.status, 400)
  const gone = {notificationId: 'n-1', notificationKey: 'k', packageName: 'org.mail'}
  assert.equal((await p.rest('POST', '/api/client/notifications/dismissed', gone)).status, 200)
  await app.stream('phone_notification_dismissed', gone)

  assert.equal((await p.rest('POST', '/api/client/location', {coords: {latitude: 38.7169, longitude: -9.1399, accuracy: 12.5}, timestamp: 1773480413000})).status, 200)
  const fix = (await app.stream('location_update')).data
  assert.deepEqual([fix.type, fix.lat, fix.lng, fix.accuracy], ['location_update', 38.7169, -9.1399, 12.5])
  p.send({type: 'location_update', lat: 1, lng: 2, accuracy: 3, timestamp: 4})
  await app.stream('location_update', {lat: 1, lng: 2})

  const event = {id: 'ev-81', title: 'Design review', startDate: '2030-03-14T15:00:00Z', endDate: '2030-03-14T15:30:00Z', timeZone: 'Europe/Lisbon', allDay: false}
  assert.equal((await p.rest('POST', '/api/client/calendar', {events: [event], calendars: []})).status, 200)
  const seen = (await app.stream('calendar_event')).data
  assert.deepEqual([seen.eventId, seen.title, Date.parse(seen.dtStart)], ['ev-81', 'Design review', Date.parse(event.startDate)])
})

scenario('a poll for the location is answered to its asker alone', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const [one, two] = [await start(p, apps.one), await start(p, apps.two)]
  await two.subscribed(['location_update'])
  one.send({type: 'location_poll_request', packageName: 'com.e2e.one', sessionId: '', accuracy: 'high', correlationId: 'poll_1_x'})
  await p.take({type: 'request_single_location', correlationId: 'poll_1_x', accuracy: 'high'})
  const mark = two.messages.mark()
  assert.equal((await p.rest('POST', '/api/client/location/poll-response/poll_1_x', {location: {lat: 5, lng: 6, accuracy: 1}})).body.resolved, true)
  await one.stream('location_update', {correlationId: 'poll_1_x', lat: 5, lng: 6})
  p.send({type: 'location_update', lat: 9, lng: 9})
  await two.stream('location_update', {lat: 9})
  assert.deepEqual(two.messages.since(mark, {data: {correlationId: 'poll_1_x'}}), [])
})

scenario('streams without permission are refused by name, the rest is granted', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const poor = await start(p, apps.poor)
  poor.subscribe(['audio_chunk', 'calendar_event', 'button_press', 'phone_notification', 'location_stream'])
  const error = await poor.take({type: 'permission_error'})
  assert.deepEqual(
    Object.fromEntries(error.details.map(({stream, requiredPermission}) => [stream, requiredPermission])),
    {audio_chunk: 'MICROPHONE', phone_notification: 'READ_NOTIFICATIONS', location_stream: 'LOCATION'},
  )
  assert.equal(typeof error.message, 'string')
  poor.send(apps.poor.init(poor.webhook))
  const ack = await poor.take({type: 'tpa_connection_ack', subscriptions: (list) => list.length > 0})
  assert.deepEqual([...ack.subscriptions].sort(), ['button_press', 'calendar_event'])
  const mark = poor.messages.mark()
  await poor.subscribed(['audio_chunk', 'calendar_event', 'button_press', 'phone_notification', 'location_stream'])
  assert.deepEqual(poor.messages.since(mark, {type: 'permission_error'}), [], 'said once for the same set')
  p.audio(Buffer.alloc(640, 1))
  p.send({type: 'button_press', buttonId: 'after-audio', pressType: 'short'})
  await poor.stream('button_press', {buttonId: 'after-audio'})
  assert.equal(poor.audio.items.length, 0, 'no audio without MICROPHONE')
})

scenario('a wildcard brings nothing that its owner may not have', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const [bare, one] = [await start(p, apps.bare), await start(p, apps.one)]
  await bare.subscribed(['all'])
  await one.subscribed(['audio_chunk', 'VAD', 'phone_notification'])
  const mark = bare.messages.mark()
  p.audio(Buffer.alloc(320, 7))
  p.send({type: 'VAD', status: true})
  await p.rest('POST', '/api/client/notifications', {notificationId: 'n', app: 'a', title: 't', content: 'c'})
  p.send({type: 'button_press', buttonId: 'last', pressType: 'short'})
  await one.audio.take((b) => b.length === 320)
  await one.stream('phone_notification')
  await bare.stream('button_press', {buttonId: 'last'})
  assert.deepEqual(bare.messages.since(mark, (m) => ['VAD', 'phone_notification'].includes(m.streamType)), [])
  assert.equal(bare.audio.items.length, 0)
})

scenario('a list that is none is refused, the old set stays in force', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const app = await start(p, apps.one)
  await app.subscribed(['button_press'])
  app.send({type: 'subscription_update', packageName: 'com.e2e.one', sessionId: '', subscriptions: 'button_press'})
  const error = await app.take({type: 'tpa_connection_error'})
  assert.equal(error.code, 'MALFORMED_MESSAGE')
  assert.match(error.message, /^Invalid subscription type: /)
  app.send({type: 'no_such_type', packageName: 'com.e2e.one'})
  p.send({type: 'button_press', buttonId: 'still', pressType: 'short'})
  await app.stream('button_press', {buttonId: 'still'})
})

scenario('glasses that connect or change are told to every app', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const app = await start(p, apps.one)
  await app.subscribed(['glasses_connection_state'])
  await p.rest('POST', '/api/client/device/state', {batteryLevel: 33})
  assert.deepEqual((await app.take({type: 'device_state_update', fullSnapshot: false, state: {batteryLevel: 33}})).state, {batteryLevel: 33})
  await p.rest('POST', '/api/client/device/state', {modelName: 'Vuzix Z100'})
  const caps = await app.take({type: 'capabilities_update', modelName: 'Vuzix Z100'})
  assert.equal(caps.capabilities.display.maxTextLines, 7)
  const mark = app.messages.mark()
  await p.rest('POST', '/api/client/device/state', {batteryLevel: 33, modelName: 'Vuzix Z100', connected: true})
  p.send({type: 'glasses_connection_state', modelName: 'Vuzix Z100', status: 'DISCONNECTED', timestamp: new Date().toISOString()})
  await app.stream('glasses_connection_state', {status: 'DISCONNECTED'})
  const updates = app.messages.since(mark, {type: 'device_state_update'})
  assert.equal(updates.length, 1, 'an identical report says nothing; the disconnect does')
  assert.equal(updates[0].state.connected, false)
})

scenario('on-device speech is routed by language, under each app’s own string', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const [one, two] = [await start(p, apps.one), await start(p, apps.two)]
  await one.subscribed(['transcription:en-US?hints=es'])
  await two.subscribed(['transcription', 'local_transcription'])
  const said = {type: 'local_transcription', text: 'turn left', isFinal: true, startTime: 100, endTime: 900, speakerId: 0, transcribeLanguage: 'en-US', provider: 'ondevice'}
  p.send(said)
  assert.deepEqual((await one.stream('transcription:en-US?hints=es')).data, said)
  await two.stream('transcription:en-US')
  await two.stream('local_transcription')
})
