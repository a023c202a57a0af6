// An app server written from protocol.md §3 alone: its webhook end and its sockets, every frame visible to the test.
import {createServer} from 'node:http'
import WebSocket from 'ws'
import {Inbox, PATIENCE} from './inbox.mjs'

/** What 3.x SDKs call themselves. */
export const SDK3 = '3.0.0-hono.8'

export class AppSocket {
  constructor(name, url, headers = {}) {
    this.name = name
    this.messages = new Inbox(name)
    this.audio = new Inbox(`${name} (audio)`)
    this.pongs = new Inbox(`${name} (protocol pongs)`)
    this.asked = 0
    /** Everything in order of arrival: JSON types and 'binary'. */
    this.order = []
    /** Before anything that the server does with it: what it lets pass is measured from here. */
    this.made = performance.now()
    this.ws = new WebSocket(url, {perMessageDeflate: false, headers})
    this.opened = new Promise((resolve, reject) => {
      this.ws.once('open', resolve)
      this.ws.once('error', (error) => reject(new Error(`${name}: ${error.message}`)))
    })
    this.opened.catch(() => {})
    this.closed = new Promise((resolve) => {
      this.ws.once('close', (code, reason) => {
        this.order.push('close')
        resolve({code, reason: reason.toString(), at: performance.now()})
      })
    })
    this.ws.on('pong', (data) => this.pongs.put(data.toString()))
    this.ws.on('message', (data, binary) => {
      this.order.push(binary ? 'binary' : JSON.parse(data.toString()).type)
      if (binary) this.audio.put(data)
      else this.messages.put(JSON.parse(data.toString()))
    })
  }

  send(message) {
    this.ws.send(typeof message === 'string' || Buffer.isBuffer(message) ? message : JSON.stringify(message))
  }

  take(pattern, options) {
    return this.messages.take(pattern, options)
  }

  /** The next data stream of that name. */
  stream(streamType, data, options) {
    return this.take({type: 'data_stream', streamType, ...(data ? {data} : {})}, options)
  }

  subscribe(subscriptions) {
    this.subscriptions = subscriptions
    this.send({type: 'subscription_update', packageName: this.package, sessionId: this.sessionId ?? '', subscriptions})
  }

  /** Waits until the server has handled what was sent before: it answers a protocol ping in order. */
  async handled(what = 'the pong behind what was sent') {
    this.asked += 1
    const payload = `e2e ${this.asked}`
    this.ws.ping(payload)
    await this.pongs.take((pong) => pong === payload, {what})
  }

  /** Subscribes and waits until the server applied it. */
  async subscribed(subscriptions) {
    this.subscribe(subscriptions)
    await this.handled(`its subscriptions ${subscriptions} to take effect`)
  }

  show(text, extra = {}) {
    this.send({type: 'display_event', packageName: this.package, sessionId: '', view: 'main',
      layout: {layoutType: 'text_wall', text}, timestamp: new Date().toISOString(), ...extra})
  }

  cut() {
    this.ws.terminate()
    return this.closed
  }

  close(code, reason) {
    this.ws.close(code, reason)
    return this.closed
  }

