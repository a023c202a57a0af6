// Messages between users of one app (behaviour.md §7.10, protocol.md §8.21): broadcasts, direct messages, rooms.
import assert from 'node:assert/strict'
import {suite} from '../lib/suite.mjs'

const ADMIN = 'root@lumen.io'
const scenario = suite({
  apps: {chess: {}, other: {}, sdk: {sdk: 'v2', streams: ['button']}},
  env: {ADMIN_EMAILS: ADMIN},
})

/** Two users of one app. */
async function pair({phone, user, start}, app) {
  const [ada, ben] = [user('ada'), user('ben')]
  const [phoneA, phoneB] = [await phone(ada), await phone(ben)]
  return {ada, ben, phoneA, phoneB, a: await start(phoneA, app), b: await start(phoneB, app)}
}

const history = (cloud, packageName, user = ADMIN) => cloud.asUser(user, 'GET', `/api/admin/app-messages?package=${packageName}`)

scenario('a broadcast reaches the other users of the app, from whom the server knows it is', async (t) => {
  const {ada, ben, phoneB, a, b} = await pair(t, t.apps.chess)
  const other = await t.start(phoneB, t.apps.other)
  const payload = {move: 'e4', 'поле': [1, null, '\u2028']}
  a.send({type: 'app_broadcast_message', packageName: 'com.e2e.other', sessionId: 'of-somebody', payload, messageId: 'm-1', senderUserId: ben})
  const heard = await b.take({type: 'app_message_received', messageId: 'm-1'})
  assert.deepEqual(heard.payload, payload)
  assert.equal(heard.senderUserId, ada)
  assert.equal(heard.senderSessionId, `${ada}-com.e2e.chess`)
  // What comes later over the same ways has nothing before it.
  b.send({type: 'app_broadcast_message', payload: 'back', messageId: 'm-2'})
  await a.take({type: 'app_message_received', payload: 'back'})
  assert.deepEqual(a.messages.all({type: 'app_message_received', messageId: 'm-1'}), [], 'nothing to its sender')
  assert.deepEqual(other.messages.all({type: 'app_message_received'}), [], 'nothing to another app')
})

scenario('a direct message is answered: delivered, or why not', async (t) => {
  const {ada, ben, a, b} = await pair(t, t.apps.chess)
  a.send({type: 'app_direct_message', targetUserId: ben.toUpperCase(), payload: {t: 'hi'}, messageId: 'd-1'})
  const heard = await b.take({type: 'app_message_received', messageId: 'd-1'})
  assert.deepEqual([heard.payload, heard.senderUserId], [{t: 'hi'}, ada])
  assert.equal((await a.take({type: 'app_direct_message_response', messageId: 'd-1'})).success, true)
  a.send({type: 'app_direct_message', targetUserId: 'nobody@lumen.io', payload: 1, messageId: 'd-2'})
  const refused = await a.take({type: 'app_direct_message_response', messageId: 'd-2'})
  assert.equal(refused.success, false)
  assert.equal(refused.targetUserId, 'nobody@lumen.io')
  assert.equal(typeof refused.error, 'string')
})

scenario('a room holds as many as its creator said, and its members alone hear of it', async (t) => {
  const {ada, a, b} = await pair(t, t.apps.chess)
  const late = await t.start(await t.phone(t.user('cleo')), t.apps.chess)
  const join = (app, roomConfig) => app.send({type: 'app_room_join', roomId: 'r1', roomConfig})
  join(a, {maxUsers: 2, isPrivate: true, metadata: {board: 8}})
  await a.take({type: 'app_room_updated', roomId: 'r1', updateType: 'user_joined', roomData: {memberCount: 1}})
  join(b, {maxUsers: 50})
  const update = await a.take({type: 'app_room_updated', roomId: 'r1', roomData: {memberCount: 2}})
  assert.deepEqual(update.roomData, {memberCount: 2, maxUsers: 2, isPrivate: true, metadata: {board: 8}})
  join(late)
  await late.take({type: 'tpa_connection_error'})
  a.send({type: 'app_broadcast_message', roomId: 'r1', payload: 'check', messageId: 'r-1'})
  const heard = await b.take({type: 'app_message_received', messageId: 'r-1'})
  assert.deepEqual([heard.roomId, heard.senderUserId], ['r1', ada])
  await a.close(1000, 'bye')
  await b.take({type: 'app_room_updated', roomId: 'r1', updateType: 'user_left', roomData: {memberCount: 1}}, {within: 15_000})
  join(late)
  await late.take({type: 'app_room_updated', roomId: 'r1', updateType: 'user_joined', roomData: {memberCount: 2}})
  assert.deepEqual(late.messages.all({type: 'app_message_received'}), [], 'nothing from before it was a member')
})

scenario('administrators see the last messages of an app, not what they say', async (t) => {
  const {ada, ben, a, b} = await pair(t, t.apps.other)
  a.send({type: 'app_broadcast_message', payload: 'sesame', messageId: 'h-1'})
  await b.take({type: 'app_message_received', messageId: 'h-1'})
  b.send({type: 'app_direct_message', targetUserId: ada, payload: {open: true}, messageId: 'h-2'})
  await b.take({type: 'app_direct_message_response', messageId: 'h-2'})
  const {status, body, text} = await history(t.cloud, 'com.e2e.other')
  assert.equal(status, 200)
  assert.deepEqual(body.messages.map(({kind, from, to, messageId, bytes}) => ({kind, from, to, messageId, bytes})), [
    {kind: 'broadcast', from: ada, to: null, messageId: 'h-1', bytes: '"sesame"'.length},
    {kind: 'direct', from: ben, to: ada, messageId: 'h-2', bytes: '{"open":true}'.length},
  ])
  assert.ok(!text.includes('sesame'))
  assert.equal((await history(t.cloud, 'com.e2e.other', ada)).status, 403)
  assert.deepEqual((await history(t.cloud, 'com.e2e.silent')).body.messages, [])
})

scenario('an app on SDK 2.x: broadcast, direct message and room', async ({phone, user, apps}) => {
  const [ada, ben] = [user('ada'), user('ben')]
  for (const email of [ada, ben]) {
    const p = await phone(email)
    await p.start(apps.sdk.packageName)
    await apps.sdk.take(email, 'session')
  }
  await apps.sdk.command(ada, 'broadcast', {move: 'd4'})
  const heard = await apps.sdk.take(ben, 'app_message', {message: {payload: {move: 'd4'}}})
  assert.equal(heard.message.senderUserId, ada)
  assert.equal(await apps.sdk.command(ben, 'direct', ada, {move: 'd5'}), true, 'the SDK learns that it was delivered')
  await apps.sdk.take(ada, 'app_message', {message: {payload: {move: 'd5'}, senderUserId: ben}})
  assert.equal(await apps.sdk.command(ben, 'direct', 'nobody@lumen.io', 'hello?'), false, 'and that it was not')
  await apps.sdk.command(ada, 'joinRoom', 'club', {maxUsers: 4})
  await apps.sdk.take(ada, 'app_room', {message: {roomId: 'club', updateType: 'user_joined', roomData: {memberCount: 1, maxUsers: 4}}})
})
