// A media provider on loopback that speaks the live-input API (behaviour.md §7.6.3), as far as the server uses it.
import {createServer} from 'node:http'
import {Inbox} from './inbox.mjs'

export const ACCOUNT = 'acc-e2e'
export const TOKEN = 'token-of-the-provider'

export class Provider {
  constructor() {
    this.calls = new Inbox('calls to the media provider')
    this.inputs = new Map()
    /** Answers to give before the ordinary ones: `{status, headers}`. */
    this.trouble = []
    /** What live inputs wait for before they are answered. */
    this.made = Promise.resolve()
    this.server = createServer((request, answer) => this.#serve(request, answer))
  }

  async listen(port) {
    await new Promise((resolve) => this.server.listen(port, '127.0.0.1', resolve))
    this.base = `http://127.0.0.1:${port}/client/v4`
  }

  dispose() {
    this.server.closeAllConnections()
    this.server.close()
  }

  async #serve(request, answer) {
    const parts = []
    for await (const chunk of request) parts.push(chunk)
    const text = Buffer.concat(parts).toString()
    const reply = (status, result, headers = {}) => {
      answer.writeHead(status, {'content-type': 'application/json', ...headers})
      answer.end(JSON.stringify({success: status < 300, errors: [], messages: [], result}))
    }
    const trouble = this.trouble.shift()
    const [, uid, output] = request.url.match(/live_inputs(?:\/([^/]+))?(?:\/outputs\/?([^/]*))?$/) ?? []
    this.calls.put({method: request.method, path: request.url, uid, body: text ? JSON.parse(text) : undefined,
      authorization: request.headers.authorization, refused: trouble?.status, at: performance.now()})
    if (trouble) return reply(trouble.status, null, trouble.headers)
    if (request.method === 'POST' && uid === undefined) {
      const made = `input${this.inputs.size + 1}`
      this.inputs.set(made, {live: false})
      await this.made
      return reply(200, {
        uid: made,
        webRTC: {url: `https://ingest.example/${made}/webRTC/publish`},
        webRTCPlayback: {url: `https://play.example/${made}/webRTC/play`},
        rtmps: {url: 'rtmps://ingest.example:443/live/', streamKey: `key-${made}`},
        srt: {url: 'srt://ingest.example:778', streamId: made, passphrase: 'pass'},
      })
    }
    const input = this.inputs.get(uid)
    if (!input) return reply(404, null)
    if (request.method === 'POST') return reply(200, {uid: `output-of-${uid}`, ...JSON.parse(text)})
    if (request.method === 'DELETE' && output === undefined) this.inputs.delete(uid)
    return reply(200, {uid, status: {current: {state: input.live ? 'connected' : 'disconnected'}}})
  }
}
