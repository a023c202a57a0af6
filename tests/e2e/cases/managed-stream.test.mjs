// Managed streams through a provider reached over real HTTP (protocol.md §8.11, 8.12, 9.14; behaviour.md §7.6.3).
import assert from 'node:assert/strict'
import {after, before} from 'node:test'
import {freePort} from '../lib/ports.mjs'
import {ACCOUNT, Provider, TOKEN} from '../lib/provider.mjs'
import {suite} from '../lib/suite.mjs'

const LIVE = {connected: true, modelName: 'Mentra Live', wifiConnected: true, wifiSsid: 'attic', batteryLevel: 71}
const provider = new Provider()
const port = await freePort()
before(() => provider.listen(port))
after(() => provider.dispose())

const scenario = suite({
  apps: {cast: {}, viewer: {}},
  env: {
    PRISM_MANAGED_API_URL: `http://127.0.0.1:${port}/client/v4`,
    CLOUDFLARE_ACCOUNT_ID: ACCOUNT,
    CLOUDFLARE_API_TOKEN: TOKEN,
    CLOUDFLARE_CUSTOMER_SUBDOMAIN: 'watch.example',
  },
})

const ask = (app, extra = {}) => app.send({type: 'managed_stream_request', packageName: app.package, quality: '720p', ...extra})
const status = (app, wanted, options) => app.take({type: 'managed_stream_status', ...wanted}, options)

scenario('a live input is made, watched by two apps, and deleted with the last of them', async ({phone, user, apps, start}) => {
  const p = await phone(user(), {glasses: LIVE})
  const [cast, viewer] = [await start(p, apps.cast), await start(p, apps.viewer)]
  ask(cast)
  const made = await provider.calls.take({method: 'POST'})
  assert.equal(made.path, `/client/v4/accounts/${ACCOUNT}/stream/live_inputs`)
  assert.equal(made.authorization, `Bearer ${TOKEN}`)
  const begun = await p.take({type: 'start_stream', appId: 'MANAGED_STREAM'})
  assert.equal(begun.streamUrl, 'https://ingest.example/input1/webRTC/publish')
  await status(cast, {status: 'initializing', streamId: begun.streamId})

  const polled = await provider.calls.take({method: 'GET', uid: 'input1'})
  assert.equal(polled.authorization, `Bearer ${TOKEN}`)
  p.send({type: 'stream_status', streamId: begun.streamId, status: 'streaming'})
  provider.inputs.get('input1').live = true
  const active = await status(cast, {status: 'active', streamId: begun.streamId, message: 'Stream is now live'})
  assert.equal(active.hlsUrl, 'https://watch.example/input1/manifest/video.m3u8')
  assert.equal(active.dashUrl, 'https://watch.example/input1/manifest/video.mpd')
  assert.equal(active.webrtcUrl, 'https://play.example/input1/webRTC/play')

  ask(viewer)
  await status(viewer, {status: 'active', streamId: begun.streamId})
  assert.equal(provider.inputs.size, 1, 'the second app joined')
  cast.send({type: 'managed_stream_stop', packageName: cast.package})
  await status(cast, {status: 'stopped'})
  assert.equal(provider.inputs.size, 1, 'one still watches')
  viewer.send({type: 'managed_stream_stop', packageName: viewer.package})
  await p.take({type: 'stop_stream', appId: 'MANAGED_STREAM'})
  await provider.calls.take({method: 'DELETE', uid: 'input1'})
})

scenario('a provider that is busy is asked again when it says, and one that fails is reported', async ({phone, user, apps, start}) => {
  const p = await phone(user(), {glasses: LIVE})
  const cast = await start(p, apps.cast)
  provider.trouble.push({status: 429, headers: {'retry-after': '2'}})
  ask(cast, {restreamDestinations: [{url: 'rtmp://a.rtmp.example.net/live2/key', name: 'main'}]})
  const refused = await provider.calls.take({refused: 429})
  const again = await provider.calls.take({method: 'POST', refused: undefined})
  assert.ok(again.at - refused.at >= 1_900, `asked again after ${again.at - refused.at} ms`)
  const begun = await p.take({type: 'start_stream', appId: 'MANAGED_STREAM'})
  assert.match(begun.streamUrl, /^srt:\/\/ingest\.example:778\?streamid=/)
  provider.trouble.push({status: 503})
  cast.send({type: 'managed_stream_stop', packageName: cast.package})
  await p.take({type: 'stop_stream', appId: 'MANAGED_STREAM'})
  await provider.calls.take({method: 'DELETE', refused: 503})
  await provider.calls.take({method: 'DELETE', refused: undefined})

  provider.trouble.push({status: 500}, {status: 500}, {status: 500}, {status: 500}, {status: 500})
  ask(cast)
  const failed = await status(cast, {status: 'error'}, {within: 20_000})
  assert.ok(failed.message)
  provider.trouble.length = 0
})

scenario('a live input that is made after its user left is deleted', async ({phone, user, apps, start}) => {
  const p = await phone(user(), {glasses: LIVE})
  const cast = await start(p, apps.cast)
  let answer
  provider.made = new Promise((resolve) => { answer = resolve })
  ask(cast)
  await provider.calls.take({method: 'POST', uid: undefined, refused: undefined})
  const [uid] = [...provider.inputs.keys()].slice(-1)
  await p.close()
  await p.goodbye()
  await cast.ended()
  answer()
  await provider.calls.take({method: 'DELETE', uid})
})
