// A text-to-speech provider on loopback that takes what ElevenLabs takes, as far as the server uses it.
import {createServer} from 'node:http'
import {Inbox} from './inbox.mjs'

export const KEY = 'key-of-the-voice'

export class Voice {
  constructor() {
    this.calls = new Inbox('calls to the voice')
    /** How the next calls are answered; a plain short sound without one. */
    this.answers = []
    this.server = createServer(async (request, answer) => {
      const parts = []
      for await (const part of request) parts.push(part)
      const speak = this.answers.shift() ?? ((out) => out.end('a sound'))
      this.calls.put({path: request.url, method: request.method, key: request.headers['xi-api-key'], body: JSON.parse(Buffer.concat(parts).toString())})
      answer.setHeader('content-type', 'audio/mpeg')
      speak(answer)
    })
  }

  listen(port) {
    return new Promise((resolve) => this.server.listen(port, '127.0.0.1', resolve))
  }

  dispose() {
    this.server.closeAllConnections()
    this.server.close()
  }
}
