// A phone on another WebSocket implementation: Python's `websockets`, in a process of its own.
import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import {existsSync} from 'node:fs'
import {fileURLToPath} from 'node:url'
import {Child} from '../lib/child.mjs'
import {Inbox} from '../lib/inbox.mjs'
import {suite} from '../lib/suite.mjs'
import {coreToken, sha256} from '../lib/token.mjs'

const scenario = suite({apps: {app: {type: 'standard'}}})
const HERE = fileURLToPath(new URL('../', import.meta.url))

/** Starts python/phone.py; `PRISM_E2E_PYTHON` is the interpreter of the environment that scripts/e2e prepares. */
async function pythonPhone(cloud, user, token = coreToken(user)) {
  const python = process.env.PRISM_E2E_PYTHON ?? fileURLToPath(new URL('../../../target/e2e-venv/bin/python', import.meta.url))
  if (!existsSync(python)) throw new Error(`no Python environment at ${python}: run scripts/e2e, or set PRISM_E2E_PYTHON`)
  const events = new Inbox(`Python phone of ${user}`)
  const onLine = (line) => {
    if (!line.startsWith('{')) return false
    events.put(JSON.parse(line))
    return true
  }
  const child = new Child('phone.py', python, ['-u', `${HERE}python/phone.py`, cloud.wsBase], {
    env: {PATH: process.env.PATH, E2E_TOKEN: token}, cwd: HERE, onLine,
  })
  child.exited.then(({code}) => events.put({event: 'exit', code}))
  return {
    events,
    child,
    do: (command) => child.say(JSON.stringify(command)),
    send: (message) => child.say(JSON.stringify({do: 'send', message})),
    message: (pattern, options) => events.take({event: 'message', message: pattern}, options).then((e) => e.message),
  }
}

scenario('Python phone: ack, pong, audio to an app byte for byte, display back, close codes', async ({user, apps, cloud}) => {
  const email = user('python')
  const phone = await pythonPhone(cloud, email)
  try {
    const open = await phone.events.take({event: 'open'}, {within: 15_000, what: 'the Python phone to connect'})
    assert.deepEqual([open.extensions, open.subprotocol], [[], null])
    assert.equal((await phone.message({type: 'connection_ack'})).sessionId, email)
    await phone.message({type: 'pong'})
    phone.do({do: 'ping'})
    await phone.events.take({event: 'protocol_pong'})
    assert.equal((await cloud.asUser(email, 'POST', '/api/client/device/state', {connected: true, modelName: 'Even Realities G1'})).status, 200)
    const [answer, socket] = await Promise.all([cloud.asUser(email, 'POST', '/apps/com.e2e.app/start'), apps.app.socket(email)])
    assert.equal(answer.body.data.isRunning, true)
    await socket.subscribed(['audio_chunk', 'button_press'])
    await phone.message({type: 'microphone_state_change', isMicrophoneEnabled: true})

    const chunks = [2, 640, 3200, 40_000].map((size) => randomBytes(size))
    for (const chunk of chunks) phone.do({do: 'audio', base64: chunk.toString('base64')})
    // One message in three fragments, as websockets sends it from an iterable.
    const parts = [randomBytes(100), randomBytes(1), randomBytes(219)]
    phone.do({do: 'audio', fragments: parts.map((part) => part.toString('base64'))})
    for (const chunk of [...chunks, Buffer.concat(parts)]) {
      await socket.audio.take((bytes) => sha256(bytes) === sha256(chunk), {what: `a chunk of ${chunk.length} bytes, unchanged`})
    }
    socket.show('hello, Python')
    assert.equal((await phone.message({type: 'display_event', layout: {text: 'hello, Python'}})).packageName, 'com.e2e.app')
    phone.do({do: 'close', code: 1000, reason: 'good night'})
    const closed = await phone.events.take({event: 'closed'})
    assert.deepEqual([closed.code, closed.rcvd, closed.clean], [1000, 1000, true], 'a close is answered in kind')
  } finally {
    await phone.child.stop('SIGKILL')
  }
  await cloud.asUser(email, 'POST', '/api/client/goodbye')
})

scenario('Python phone: a bad token is 401 with its body', async ({user, cloud}) => {
  const phone = await pythonPhone(cloud, user(), 'rubbish')
  const refused = await phone.events.take({event: 'refused'}, {within: 15_000})
  await phone.child.stop('SIGKILL')
  assert.equal(refused.status, 401)
  assert.equal(JSON.parse(refused.body).message, 'Invalid core token')
})

scenario('Python phone: an oversized frame is 1009', async ({user, cloud}) => {
  const phone = await pythonPhone(cloud, user('python'))
  await phone.events.take({event: 'open'}, {within: 15_000})
  phone.do({do: 'audio', zeros: 16 * 1024 * 1024 + 1})
  assert.equal((await phone.events.take({event: 'closed'}, {within: 20_000})).code, 1009)
  await phone.child.stop('SIGKILL')
})