  /** The close by the server, within the usual patience. */
  async ended(within = 8_000) {
    let timer
    within *= PATIENCE
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${this.name}: not closed within ${within} ms; it received ${this.order.join(', ')}`)), within)
    })
    try {
      return await Promise.race([this.closed, late])
    } finally {
      clearTimeout(timer)
    }
  }
}

export class AppServer {
  #reactions = new Map()
  #sockets = new Map()

  /** `generation` 2 connects as SDK 2.1.29 does, 3 as `MiniAppServer` of 3.x. */
  constructor({packageName, apiKey, generation = 2}) {
    Object.assign(this, {packageName, apiKey, generation})
    this.webhooks = new Inbox(`webhooks of ${packageName}`)
    this.server = createServer((request, answer) => {
      // A reaction that throws is a failed expectation of the test: shown in the inbox, and no answer is given.
      this.#serve(request, answer).catch((error) => {
        this.webhooks.put({failed: error.message})
        answer.destroy()
      })
    })
  }

  listen(port) {
    return new Promise((resolve) => this.server.listen(port, '127.0.0.1', resolve))
  }

  dispose() {
    this.server.closeAllConnections()
    this.server.close()
    for (const sockets of this.#sockets.values()) for (const socket of sockets.all()) socket.ws.terminate()
  }

  /** Replaces the reaction to `session_request` (or `stop_request`) for one user; without `reaction`, back to the usual one. */
  on(type, user, reaction) {
    this.#reactions.set(`${type} ${user.toLowerCase()}`, reaction)
  }

  /** Sockets that this app opened for the user, in order. */
  sockets(user) {
    const key = user.toLowerCase()
    if (!this.#sockets.has(key)) this.#sockets.set(key, new Inbox(`sockets of ${this.packageName} for ${key}`))
    return this.#sockets.get(key)
  }

  /** The next socket that was initialised for this user. */
  socket(user, options) {
    return this.sockets(user).take(() => true, {what: 'the app to be started by webhook and to connect', ...options})
  }

  async #serve(request, answer) {
    const parts = []
    for await (const chunk of request) parts.push(chunk)
    const text = Buffer.concat(parts).toString()
    const body = text ? JSON.parse(text) : {}
    const user = body.userId ?? body.userIdForSettings ?? ''
    this.webhooks.put({method: request.method, path: request.url, headers: request.headers, body, user, at: performance.now()})
    const reply = (status, value) => {
      answer.writeHead(status, {'content-type': 'application/json'})
      answer.end(JSON.stringify(value))
    }
    if (request.url === '/health') return reply(200, {status: 'healthy', app: this.packageName, activeSessions: 0})
    const reaction = this.#reactions.get(`${body.type} ${user}`)
    if (reaction) return await reaction({body, reply})
    if (body.type === 'session_request') {
      try {
        const socket = await this.connect(body)
        socket.acked = await socket.take({type: 'tpa_connection_ack'})
        this.sockets(user).put(socket)
        return reply(200, {status: 'success'})
      } catch (error) {
        this.webhooks.put({failed: error.message, user})
        return reply(500, {status: 'error', message: 'Failed to connect'})
      }
    }
    return reply(200, {status: 'success'})
  }

  /** Opens a socket as this generation does for such a webhook, without a word on it. */
  open(webhook, {generation = this.generation, headers} = {}) {
    const url = generation === 3 ? webhook.websocketUrl : webhook.mentraOSWebsocketUrl
    const identity = {'x-user-id': webhook.userId, 'x-session-id': webhook.sessionId, 'x-package-name': this.packageName, 'x-api-key': this.apiKey}
    const socket = new AppSocket(`${this.packageName} of ${webhook.userId}`, url, headers ?? (generation === 3 ? identity : {}))
    socket.package = this.packageName
    socket.sessionId = webhook.sessionId
    socket.webhook = webhook
    return socket
  }

  init(webhook, {generation = this.generation, ...extra} = {}) {
    const message = {type: 'tpa_connection_init', packageName: this.packageName, apiKey: this.apiKey, timestamp: new Date().toISOString()}
    if (generation === 3) return {...message, sdkVersion: SDK3, ...extra}
    return {...message, sessionId: webhook.sessionId, ...extra}
  }

  /** Opens a socket and sends the init. */
  async connect(webhook, options) {
    const socket = this.open(webhook, options)
    await socket.opened
    socket.send(this.init(webhook, options))
    return socket
  }

  /** As 3.x after its first ack: opens a socket and asks to reconnect. */
  async reconnect(webhook, sessionId = webhook.sessionId) {
    const socket = this.open(webhook)
    await socket.opened
    socket.send({type: 'reconnect', sessionId, sdkVersion: SDK3, timestamp: new Date().toISOString()})
    return socket
  }
}
