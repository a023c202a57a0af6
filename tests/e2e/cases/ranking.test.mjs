// Notifications on the dashboard in the order and the words of a language model (behaviour.md §6.2.1).
import assert from 'node:assert/strict'
import {after, before} from 'node:test'
import {KEY, Model} from '../lib/model.mjs'
import {freePort} from '../lib/ports.mjs'
import {suite} from '../lib/suite.mjs'

const model = new Model()
const port = await freePort()
before(() => model.listen(port))
after(() => model.dispose())

const scenario = suite({env: {OPENAI_API_KEY: KEY, LLM_MODEL: 'small-one', PRISM_LLM_URL: `http://127.0.0.1:${port}/`}})

const notify = (p, id, app, title, content) =>
  p.rest('POST', '/api/client/notifications', {notificationId: id, app, title, content, priority: 'normal', timestamp: Date.now(), packageName: 'org.x'})
const dashboard = (p, text) => p.take({type: 'display_event', view: 'dashboard', layout: {text}})

scenario('the model decides what comes first; a change while it thinks is one more question', async ({phone, user}) => {
  const p = await phone(user(), {glasses: {connected: true, modelName: 'Even Realities G1'}})
  await notify(p, 'n-1', 'Google Messages', 'Ines', 'Are you coming? We are waiting at the bridge')
  const first = await model.calls.take({path: '/v1/chat/completions'})
  assert.equal(first.authorization, `Bearer ${KEY}`)
  assert.deepEqual([first.body.model, first.body.response_format], ['small-one', {type: 'json_object'}])
  assert.match(first.question, /"uuid":"n-1"/)
  await dashboard(p, /\[Msg\] Ines: Are you coming\? We are waiti/)

  await notify(p, 'n-2', 'Shop', 'Sale', 'Everything must go')
  await notify(p, 'n-3', 'Mail', 'Bank', 'Your card expires')
  first.say([{uuid: 'n-1', summary: 'Ines waits at the bridge', rank: 1}])
  // What the model has not seen comes after what it has, the newest first.
  await dashboard(p, /\[Msg\] Ines waits at the bridge\n\[Mail\] Bank: Your card expires/)
  const second = await model.calls.take({path: '/v1/chat/completions'})
  for (const id of ['n-1', 'n-2', 'n-3']) assert.match(second.question, new RegExp(`"uuid":"${id}"`))
  second.say([
    {uuid: 'n-2', summary: 'Sale', rank: 3},
    {uuid: 'n-3', summary: 'Card expires', rank: 1},
    {uuid: 'n-1', summary: 'Ines waits at the bridge', rank: 2},
  ])
  await dashboard(p, /\[Mail\] Card expires\n\[Msg\] Ines waits at the bridge/)

  await p.rest('POST', '/api/client/notifications/dismissed', {notificationId: 'n-3', notificationKey: 'n-3', packageName: 'org.x'})
  await dashboard(p, /\[Msg\] Ines waits at the bridge\n\[Shop\] Sale/)
  const third = await model.calls.take({path: '/v1/chat/completions'})
  third.fail(500)
  await notify(p, 'n-4', 'Chat', 'Ben', 'lunch?')
  const fourth = await model.calls.take({path: '/v1/chat/completions'})
  fourth.say([{uuid: 'n-4', summary: 'Ben: lunch?', rank: 1}])
  await dashboard(p, /\[Chat\] Ben: lunch\?/)
})
