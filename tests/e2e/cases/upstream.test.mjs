// Moving route by route: what Prism does not serve goes to the server behind it, bodies streamed both ways (http.fallback_upstream).
import assert from 'node:assert/strict'
import {createServer, request} from 'node:http'
import {connect} from 'node:net'
import {after, before} from 'node:test'
import {freePort} from '../lib/ports.mjs'
import {suite} from '../lib/suite.mjs'

const port = await freePort()
let bodies = 0
const served = new WeakSet()
const upstream = createServer(async (ask, answer) => {
  if (ask.url === '/live') {
    // Says how much has come after every piece, and nothing but that: only a stream in both directions lets it answer at all.
    answer.writeHead(200, {'content-type': 'text/plain'})
    let seen = 0
    for await (const piece of ask) answer.write(`${(seen += piece.length)}\n`)
    return answer.end('end\n')
  }
  if (ask.url.startsWith('/once')) {
    // A connection is kept after its first answer, and closed just when the next request comes.
    for await (const piece of ask) void piece
    if (served.has(ask.socket)) return ask.socket.destroy()
    served.add(ask.socket)
    return answer.end('once')
  }
  if (ask.url === '/cut') {
    answer.writeHead(200, {'content-length': '100'})
    return answer.write('only this', () => answer.destroy())
  }
  let size = 0
  for await (const piece of ask) size += piece.length
  bodies += 1
  answer.writeHead(ask.url.startsWith('/teapot') ? 418 : 200, {'content-type': 'application/json', 'x-from': 'old', connection: 'x-hop', 'x-hop': '1', 'set-cookie': ['a=1', 'b=2']})
  answer.end(ask.method === 'HEAD' ? undefined : JSON.stringify({method: ask.method, url: ask.url, size, headers: ask.headers}))
})
before(() => new Promise((resolve) => upstream.listen(port, '127.0.0.1', resolve)))
after(() => {
  upstream.closeAllConnections()
  upstream.close()
})

const scenario = suite({env: {PRISM_FALLBACK_UPSTREAM: `http://127.0.0.1:${port}`, PRISM_UPSTREAM_PATHS: '/api/client/feedback,/api/apps', PRISM_HTTP_BODY_BYTES_MAX: '65536'}})

/** A request whose body and answer stay open: `{send, take, end}`. */
function stream(cloud, path) {
  const call = request(cloud.base + path, {method: 'POST', agent: false})
  call.flushHeaders()
  const answered = new Promise((resolve, reject) => call.once('response', resolve).once('error', reject))
  return {
    send: (bytes) => call.write(bytes),
    end: () => call.end(),
    answered,
    lines: async function * () {
      let text = ''
      for await (const piece of await answered) {
        text += piece
        for (let at; (at = text.indexOf('\n')) >= 0; text = text.slice(at + 1)) yield text.slice(0, at)
      }
    },
  }
}

scenario('unknown routes and those left behind are answered by the server behind', async ({cloud}) => {
  const teapot = await cloud.request('PATCH', '/teapot/1?x=%20y', {headers: {authorization: 'Bearer t', 'x-request-id': 'r-1', te: 'trailers'}, body: {n: 1}})
  assert.equal(teapot.status, 418)
  assert.equal(teapot.headers['x-from'], 'old')
  assert.deepEqual(teapot.headers['set-cookie'], ['a=1', 'b=2'])
  assert.deepEqual([teapot.body.method, teapot.body.url, teapot.body.size], ['PATCH', '/teapot/1?x=%20y', 7])
  const {headers} = teapot.body
  assert.equal(headers.authorization, 'Bearer t')
  assert.equal(headers['x-request-id'], 'r-1')
  assert.equal(headers['x-forwarded-for'], '127.0.0.1')
  assert.equal(headers['x-forwarded-host'], `127.0.0.1:${cloud.port}`)
  assert.equal(headers.te, undefined, 'hop by hop')

  const moved = await cloud.request('POST', '/api/client/feedback', {body: {}})
  assert.equal(moved.body?.url, '/api/client/feedback', 'moved by upstream_paths')
  const preflight = await cloud.request('OPTIONS', '/teapot', {})
  assert.equal(preflight.headers['x-from'], 'old', 'who answers the request also answers its pre-flight')
  const own = await cloud.get('/livez')
  assert.equal(own.headers['x-from'], undefined)
  const head = await cloud.request('HEAD', '/teapot', {})
  assert.deepEqual([head.status, head.text], [418, ''])
})

