// What reaches the eye, and when (protocol.md §14; scenario 20; real timings).
import assert from 'node:assert/strict'
import {passes} from '../lib/inbox.mjs'
import {suite} from '../lib/suite.mjs'

const scenario = suite({
  apps: {
    front: {type: 'standard', name: 'Front'},
    aside: {name: 'Aside'},
    other: {name: 'Other'},
  },
})
const wall = (text) => ({type: 'display_event', view: 'main', layout: {layoutType: 'text_wall', text}})

/** Past the boot screen (1.5 s) and the throttle (300 ms), with the app's first text on the display. */
async function painting(p, socket) {
  socket.show('first')
  const first = await p.take(wall('first'))
  await passes(350, 'the throttle of 300 ms')
  return first
}

scenario('a start shows the boot screen for 1.5 s; what the app drew meanwhile follows', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const asked = performance.now()
  const begun = p.start('com.e2e.front')
  const boot = await p.take({type: 'display_event', layout: {layoutType: 'reference_card'}})
  assert.deepEqual([boot.packageName, boot.view, boot.layout.title, boot.layout.text],
    ['com.mentra.os', 'main', '// MentraOS - Starting App', 'Front'])
  const socket = await apps.front.socket(p.user)
  await begun
  const mark = p.messages.mark()
  socket.show('early')
  socket.show('latest')
  const shown = await p.messages.takeItem(wall('latest'))
  assert.ok(shown.at - asked >= 1_450, `after ${(shown.at - asked).toFixed(0)} ms; the boot screen has 1.5 s`)
  assert.deepEqual(p.messages.since(mark, wall('early')), [], 'the newest of one app only')
})

scenario('an app’s request goes out as it came, under the socket’s package', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const socket = await start(p, apps.front)
  await painting(p, socket)
  const layout = {layoutType: 'holo_wall', future: {deep: [1, 2]}, text: 'x'}
  socket.send({type: 'display_event', packageName: 'com.someone.else', sessionId: 'whatever', view: 'main', layout, durationMs: 4321, extra: {kept: true}, timestamp: 'T'})
  const event = await p.take({type: 'display_event', layout: {layoutType: 'holo_wall'}})
  assert.deepEqual(event.layout, layout)
  assert.deepEqual([event.packageName, event.durationMs, event.extra, event.timestamp, event.sessionId], ['com.e2e.front', 4321, {kept: true}, 'T', 'whatever'])
})

scenario('five requests at once: the first at once, the last 300 ms later, nothing between', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const socket = await start(p, apps.front)
  await painting(p, socket)
  const mark = p.messages.mark()
  const asked = performance.now()
  for (let i = 1; i <= 5; i += 1) socket.show(`burst ${i}`)
  await p.take(wall('burst 1'))
  const last = await p.messages.takeItem(wall('burst 5'))
  assert.ok(last.at - asked >= 280, `after ${(last.at - asked).toFixed(0)} ms, 300 are specified`)
  await p.messages.never(wall('burst 5'), 700, 'shown once')
  const texts = p.messages.since(mark, {type: 'display_event', packageName: 'com.e2e.front'}).map((m) => m.layout.text)
  assert.deepEqual(texts, ['burst 1', 'burst 5'])
})

scenario('forceDisplay does not wait, and what it supersedes never shows', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const socket = await start(p, apps.front)
  await painting(p, socket)
  socket.show('normal')
  socket.show('waiting')
  socket.show('forced', {forceDisplay: true})
  // What the phone is told next overtakes a display that waits.
  socket.send({type: 'rgb_led_control', packageName: socket.package, sessionId: '', requestId: 'behind', action: 'on', color: 'red', ontime: 1, offtime: 0, count: 1})
  await p.take({type: 'rgb_led_control', requestId: 'behind'})
  assert.deepEqual(p.messages.all({type: 'display_event', packageName: 'com.e2e.front'}).map((m) => m.layout.text), ['first', 'normal', 'forced'])
  await p.messages.never(wall('waiting'), 1_000, 'what is superseded never overtakes')
})

scenario('an app’s dashboard request becomes main', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const socket = await start(p, apps.front)
  await painting(p, socket)
  socket.show('on the dashboard', {view: 'dashboard'})
  const event = await p.take({type: 'display_event', layout: {text: 'on the dashboard'}})
  assert.deepEqual([event.view, event.packageName], ['main', 'com.e2e.front'])
})

scenario('the dashboard is composed by the server, with the apps’ widgets', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const socket = await start(p, apps.front)
  socket.send({type: 'dashboard_content_update', packageName: 'com.e2e.front', sessionId: 's', content: '3 notes today', modes: ['main'], timestamp: new Date().toISOString()})
  const event = await p.take({type: 'display_event', view: 'dashboard', layout: {layoutType: 'text_wall', text: /3 notes today/}})
  assert.equal(event.packageName, 'com.mentra.os')
  assert.match(event.layout.text, /^◌ \$DATE\$, \$TIME12\$, \$GBATT\$/)
  p.messages.forget()
  p.send({type: 'head_position', position: 'up', timestamp: Date.now()})
  await p.take({type: 'display_event', view: 'dashboard'}, {what: 'the dashboard on head-up'})
})

scenario('a duration ends in a cleared screen', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const socket = await start(p, apps.front)
  await painting(p, socket)
  p.messages.forget()
  const asked = performance.now()
  socket.show('short', {durationMs: 700})
  await p.take(wall('short'))
  const clear = await p.messages.takeItem({...wall(''), packageName: 'com.mentra.os', durationMs: 0})
  assert.ok(clear.at - asked >= 650, `cleared after ${(clear.at - asked).toFixed(0)} ms of 700`)
})

scenario('of two background apps the one that shows holds the display', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const [aside, other] = [await start(p, apps.aside), await start(p, apps.other)]
  await painting(p, aside)
  aside.show('taking the lock')
  await p.take(wall('taking the lock'))
  await passes(350, 'the throttle of 300 ms')
  const mark = p.messages.mark()
  other.show('pushed in')
  aside.show('holder')
  await p.take(wall('holder'))
  await p.messages.never(wall('pushed in'), 800, 'the lock is held', mark)
  await passes(1_800, 'a holder that shows nothing for 2 s loses it')
  other.show('my turn')
  await p.take({...wall('my turn'), packageName: 'com.e2e.other'})
})

scenario('a stopped app leaves the screen, and nothing of it comes later', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const socket = await start(p, apps.front)
  await painting(p, socket)
  socket.show('shown')
  await p.take(wall('shown'))
  socket.show('still queued')
  p.messages.forget()
  await p.stop('com.e2e.front')
  await p.messages.never({type: 'display_event', packageName: 'com.e2e.front'}, 1_000, 'it is stopped')
  await p.take({...wall(''), packageName: 'com.mentra.os'}, {what: 'the screen to be cleared'})
})

scenario('without glasses nothing is sent', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const socket = await start(p, apps.front)
  await painting(p, socket)
  await p.rest('POST', '/api/client/device/state', {connected: false})
  const mark = p.messages.mark()
  socket.show('for nobody')
  await p.messages.never({type: 'display_event', packageName: 'com.e2e.front'}, 800, 'no glasses', mark)
})
