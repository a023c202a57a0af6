// HTTP requests on connections of their own: no pool, so that a restarted server never meets a stale one.
import {request} from 'node:http'
import {PATIENCE} from './inbox.mjs'

/** Sends one request; the answer is `{status, headers, text, body}` with `body` parsed where it is JSON. */
export function http(method, url, {headers = {}, body, within = 15_000} = {}) {
  const payload = body === undefined ? undefined : Buffer.isBuffer(body) || typeof body === 'string' ? body : JSON.stringify(body)
  const all = {connection: 'close', ...headers}
  if (payload !== undefined) {
    all['content-length'] = Buffer.byteLength(payload)
    all['content-type'] ??= 'application/json'
  }
  return new Promise((resolve, reject) => {
    const call = request(url, {method, headers: all, agent: false}, (answer) => {
      const parts = []
      answer.on('data', (chunk) => parts.push(chunk))
      answer.on('error', reject)
      answer.on('end', () => {
        const text = Buffer.concat(parts).toString()
        resolve({status: answer.statusCode, headers: answer.headers, text, body: parsed(text)})
      })
    })
    const limit = within * PATIENCE
    call.setTimeout(limit, () => call.destroy(new Error(`${method} ${url}: no answer within ${limit} ms`)))
    call.on('error', (error) => reject(new Error(`${method} ${url}: ${error.message}`)))
    call.on('upgrade', (answer, socket) => {
      socket.destroy()
      resolve({status: answer.statusCode, headers: answer.headers, text: '', body: undefined})
    })
    call.end(payload)
  })
}

function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The headers of a WebSocket handshake. */
export const handshake = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
}
