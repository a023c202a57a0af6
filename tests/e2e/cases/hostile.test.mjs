// Garbage, oversize, forgery: the specified answer for the sender, and nothing for anybody else (protocol.md §0.4, §1.6, §15).
import assert from 'node:assert/strict'
import {connect} from 'node:net'
import {randomBytes} from 'node:crypto'
import {RawSocket} from '../lib/rawsocket.mjs'
import {suite} from '../lib/suite.mjs'
import {coreToken} from '../lib/token.mjs'

const scenario = suite({apps: {good: {}, bad: {}}})
const LIMIT = 16 * 1024 * 1024

/** Another user, whose audio and buttons must come through all the while: call the result at the end. */
async function bystander({phone, user, apps, start}) {
  const p = await phone(user('bystander'))
  const socket = await start(p, apps.good)
  await socket.subscribed(['button_press', 'audio_chunk'])
  let sent = 0
  const timer = setInterval(() => {
    sent += 1
    p.send({type: 'button_press', n: sent})
    p.audio(Buffer.alloc(320, sent % 256))
  }, 20)
  return async () => {
    clearInterval(timer)
    p.send({type: 'button_press', n: 'last'})
    await socket.stream('button_press', {n: 'last'})
    const heard = socket.messages.all({data: {n: (n) => typeof n === 'number'}}).map((m) => m.data.n)
    assert.deepEqual(heard, Array.from({length: sent}, (_, i) => i + 1), 'the bystander lost or reordered something')
    // JSON may overtake audio on its way out, so the last button does not prove that all audio is there.
    await socket.audio.reaches(sent, `all ${sent} audio frames of the bystander`)
  }
}

scenario('ten unparsable messages in a row end an app’s socket with 1007, nine do not', async (t) => {
  const check = await bystander(t)
  const p = await t.phone(t.user())
  const socket = await t.start(p, t.apps.bad)
  for (let i = 0; i < 9; i += 1) {
    socket.send(['{"type":', 'not json', '', '[1,2', '{"a":1,}'][i % 5])
    assert.equal((await socket.take({type: 'tpa_connection_error'})).code, 'MALFORMED_MESSAGE')
  }
  await socket.subscribed(['button_press'])
  for (let i = 0; i < 10; i += 1) socket.send('still not json')
  const end = await socket.ended()
  assert.deepEqual([end.code, end.reason], [1007, 'Invalid JSON'])
  await check()
})

scenario('garbage from a phone is dropped without a word', async (t) => {
  const check = await bystander(t)
  const p = await t.phone(t.user())
  const app = await t.start(p, t.apps.bad)
  await app.subscribed(['button_press'])
  const mark = p.messages.mark()
  for (const text of ['{', 'null', '[]', '"text"', '42', '{"no":"type"}', '{"type":7}', '{"type":"button_press"', '{'.repeat(5_000), '\u0000']) p.ws.send(text)
  p.ws.send(Buffer.alloc(0), {binary: true})
  p.audio(randomBytes(777))
  p.send({type: 'button_press', buttonId: 'alive', pressType: 'short'})
  await app.stream('button_press', {buttonId: 'alive'})
  assert.deepEqual(p.messages.since(mark, (m) => /error/.test(m.type)), [])
  assert.equal(p.ws.readyState, 1)
  await check()
})

scenario('a message with two types cannot say one thing to the server and another to the app', async (t) => {
  const p = await t.phone(t.user())
  const app = await t.start(p, t.apps.bad)
  await app.subscribed(['button_press', 'evil'])
  const mark = app.messages.mark()
  p.ws.send('{"type":"button_press","type":"evil","buttonId":"double"}')
  p.ws.send('{"type":"button_press","buttonId":"x"}, "injected": true')
  p.send({type: 'button_press', buttonId: 'end', pressType: 'short'})
  await app.stream('button_press', {buttonId: 'end'})
  // The last one counts for both.
  const heard = app.messages.since(mark, {type: 'data_stream', data: {buttonId: (id) => id !== 'end'}})
  assert.deepEqual(heard.map(({streamType, data}) => [streamType, data.type, data.buttonId]), [['evil', 'evil', 'double']])
})

scenario('binary garbage from an app changes nothing; JSON in a binary frame counts as JSON', async (t) => {
  const check = await bystander(t)
  const p = await t.phone(t.user())
  const app = await t.start(p, t.apps.bad)
  for (const size of [1, 35, 36, 37, 4096]) {
    const bytes = randomBytes(size)
    bytes[0] = 0xff
    app.ws.send(bytes, {binary: true})
  }
  app.ws.send(Buffer.from(JSON.stringify({type: 'subscription_update', packageName: 'x', subscriptions: ['from_binary']})), {binary: true})
  await app.handled()
  p.send({type: 'from_binary'})
  await app.stream('from_binary')
  await check()
})

