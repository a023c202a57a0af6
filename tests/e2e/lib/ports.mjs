// Free ports of the loopback address, below the range that the kernel hands out to outgoing connections.
import {createServer} from 'node:net'

const given = new Set()

export async function freePort() {
  for (let i = 0; i < 200; i += 1) {
    const port = 18_000 + Math.floor(Math.random() * 14_000)
    if (!given.has(port) && (await isFree(port))) {
      given.add(port)
      return port
    }
  }
  throw new Error('no free port found')
}

function isFree(port) {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}
