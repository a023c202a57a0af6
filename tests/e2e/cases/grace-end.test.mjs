// What happens when the phone does not return. The 60 s are shortened here: what matters is the end, not its length.
import assert from 'node:assert/strict'
import {suite} from '../lib/suite.mjs'

const scenario = suite({
  apps: {classic: {generation: 2}, modern: {generation: 3}},
  env: {PRISM_RECONNECT_GRACE_MS: '2000', PRISM_APP_GRACE_MS: '800'},
})

scenario('at the end of the grace every app is told and let go; the next connect starts them again', async ({phone, user, apps, start, cloud}) => {
  const email = user()
  const p = await phone(email)
  const sockets = [await start(p, apps.classic), await start(p, apps.modern)]
  const marks = [apps.classic.webhooks.mark(), apps.modern.webhooks.mark()]
  const gone = performance.now()
  await p.cut()
  for (const socket of sockets) {
    const end = await socket.ended()
    assert.deepEqual([end.code, end.reason], [1000, 'User session ended'])
    assert.equal(socket.order.at(-2), 'app_stopped')
    assert.ok(end.at - gone >= 1_900, `closed after ${(end.at - gone).toFixed(0)} ms of 2 s`)
  }
  const state = await cloud.asUser(email, 'GET', '/api/client/apps')
  assert.deepEqual([state.status, state.body.error], [503, 'NO_ACTIVE_SESSION'])
  assert.deepEqual(apps.classic.webhooks.since(marks[0], {user: email}), [], 'no stop_request: this is no stop')
  const back = await phone(email)
  await Promise.all([apps.classic.socket(email), apps.modern.socket(email)])
  assert.equal(back.ack.sessionId, email)
})
