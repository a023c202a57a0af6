// A phone on the `ws` package that behaves as protocol.md §2.4 says: it pings, reports its state, and fetches on every ack.
import WebSocket from 'ws'
import {Inbox, PATIENCE} from './inbox.mjs'
import {coreToken} from './token.mjs'

const PING_EVERY = 5_000
/** Real phones give the server 5 s; here the machine may be slow. */
const PONG_WITHIN = 5_000 * PATIENCE
const GLASSES = {connected: true, modelName: 'Even Realities G1', batteryLevel: 71, charging: false}

export class Phone {
  /** `glasses: null` reports no state; `quiet: true` sends nothing on its own. */
  constructor(cloud, user, {glasses = GLASSES, quiet = false, path = '/glasses-ws', query, headers, token} = {}) {
    this.cloud = cloud
    this.user = user
    this.email = user.toLowerCase()
    this.token = token ?? coreToken(user)
    this.messages = new Inbox(`phone of ${user}`)
    this.pongs = new Inbox(`phone of ${user} (pongs)`)
    this.frames = new Inbox(`phone of ${user} (protocol pings)`)
    this.calls = new Inbox(`REST of ${user}`)
    this.faults = []
    this.asked = 0
    const search = query ?? {token: this.token, livekit: 'true', udpEncryption: 'true'}
    const url = new URL(path, cloud.wsBase)
    for (const [key, value] of Object.entries(search)) url.searchParams.set(key, value)
    this.ws = new WebSocket(url, {perMessageDeflate: false, headers})
    this.opened = new Promise((resolve, reject) => {
      this.ws.once('open', resolve)
      this.ws.once('error', (error) => reject(new Error(`phone of ${user}: ${error.message}`)))
    })
    this.opened.catch(() => {})
    this.closed = new Promise((resolve) => {
      this.ws.once('close', (code, reason) => {
        clearInterval(this.pinging)
        resolve({code, reason: reason.toString(), at: performance.now()})
      })
    })
    this.ws.on('message', (data, binary) => this.#receive(data, binary, quiet))
    this.ws.on('ping', (data) => this.frames.put({ping: data.toString()}))
    this.ws.once('open', () => {
      if (quiet) return
      this.ping()
      this.pinging = setInterval(() => this.ping(), PING_EVERY)
      if (glasses) this.#call('POST', '/api/client/device/state', glasses)
    })
  }

  #receive(data, binary, quiet) {
    if (binary) {
      this.faults.push(`a binary frame of ${data.length} bytes (protocol.md §10.4: never sent)`)
      return
    }
    const message = JSON.parse(data.toString())
    if (message.type === 'pong') {
      this.pongs.put(message)
      return
    }
    this.messages.put(message)
    if (message.type === 'connection_ack' && !quiet) {
      this.#call('GET', '/api/client/apps')
      this.#call('POST', '/api/client/audio/configure', {format: 'pcm', lc3Config: null})
    }
  }

  #call(method, path, body) {
    this.rest(method, path, body).then(
      (answer) => this.calls.put({method, path, status: answer.status, body: answer.body}),
      (error) => this.calls.put({method, path, status: 0, error: error.message}),
    )
  }

  /** Sends a JSON ping; no pong within 5 s is what makes real phones drop the connection. */
  ping() {
    if (this.ws.readyState !== WebSocket.OPEN) return
    this.send({type: 'ping'})
    const count = this.pongs.items.length
    const judge = () => {
      if (this.ws.readyState === WebSocket.OPEN && this.pongs.items.length === count) {
        this.faults.push(`no pong within ${PONG_WITHIN} ms`)
      }
    }
    // Where this process was held up, timers come before what has arrived meanwhile.
    setTimeout(() => setImmediate(judge), PONG_WITHIN).unref()
  }

  /** Waits until the server has handled what was sent before: it answers a ping in order. */
  async handled(options) {
    this.send({type: 'ping'})
    await this.pongs.reaches(this.asked, 'the pong behind what was sent', options)
  }

  /** Waits for the ack and for the REST calls that a phone makes on its own. */
  async ready() {
    await this.opened
    this.ack = await this.messages.take({type: 'connection_ack'})
    for (const path of ['/api/client/device/state', '/api/client/apps', '/api/client/audio/configure']) {
      await this.calls.take({path, status: 200})
    }
    return this
  }

  send(message) {
    if (message.type === 'ping') this.asked += 1
    this.ws.send(JSON.stringify(message))
  }

  audio(bytes) {
    this.ws.send(bytes, {binary: true})
  }

  take(pattern, options) {
    return this.messages.take(pattern, options)
  }

  rest(method, path, body) {
    return this.cloud.asUser(this.user, method, path, body)
  }

  /** Presses the button in the app list: the answer of §18.3. */
  start(app) {
    return this.rest('POST', `/apps/${app}/start`)
  }

  stop(app) {
    return this.rest('POST', `/apps/${app}/stop`)
  }

  goodbye() {
    return this.rest('POST', '/api/client/goodbye')
  }

  /** Cuts the TCP connection without a close frame, as a lost network does. */
  cut() {
    this.ws.terminate()
    return this.closed
  }

  close(code, reason) {
    this.ws.close(code, reason)
    return this.closed
  }
}
