// Text to speech over a provider reached by real HTTP (protocol.md §8.16, §18.11).
import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import {request} from 'node:http'
import {after, before} from 'node:test'
import {Inbox} from '../lib/inbox.mjs'
import {freePort} from '../lib/ports.mjs'
import {suite} from '../lib/suite.mjs'
import {sha256} from '../lib/token.mjs'
import {KEY, Voice} from '../lib/voice.mjs'

const voice = new Voice()
const port = await freePort()
before(() => voice.listen(port))
after(() => voice.dispose())

const scenario = suite({
  apps: {v2: {sdk: 'v2', streams: ['button']}, v3: {sdk: 'v3', streams: ['button']}},
  env: {ELEVENLABS_API_KEY: KEY, PRISM_TTS_URL: `http://127.0.0.1:${port}`, ELEVENLABS_DEFAULT_VOICE_ID: 'house', ELEVENLABS_DEFAULT_SPEED: '0.9'},
})

/** Opens a URL of the server as a player does: the answer, with its body unread. */
function play(cloud, path, method = 'GET') {
  return new Promise((resolve, reject) => {
    request(cloud.base + path, {agent: false, method}, resolve).on('error', reject).end()
  })
}

async function whole(answer) {
  const parts = []
  for await (const part of answer) parts.push(part)
  return Buffer.concat(parts)
}

for (const sdk of ['v2', 'v3']) {
  scenario(`what an app on SDK ${sdk} says is heard from the phone`, async ({cloud, phone, user, apps}) => {
    const email = user()
    const p = await phone(email)
    await p.start(apps[sdk].packageName)
    await apps[sdk].take(email, 'session')
    const said = apps[sdk].command(email, 'speak', 'Olá & bom dia?', {voice_id: 'ines', voiceId: 'ines', stopOtherAudio: true})
    const {audioUrl, requestId} = await p.take({type: 'audio_play_request'})
    // 2.x makes an https URL of its own whatever the deployment; what it names is the same.
    const url = new URL(audioUrl)
    assert.equal(url.host, new URL(cloud.base).host)
    const answer = await play(cloud, url.pathname + url.search)
    assert.deepEqual([answer.statusCode, answer.headers['content-type']], [200, 'audio/mpeg'])
    assert.equal((await whole(answer)).toString(), 'a sound')
    const call = await voice.calls.take({path: '/v1/text-to-speech/ines/stream'})
    assert.deepEqual([call.method, call.key, call.body.text], ['POST', KEY, 'Olá & bom dia?'])
    p.send({type: 'audio_play_response', requestId, success: true, duration: 900})
    await said
  })
}

scenario('voice, model and settings of the deployment are used where the player names none', async ({cloud}) => {
  await whole(await play(cloud, '/api/tts?text=hi'))
  const {body} = await voice.calls.take({path: '/v1/text-to-speech/house/stream'})
  assert.deepEqual(body, {
    text: 'hi',
    model_id: 'eleven_flash_v2_5',
    voice_settings: {speed: 0.9, stability: 0.68, similarity_boost: 0.75, style: 0},
  })
})

scenario('a player that only wants to know what it would get is told so, and nothing is spoken', async ({cloud}) => {
  const answer = await play(cloud, '/api/tts?text=hush', 'HEAD')
  assert.deepEqual([answer.statusCode, answer.headers['content-type'], (await whole(answer)).length], [200, 'audio/mpeg', 0])
  await whole(await play(cloud, '/api/tts?text=hi'))
  await voice.calls.take({body: {text: 'hi'}})
  assert.deepEqual(voice.calls.all({body: {text: 'hush'}}), [])
})

scenario('the first sound is heard while the rest is still spoken, and one that breaks off is not taken for whole', async ({cloud}) => {
  let speaking
  voice.answers.push((out) => {
    speaking = out
    out.write('first')
  })
  const answer = await play(cloud, '/api/tts?text=hi')
  const heard = new Inbox('sound')
  answer.on('data', (data) => heard.put({data: data.toString()}))
  const ended = new Promise((resolve) => answer.once('close', () => resolve(answer.complete)))
  await heard.take({data: 'first'})
  speaking.write('second')
  await heard.take({data: 'second'})
  speaking.destroy()
  assert.equal(await ended, false)
})

scenario('a long speech arrives whole, and is not fetched faster than it is heard', async ({cloud}) => {
  const speech = randomBytes(48 << 20)
  const progress = new Inbox('the voice')
  voice.answers.push((out) => out.end(speech, () => progress.put({event: 'spoken'})))
  const answer = await play(cloud, '/api/tts?text=hi')
  await progress.never({event: 'spoken'}, 1_500, 'the player has not begun to listen, and nobody else keeps 48 MB')
  assert.equal(sha256(await whole(answer)), sha256(speech))
})

scenario('a speech without an end is broken off', async ({cloud}) => {
  const ended = new Inbox('the voice')
  voice.answers.push((out) => {
    const piece = randomBytes(1 << 20)
    const more = () => {
      while (out.write(piece));
    }
    out.on('drain', more)
    out.on('close', () => ended.put({event: 'hung up on'}))
    more()
  })
  const answer = await play(cloud, '/api/tts?text=hi')
  await assert.rejects(whole(answer), 'what was heard is not taken for whole')
  await ended.take({event: 'hung up on'})
})

scenario("a provider's refusal and wishes that make no sense are told", async ({cloud}) => {
  voice.answers.push((out) => {
    out.statusCode = 429
    out.end('slow down')
  })
  const refused = await cloud.get('/api/tts?text=hi')
  assert.deepEqual([refused.status, refused.body], [429, {success: false, message: 'TTS service error: 429', details: 'slow down'}])
  voice.answers.push((out) => out.end())
  assert.equal((await cloud.get('/api/tts?text=hi')).body.message, 'No audio data received from TTS service')
  assert.deepEqual((await cloud.get('/api/tts')).body, {success: false, message: 'Text parameter is required and must be a string'})
  assert.deepEqual((await cloud.get('/api/tts?text=a&voice_settings=%7B')).body, {success: false, message: 'Invalid voice_settings JSON format'})
})
