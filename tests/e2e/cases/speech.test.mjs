// Speech through a provider: apps on the official SDKs hear what it recognises and translates (behaviour.md §8, protocol.md §5.5, §5.6).
import assert from 'node:assert/strict'
import {after, before} from 'node:test'
import {repeatUntil} from '../lib/inbox.mjs'
import {freePort} from '../lib/ports.mjs'
import {Recogniser} from '../lib/recogniser.mjs'
import {suite} from '../lib/suite.mjs'

const recogniser = new Recogniser()
recogniser.port = await freePort()
before(() => recogniser.listen(recogniser.port))
after(() => recogniser.die())

const scenario = suite({
  apps: {
    raw: {},
    v2: {sdk: 'v2', streams: ['speech', 'translation']},
    v3: {sdk: 'v3', streams: ['speech', 'translation']},
    hono8: {sdk: 'hono8', streams: ['speech', 'translation']},
  },
  env: {...recogniser.env, PRISM_STREAM_RECONNECT_DELAY_MS: '300', PRISM_STREAM_RETRY_DELAY_MS: '300'},
})

/** 0.1 s of a microphone in a quiet room. */
const CHUNK = Buffer.alloc(3200)

/** The microphone runs until `event` comes. */
const speaking = (phone, event) => repeatUntil(() => phone.audio(CHUNK), event, 100)
const final = (type, text) => ({type: 'data_stream', data: {type, text, isFinal: true}})

scenario('each app hears what was said under the name it asked for', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const app = await start(p, apps.raw)
  await app.subscribed(['transcription:en-US?hints=fr'])
  const first = await speaking(p, app.messages.take({type: 'data_stream', streamType: 'transcription:en-US?hints=fr', data: {isFinal: false}}))
  assert.equal(first.data.text, 'meet')
  const last = await speaking(p, app.messages.take(final('transcription', 'meet me at noon')))
  assert.equal(last.streamType, 'transcription:en-US?hints=fr')
  const {utteranceId, transcribeLanguage, detectedLanguage, provider, speakerId} = last.data
  assert.deepEqual({transcribeLanguage, detectedLanguage, provider, speakerId}, {transcribeLanguage: 'en-US', detectedLanguage: 'en', provider: 'soniox', speakerId: '1'})
  assert.equal(utteranceId, first.data.utteranceId)
})

for (const sdk of ['v2', 'v3', 'hono8']) {
  scenario(`${sdk}: handlers hear transcription and translation`, async ({phone, user, apps}) => {
    const email = user(sdk)
    const p = await phone(email)
    assert.equal((await p.start(apps[sdk].packageName)).status, 200)
    await apps[sdk].take(email, 'session')
    const heard = (stream, data) => apps[sdk].take(email, 'data', {stream, data}, {within: 15_000})
    const stream = sdk === 'v3' ? 'transcription:auto' : 'transcription:en-US'
    await speaking(p, Promise.all([
      heard(stream, {text: 'meet me at noon', isFinal: true}),
      heard('translation', {text: 'good afternoon', isFinal: true}),
    ]))
  })
}

scenario('silence makes words final and ends the stream; speech begins another', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const app = await start(p, apps.raw)
  await app.subscribed(['transcription:fr-FR'])
  recogniser.events.forget()
  p.send({type: 'VAD', status: true})
  await speaking(p, app.messages.take({type: 'data_stream', data: {text: 'rendez-vous', isFinal: false}}))
  p.send({type: 'VAD', status: false})
  const pending = await app.messages.take({type: 'data_stream', data: {isFinal: true}})
  assert.match(pending.data.text, /^rendez-vous/)
  await recogniser.events.take({what: 'finalize', language: 'fr'})
  await recogniser.events.take({what: 'closed', language: 'fr'})
  p.send({type: 'VAD', status: 'true'})
  await recogniser.events.take({what: 'opened', language: 'fr'})
  await speaking(p, app.messages.take(final('transcription', 'rendez-vous à midi')))
})

scenario('an app that asks after a silence is heard, though the phone detects no voice any more', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const app = await start(p, apps.raw)
  p.send({type: 'VAD', status: false})
  await p.handled()
  await app.subscribed(['transcription:en-US', 'audio_chunk'])
  await p.take({type: 'microphone_state_change', bypassVad: true})
  await speaking(p, app.messages.take(final('transcription', 'meet me at noon')))
})

scenario('a provider that dies is found again', async ({phone, user, apps, start}) => {
  const p = await phone(user())
  const app = await start(p, apps.raw)
  await app.subscribed(['transcription:en-US'])
  await speaking(p, app.messages.take(final('transcription', 'meet me at noon')))
  await recogniser.die()
  await recogniser.listen(recogniser.port)
  await speaking(p, app.messages.take(final('transcription', 'meet me at noon'), {within: 15_000}))
})

scenario('with a key that is refused there is no text, and nothing else is amiss', async ({cloud, phone, user, apps, start}) => {
  const p = await phone(user())
  const app = await start(p, apps.raw)
  recogniser.keys.clear()
  recogniser.events.forget()
  await app.subscribed(['transcription:en-US', 'button_press'])
  await speaking(p, recogniser.events.take({what: 'opened', language: 'en'}))
  await speaking(p, recogniser.events.take({what: 'closed'}))
  await app.messages.never({type: 'data_stream', data: {type: 'transcription'}}, 1_000, 'nobody recognises anything')
  p.send({type: 'button_press', buttonId: 'photo', pressType: 'short'})
  await app.messages.take({type: 'data_stream', streamType: 'button_press'})
  const metrics = await cloud.get('/metrics')
  assert.match(metrics.text, /prism_speech_keys\{state="refused"\} 1/)
  assert.ok(!metrics.text.includes('key-of-recogniser') && !cloud.child.log.join('\n').includes('key-of-recogniser'), 'nobody is told the key')
})
