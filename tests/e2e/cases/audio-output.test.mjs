// An app's own audio, streamed to the phone over HTTP (protocol.md §10.3): its end and its breaking off are told apart.
import assert from 'node:assert/strict'
import {randomUUID} from 'node:crypto'
import http from 'node:http'
import {suite} from '../lib/suite.mjs'

const scenario = suite({apps: {singer: {}}, env: {PRISM_AUDIO_OUT_ABANDON_MS: '1500'}})

async function begun(app) {
  const streamId = randomUUID()
  app.send({type: 'audio_stream_start', packageName: app.package, streamId, contentType: 'audio/mpeg'})
  const ready = await app.take({type: 'audio_stream_ready', streamId})
  // To look takes nothing away, and has no body.
  const look = await fetch(ready.streamUrl, {method: 'HEAD'})
  assert.deepEqual([look.status, look.headers.get('content-type'), await look.text()], [200, 'audio/mpeg', ''])
  const answer = await new Promise((taken, failed) => http.get(ready.streamUrl, taken).on('error', failed))
  assert.equal(answer.statusCode, 200)
  assert.equal(answer.headers['content-type'], 'audio/mpeg')
  const sing = (text) => app.send(Buffer.concat([Buffer.from(streamId), Buffer.from(text)]))
  return {streamId, answer, sing}
}

async function rest(answer) {
  const parts = []
  for await (const part of answer) parts.push(part)
  return Buffer.concat(parts).toString()
}

scenario('what the app writes is what the phone hears, and the end is the end', async ({phone, user, apps, start}) => {
  const app = await start(await phone(user()), apps.singer)
  const {streamId, answer, sing} = await begun(app)
  sing('la ')
  sing('la')
  app.send({type: 'audio_stream_end', packageName: app.package, streamId})
  assert.equal(await rest(answer), 'la la')
})

scenario('a stream that its app abandons is broken off', async ({phone, user, apps, start}) => {
  const app = await start(await phone(user()), apps.singer)
  const {answer, sing} = await begun(app)
  sing('la')
  await assert.rejects(rest(answer), 'the phone must not take it for the whole')
})
