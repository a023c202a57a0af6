// Free ports of the loopback address, below the range that the kernel hands out to outgoing connections. Test files run side by side
// in processes of their own, and a port may be free for a while between two servers: each process has a block of ports to itself.
import {createServer} from 'node:net'
import {createSocket} from 'node:dgram'

const FIRST = 18_000
const LAST = 32_000
const BLOCK = 100
let block
let next
let end

export async function freePort() {
  block ??= takeBlock()
  await block
  while (next < end) {
    const port = next
    next += 1
    if (await isFree(port)) return port
  }
  throw new Error('no free port left in this process\u2019s block')
}

/** The first port of a block says that it is taken, as long as this process lives. */
async function takeBlock() {
  const blocks = (LAST - FIRST) / BLOCK
  const from = Math.floor(Math.random() * blocks)
  for (let i = 0; i < blocks; i += 1) {
    const first = FIRST + ((from + i) % blocks) * BLOCK
    const mark = await bound(first)
    if (!mark) continue
    mark.unref()
    next = first + 1
    end = first + BLOCK
    return
  }
  throw new Error('no free block of ports found')
}

function bound(port) {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(undefined))
    server.listen(port, '127.0.0.1', () => resolve(server))
  })
}

/** For both protocols: the server under test takes audio by UDP. */
async function isFree(port) {
  const probe = await bound(port)
  if (!probe) return false
  await new Promise((resolve) => probe.close(resolve))
  return new Promise((resolve) => {
    const datagrams = createSocket('udp4')
    datagrams.once('error', () => resolve(false))
    datagrams.bind(port, '127.0.0.1', () => datagrams.close(() => resolve(true)))
  })
}
