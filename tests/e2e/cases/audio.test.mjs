// Microphone: the bytes, and the messages that switch it (protocol.md §10, §12; scenarios 10, 11 and 13; real timings).
import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import {readFile} from 'node:fs/promises'
import {passes} from '../lib/inbox.mjs'
import {suite} from '../lib/suite.mjs'
import {sha256} from '../lib/token.mjs'

const scenario = suite({apps: {one: {}, two: {}, three: {}}})
const mic = (isMicrophoneEnabled, more = {}) => ({type: 'microphone_state_change', isMicrophoneEnabled, ...more})

/** Chunks of the app until `bytes` have come. */
async function collect(app, bytes) {
  const chunks = []
  for (let total = 0; total < bytes; total += chunks.at(-1).length) {
    chunks.push(await app.audio.take(() => true, {what: `audio after ${total} of ${bytes} bytes`}))
  }
  return chunks
}

scenario('every subscriber gets every byte, one frame for one frame', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const sockets = [await start(p, apps.one), await start(p, apps.two), await start(p, apps.three)]
  for (const socket of sockets.slice(0, 2)) await socket.subscribed(['audio_chunk'])
  await sockets[2].subscribed(['button_press'])
  const frames = [2, 40, 100, 320, 640, 3200, 64_000].flatMap((size) => Array.from({length: 20}, () => randomBytes(size)))
  for (const frame of frames) p.audio(frame)
  const sent = Buffer.concat(frames)
  for (const socket of sockets.slice(0, 2)) {
    const chunks = await collect(socket, sent.length)
    assert.deepEqual(chunks.map((chunk) => chunk.length), frames.map((frame) => frame.length))
    assert.equal(sha256(Buffer.concat(chunks)), sha256(sent))
  }
  assert.equal(sockets[2].audio.items.length, 0, 'only subscribers')
})

scenario('frames that end in the middle of a sample are mended', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const app = await start(p, apps.one)
  await app.subscribed(['audio_chunk'])
  const pcm = randomBytes(640)
  p.audio(pcm.subarray(0, 321))
  p.audio(pcm.subarray(321))
  const two = await collect(app, 640)
  assert.equal(sha256(Buffer.concat(two)), sha256(pcm))
  assert.ok(two.every((chunk) => chunk.length % 2 === 0 && chunk.length > 0), `lengths ${two.map((chunk) => chunk.length)}`)
  const odd = randomBytes(1001)
  for (let at = 0; at < 1001; at += 7) p.audio(odd.subarray(at, at + 7))
  const many = await collect(app, 1000)
  assert.equal(sha256(Buffer.concat(many)), sha256(odd.subarray(0, 1000)))
  assert.ok(many.every((chunk) => chunk.length % 2 === 0 && chunk.length > 0), 'whole samples only')
})

scenario('LC3 reaches apps as samples; what does not decode is dropped whole', async ({phone, user, apps, start}) => {
  const golden = (name) => readFile(new URL(`../../golden/lc3/${name}`, import.meta.url))
  const [frames, expected] = await Promise.all([golden('60.lc3'), golden('60.pcm')])
  const p = await phone(user())
  const app = await start(p, apps.one)
  await app.subscribed(['audio_chunk'])
  const lc3Config = {sampleRate: 16000, frameDurationMs: 10, frameSizeBytes: 60}
  const answer = await p.rest('POST', '/api/client/audio/configure', {format: 'lc3', lc3Config})
  assert.deepEqual([answer.body.format, answer.body.lc3Config], ['lc3', lc3Config])
  p.audio(frames.subarray(0, 180))
  p.audio(Buffer.alloc(180, 0xff))
  p.audio(frames.subarray(180, 370))
  p.audio(frames.subarray(360, 420))
  const blocks = await collect(app, 2240)
  assert.deepEqual(blocks.map((block) => block.length), [960, 960, 320])
  const pcm = Buffer.concat(blocks)
  for (let at = 0; at < pcm.length; at += 2) {
    const apart = Math.abs(pcm.readInt16LE(at) - expected.readInt16LE(at))
    assert.ok(apart <= 1, `sample ${at / 2} is ${apart} from the reference`)
  }
  assert.equal((await p.rest('POST', '/api/client/audio/configure', {format: 'pcm', lc3Config: null})).status, 200)
  p.audio(frames.subarray(0, 60))
  assert.equal(sha256(await app.audio.take(() => true)), sha256(frames.subarray(0, 60)), 'plain samples again')
})

scenario('audio keeps its place among the phone’s frames while JSON flows', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const app = await start(p, apps.one)
  await app.subscribed(['audio_chunk', 'button_press'])
  for (let i = 0; i < 50; i += 1) {
    const chunk = Buffer.alloc(200)
    chunk.writeUInt16LE(i, 0)
    p.audio(chunk)
    p.send({type: 'button_press', n: i})
  }
  const chunks = await collect(app, 50 * 200)
  assert.deepEqual(chunks.map((chunk) => chunk.readUInt16LE(0)), Array.from({length: 50}, (_, i) => i))
  await app.stream('button_press', {n: 49})
})

scenario('the microphone goes on with the first subscriber and off 3 s after the last', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  await p.take(mic(false), {what: 'the state that newly connected glasses are told'})
  const app = await start(p, apps.one)
  app.subscribe(['audio_chunk'])
  const on = await p.take(mic(true))
  assert.deepEqual([on.requiredData, on.bypassVad, on.sessionId], [['pcm'], true, p.email])
  const asked = performance.now()
  app.subscribe(['button_press'])
  const off = await p.messages.takeItem(mic(false))
  assert.deepEqual(off.value.requiredData, [])
  const held = off.at - asked
  assert.ok(held >= 2_950, `held for ${held.toFixed(0)} ms, 3 s are specified`)
})

scenario('speech alone leaves voice detection to the phone; a short gap does not switch off', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const app = await start(p, apps.one)
  app.subscribe(['transcription:en-US'])
  const on = await p.take(mic(true))
  assert.deepEqual([on.requiredData, on.bypassVad], [['pcm'], false])
  app.subscribe(['button_press'])
  await passes(1_000, 'a gap shorter than the 3 s hold')
  const mark = p.messages.mark()
  app.subscribe(['transcription:en-US'])
  await p.messages.never(mic(false), 3_500, 'the hold was cancelled', mark)
})

scenario('while on, the state is repeated every 10 s', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const app = await start(p, apps.one)
  const asked = performance.now()
  app.subscribe(['audio_chunk'])
  await p.take(mic(true))
  const second = await p.messages.takeItem(mic(true), {within: 14_000, what: 'the keep-alive'})
  assert.ok(second.at - asked >= 9_500, `repeated after ${(second.at - asked).toFixed(0)} ms`)
})

scenario('audio that nobody wants is answered with off, then left alone for 5 s', async ({phone, user}) => {
  const p = await phone(user())
  await p.take(mic(false), {what: 'the state that newly connected glasses are told'})
  p.audio(Buffer.alloc(320))
  await p.take(mic(false))
  const mark = p.messages.mark()
  for (let i = 0; i < 10; i += 1) p.audio(Buffer.alloc(320))
  await p.messages.never(mic(false), 2_000, 'inside the 5 s', mark)
})