scenario('headers that a Connection header names end here, and the host that a proxy before us saw is kept', async ({cloud}) => {
  const headers = {connection: 'close, X-Own', 'x-own': '1', 'x-forwarded-host': 'public.example.net'}
  const answer = await cloud.request('GET', '/teapot', {headers})
  assert.equal(answer.body.headers['x-own'], undefined)
  assert.equal(answer.body.headers['x-forwarded-host'], 'public.example.net')
  assert.deepEqual([answer.headers['x-from'], answer.headers['x-hop'], answer.headers.connection], ['old', undefined, 'close'])
})

scenario('a path is left behind under each of its mounts', async ({cloud}) => {
  for (const path of ['/apps/version', '/api/apps/version']) {
    const moved = await cloud.get(path)
    assert.equal(moved.body?.url, path)
  }
  const own = await cloud.get('/appsettings/com.acme.scribe')
  assert.deepEqual([own.status, own.headers['x-from']], [401, undefined])
})

scenario('a server behind that closes its connections unannounced fails nobody', async ({cloud}) => {
  for (let n = 0; n < 6; n += 1) {
    const answer = n % 2 === 0 ? await cloud.get(`/once/${n}`) : await cloud.request('POST', `/once/${n}`, {body: {n}})
    assert.deepEqual([answer.status, answer.text], [200, 'once'], `request ${n}`)
  }
})

scenario('an answer begins while the request is still being sent', async ({cloud}) => {
  const both = stream(cloud, '/live')
  const lines = both.lines()
  both.send(Buffer.alloc(1000))
  assert.equal((await lines.next()).value, '1000')
  both.send(Buffer.alloc(500))
  assert.equal((await lines.next()).value, '1500')
  both.end()
  assert.equal((await lines.next()).value, 'end')
  assert.equal((await lines.next()).done, true)
})

scenario('a body far above the limit for our own routes goes through', async ({cloud}) => {
  const size = 24 * 1024 * 1024
  const answer = await cloud.request('POST', '/upload', {headers: {'content-type': 'application/octet-stream'}, body: Buffer.alloc(size, 7)})
  assert.equal(answer.body.size, size)
  assert.equal(answer.body.headers['content-length'], String(size))
  const refused = await cloud.request('POST', '/api/client/device/state', {body: Buffer.alloc(size)}).catch((error) => error)
  assert.ok(refused.status === 413 || /EPIPE|ECONNRESET/.test(refused.message), `our own: ${refused.status} ${refused.message}`)
})

scenario('chunks are framed anew: neither extensions, trailers nor what follows them reach the server behind', async ({cloud}) => {
  const ask = (end) => `POST /teapot HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5;a="b"\r\nhello\r\n0;z\r\n${end}`
  const told = async (bytes) => {
    const tcp = connect(cloud.port, '127.0.0.1', () => tcp.write(bytes))
    let text = ''
    for await (const piece of tcp) text += piece
    return text
  }
  const seen = bodies
  const taken = await told(ask('X-Sum: 1\r\nContent-Length: 9\r\n\r\nGET /teapot/second HTTP/1.1\r\nHost: x\r\n\r\n'))
  assert.match(taken, /^HTTP\/1\.1 418 /)
  const {size, headers} = JSON.parse(taken.slice(taken.indexOf('{'), taken.lastIndexOf('}') + 1))
  assert.deepEqual([size, headers['transfer-encoding']], [5, 'chunked'])
  for (const name of ['content-length', 'trailer', 'x-sum']) assert.equal(headers[name], undefined, name)
  assert.equal(bodies, seen + 1, 'one connection carries one request')
  assert.match(await told(ask('X-Sum: 1\n\r\n')), /^HTTP\/1\.1 400 /)
  assert.equal(bodies, seen + 1, 'a broken one never counted')
})

scenario('an answer that breaks off is seen to break off, and a dead server is a bad gateway', async ({cloud}) => {
  await assert.rejects(cloud.get('/cut'), 'a body cut short must not look whole')
  const seen = bodies
  await assert.rejects(new Promise((resolve, reject) => {
    const call = request(`${cloud.base}/upload`, {method: 'POST', agent: false, headers: {'content-length': 1000}}, resolve)
    call.once('error', reject)
    call.write('half', () => call.destroy(new Error('the client left')))
  }))
  await new Promise((resolve) => {
    upstream.close(resolve)
    upstream.closeAllConnections()
  })
  const gone = await cloud.get('/teapot')
  assert.deepEqual([gone.status, gone.text], [502, 'Bad gateway'])
  assert.equal(bodies, seen, 'half a request never counted as one')
  assert.equal((await cloud.get('/livez')).status, 200)
})