scenario('a message of 16 MiB passes, one byte more is 1009', async (t) => {
  const check = await bystander(t)
  const p = await t.phone(t.user())
  p.audio(Buffer.alloc(LIMIT))
  await p.handled({within: 15_000})
  p.audio(Buffer.alloc(LIMIT + 1))
  assert.equal((await p.closed).code, 1009)
  const again = await t.phone(p.user)
  const app = await t.start(again, t.apps.bad)
  app.ws.send(Buffer.alloc(LIMIT + 1, 0x41))
  assert.equal((await app.ended(20_000)).code, 1009)
  await check()
})

scenario('frames against RFC 6455 are answered 1002, and a promised giant 1009 before it comes', async (t) => {
  const check = await bystander(t)
  const glasses = () => `${t.cloud.wsBase}/glasses-ws?token=${coreToken(t.user('raw'))}`
  const cases = {
    'an unmasked frame': [(raw) => raw.frame(1, Buffer.from('{"type":"ping"}'), {mask: false}), 1002],
    'a reserved bit': [(raw) => raw.frame(1, Buffer.from('x'), {rsv: 4}), 1002],
    'a reserved opcode': [(raw) => raw.frame(3, Buffer.from('x')), 1002],
    'a control frame of 126 bytes': [(raw) => raw.frame(9, Buffer.alloc(126)), 1002],
    'a fragmented ping': [(raw) => raw.frame(9, Buffer.alloc(1), {fin: false}), 1002],
    'a continuation of nothing': [(raw) => raw.frame(0, Buffer.from('x')), 1002],
    'text that is not UTF-8': [(raw) => raw.frame(1, Buffer.from([0xc3, 0x28])), 1007],
    'a length of 2^40': [(raw) => raw.frame(2, Buffer.alloc(0), {length: 2 ** 40}), 1009],
    'fragments that add up beyond the limit': [(raw) => {
      raw.frame(2, Buffer.alloc(LIMIT), {fin: false})
      raw.frame(0, Buffer.alloc(2))
    }, 1009],
  }
  for (const [what, [act, code]] of Object.entries(cases)) {
    for (const url of [glasses(), `${t.cloud.wsBase}/app-ws`]) {
      const raw = await RawSocket.open(url)
      act(raw)
      assert.equal((await raw.closed)?.code, code, `${what} on ${new URL(url).pathname}`)
      raw.destroy()
    }
  }
  await check()
})

scenario('fragmented messages with pings between are whole at the other end', async (t) => {
  const email = t.user()
  const raw = await RawSocket.open(`${t.cloud.wsBase}/glasses-ws?token=${coreToken(email)}`)
  const text = Buffer.from(JSON.stringify({type: 'ping', note: 'Grüße ✓'}))
  for (let i = 0; i < text.length; i += 1) {
    raw.frame(i === 0 ? 1 : 0, text.subarray(i, i + 1), {fin: i === text.length - 1})
    raw.frame(9, Buffer.from([i]))
  }
  raw.frame(8, Buffer.from([0x03, 0xe8]))
  assert.equal((await raw.closed)?.code, 1000, 'the close is answered in kind')
  const pongs = raw.frames.filter((frame) => frame.opcode === 10).map((frame) => frame.payload[0])
  assert.deepEqual(pongs, Array.from(text, (_, i) => i), 'every protocol ping, by its own payload')
  const texts = raw.frames.filter((frame) => frame.opcode === 1).map((frame) => frame.payload.toString())
  assert.ok(texts.includes('{"type":"pong"}'), `the reassembled ping was not answered: ${texts}`)
})

scenario('half requests, TLS and floods of connections leave the server answering', async (t) => {
  const check = await bystander(t)
  const sockets = Array.from({length: 60}, (_, i) => {
    const socket = connect(t.cloud.port, '127.0.0.1')
    socket.on('error', () => {})
    const greeting = [Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]), 'GET /glasses-ws HTTP/1.1\r\nHost', '\r\n\r\n\r\n', randomBytes(500), `GET / HTTP/1.1\r\n${'a: b\r\n'.repeat(9_000)}`, ''][i % 6]
    socket.write(greeting)
    return socket
  })
  assert.equal((await t.cloud.get('/livez')).status, 200)
  assert.equal((await t.cloud.get('/health')).body.status, 'ok')
  await check()
  for (const socket of sockets) socket.destroy()
})

scenario('an app cannot speak in another’s name', async (t) => {
  const p = await t.phone(t.user())
  const [good, bad] = [await t.start(p, t.apps.good), await t.start(p, t.apps.bad)]
  await good.subscribed(['button_press'])
  bad.send({type: 'subscription_update', packageName: 'com.e2e.good', sessionId: good.sessionId, subscriptions: []})
  bad.send({type: 'ownership_release', packageName: 'com.e2e.good', sessionId: good.sessionId, reason: 'clean_shutdown'})
  await bad.subscribed(['head_position'])
  p.send({type: 'button_press', buttonId: 'mine', pressType: 'short'})
  await good.stream('button_press', {buttonId: 'mine'})
  bad.send({type: 'rgb_led_control', packageName: 'com.e2e.good', sessionId: '', requestId: 'led_1', action: 'on', color: 'red', ontime: 1, offtime: 0, count: 1})
  assert.equal((await p.take({type: 'rgb_led_control', requestId: 'led_1'})).packageName, 'com.e2e.bad')
})
