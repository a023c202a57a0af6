// A WebSocket on a bare TCP connection, for frames that no library would send.
import {connect} from 'node:net'
import {randomBytes} from 'node:crypto'
import {handshake} from './http.mjs'

export class RawSocket {
  #buffer = Buffer.alloc(0)
  /** What the server sent before its close frame: `{opcode, payload}`. */
  frames = []

  /** Connects and upgrades; fails when the answer is not 101. */
  static async open(url, headers = {}) {
    const {hostname, port, pathname, search} = new URL(url)
    const raw = new RawSocket()
    raw.tcp = connect(Number(port), hostname)
    raw.tcp.on('error', () => {})
    const lines = Object.entries({host: `${hostname}:${port}`, ...handshake, ...headers}).map(([k, v]) => `${k}: ${v}\r\n`)
    raw.tcp.write(`GET ${pathname}${search} HTTP/1.1\r\n${lines.join('')}\r\n`)
    const head = await raw.#until((buffer) => {
      const end = buffer.indexOf('\r\n\r\n')
      return end < 0 ? undefined : end + 4
    })
    if (!head.toString().startsWith('HTTP/1.1 101')) throw new Error(`upgrade refused: ${head}`)
    raw.closed = raw.#readClose()
    return raw
  }

  /** One frame; `mask: false` breaks RFC 6455 §5.1. */
  frame(opcode, payload = Buffer.alloc(0), {fin = true, rsv = 0, mask = true, length = payload.length} = {}) {
    const first = Buffer.from([(fin ? 0x80 : 0) | (rsv << 4) | opcode])
    const bit = mask ? 0x80 : 0
    let size
    if (length < 126) size = Buffer.from([bit | length])
    else if (length < 65536) {
      size = Buffer.alloc(3)
      size[0] = bit | 126
      size.writeUInt16BE(length, 1)
    } else {
      size = Buffer.alloc(9)
      size[0] = bit | 127
      size.writeBigUInt64BE(BigInt(length), 1)
    }
    if (!mask) return this.write(Buffer.concat([first, size, payload]))
    const key = randomBytes(4)
    const masked = Buffer.from(payload.map((byte, i) => byte ^ key[i % 4]))
    return this.write(Buffer.concat([first, size, key, masked]))
  }

  write(bytes) {
    this.tcp.write(bytes)
  }

  /** Reads until `ready` gives a length; those bytes are taken from the stream. */
  #until(ready, least = 1) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const length = this.#buffer.length >= least ? ready(this.#buffer) : undefined
        if (length === undefined || length > this.#buffer.length || length < least) return false
        const taken = this.#buffer.subarray(0, length)
        this.#buffer = this.#buffer.subarray(length)
        this.tcp.off('data', more)
        this.tcp.off('close', ended)
        resolve(taken)
        return true
      }
      const more = (chunk) => {
        this.#buffer = Buffer.concat([this.#buffer, chunk])
        look()
      }
      const ended = () => reject(new Error(`the server cut the connection; unread: ${this.#buffer.length} bytes`))
      this.tcp.on('data', more)
      this.tcp.on('close', ended)
      look()
    })
  }

  /** The server's close frame, `{code, reason}`; null when it cut the connection without one. */
  async #readClose() {
    for (;;) {
      const head = await this.#until((b) => 2 + (b[1] === 127 ? 8 : b[1] === 126 ? 2 : 0), 2).catch(() => null)
      if (!head) return null
      const size = head[1] === 127 ? Number(head.readBigUInt64BE(2)) : head[1] === 126 ? head.readUInt16BE(2) : head[1]
      const payload = size ? await this.#until(() => size, 1).catch(() => null) : Buffer.alloc(0)
      if (!payload) return null
      const opcode = head[0] & 0x0f
      if (opcode !== 8) {
        this.frames.push({opcode, payload})
        continue
      }
      return {code: payload.length >= 2 ? payload.readUInt16BE(0) : 1005, reason: payload.subarray(2).toString()}
    }
  }

  destroy() {
    this.tcp.destroy()
  }
}
