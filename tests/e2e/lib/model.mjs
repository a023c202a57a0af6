// A language model on loopback that is asked as OpenAI's chat completions are.
import {createServer} from 'node:http'
import {Inbox} from './inbox.mjs'

export const KEY = 'key-of-the-model'

export class Model {
  constructor() {
    this.calls = new Inbox('questions to the model')
    this.server = createServer(async (request, answer) => {
      const parts = []
      for await (const part of request) parts.push(part)
      const body = JSON.parse(Buffer.concat(parts).toString())
      /** `say(ranking)` answers; `fail(status)` does not. */
      const say = (ranking) => {
        answer.writeHead(200, {'content-type': 'application/json'})
        answer.end(JSON.stringify({choices: [{message: {role: 'assistant', content: JSON.stringify({notification_ranking: ranking})}}]}))
      }
      const fail = (status) => answer.writeHead(status).end()
      this.calls.put({path: request.url, authorization: request.headers.authorization, body, question: body.messages[1].content, say, fail})
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
