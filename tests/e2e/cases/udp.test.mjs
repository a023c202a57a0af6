// Microphone audio by UDP as a phone does it (protocol.md §11; scenario 12).
import assert from 'node:assert/strict'
import {createSocket} from 'node:dgram'
import {suite} from '../lib/suite.mjs'
import {coreToken} from '../lib/token.mjs'

// What is missing is waited for 20 ms; a busy machine takes longer to send the next packet.
const scenario = suite({apps: {one: {}}, env: {UDP_HOST: '127.0.0.1', PRISM_UDP_REORDER_TIMEOUT_MS: '1000'}})

/** 32-bit FNV-1a, as phones compute it (protocol.md §11.2). */
function hashOf(user) {
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(user)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
  return hash
}

/** Sends datagrams where the ack said. */
function sender({udpHost, udpPort}, hash) {
  const socket = createSocket('udp4')
  const send = (sequence, payload) => new Promise((resolve, reject) => {
    const header = Buffer.alloc(6)
    header.writeUInt32BE(hash, 0)
    header.writeUInt16BE(sequence, 4)
    socket.send(Buffer.concat([header, payload]), udpPort, udpHost, (error) => (error ? reject(error) : resolve()))
  })
  return {send, probe: () => send(0, Buffer.from('PING')), close: () => socket.close()}
}

const pcm = (value) => Buffer.alloc(640, value)

/** The phone announces its hash; the server has handled it when this is over. */
async function register(p, hash) {
  p.send({type: 'udp_register', userIdHash: hash})
  await p.handled()
}

scenario('a phone registers, probes and is heard in the order of its packets', async ({phone, user, apps, start}) => {
  const name = user()
  const p = await phone(name, {query: {token: coreToken(name)}})
  const app = await start(p, apps.one)
  await app.subscribed(['audio_chunk'])
  const udp = sender(p.ack, hashOf(name))
  await udp.probe()
  await p.messages.never({type: 'udp_ping_ack'}, 300, 'its hash is not registered yet')
  await register(p, hashOf(name))
  await udp.probe()
  assert.equal(typeof (await p.take({type: 'udp_ping_ack'})).timestamp, 'number')
  for (const sequence of [65_534, 0, 65_535, 1]) await udp.send(sequence, pcm(sequence & 0xff))
  for (const value of [0xfe, 0xff, 0, 1]) {
    const chunk = await app.audio.take(() => true)
    assert.deepEqual([chunk.length, chunk[0]], [640, value])
  }
  await udp.send(3, pcm(3))
  assert.equal((await app.audio.take(() => true))[0], 3, 'heard though 2 never comes')
  udp.close()
})

scenario('a hash of another spelling counts; a phone that asked for encryption is heard only sealed', async ({phone, user, apps, start}) => {
  const name = user('Nadia')
  const p = await phone(name)
  assert.equal(Buffer.from(p.ack.udpEncryption.key, 'base64').length, 32)
  const app = await start(p, apps.one)
  await app.subscribed(['audio_chunk'])
  const udp = sender(p.ack, hashOf(name))
  await register(p, hashOf(name))
  await udp.probe()
  await p.take({type: 'udp_ping_ack'})
  await udp.send(0, pcm(7))
  await app.audio.never(() => true, 300, 'plain packets are dropped')
  p.audio(pcm(8))
  assert.equal((await app.audio.take(() => true))[0], 8, 'the WebSocket is heard all the same')
  udp.close()
})
