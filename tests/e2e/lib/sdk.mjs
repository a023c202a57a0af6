// An app server on one of the official SDKs, in a process of its own; apps/*.mjs and apps/*.ts are what runs there.
import {existsSync} from 'node:fs'
import {fileURLToPath} from 'node:url'
import {Child} from './child.mjs'
import {Inbox} from './inbox.mjs'

const HERE = fileURLToPath(new URL('../', import.meta.url))
export const MARK = '@e2e '

/** The `bun` that npm installed for this machine; its package needs no install script this way. */
function bun() {
  const arch = process.arch === 'arm64' ? 'aarch64' : 'x64'
  const path = `${HERE}node_modules/@oven/bun-linux-${arch}/bin/bun`
  if (!existsSync(path)) throw new Error(`no Bun at ${path}: run npm ci in tests/e2e`)
  return path
}

const RUNS = {
  v2: () => [process.execPath, ['apps/v2.mjs']],
  v3: () => [bun(), ['run', '--no-install', 'apps/v3.ts']],
  hono8: () => [bun(), ['run', '--no-install', 'apps/hono8.ts']],
}

export class SdkApp {
  #calls = 0

  constructor({packageName, apiKey, sdk, streams = []}) {
    Object.assign(this, {packageName, apiKey, sdk, streams})
    this.events = new Inbox(`${sdk} app ${packageName}`)
    this.log = []
  }

  async listen(port) {
    this.port = port
    const [command, args] = RUNS[this.sdk]()
    const env = {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      NODE_ENV: 'production',
      // No word to the vendor's cloud from a test; the server under test is reached directly.
      HTTPS_PROXY: 'http://127.0.0.1:9',
      https_proxy: 'http://127.0.0.1:9',
      NO_PROXY: '127.0.0.1,localhost',
      no_proxy: '127.0.0.1,localhost',
      E2E_PACKAGE: this.packageName,
      E2E_KEY: this.apiKey,
      E2E_PORT: String(port),
      E2E_STREAMS: this.streams.join(' '),
    }
    const onLine = (line) => {
      const at = line.indexOf(MARK)
      if (at < 0) return false
      this.events.put(JSON.parse(line.slice(at + MARK.length)))
      return true
    }
    this.child = new Child(this.packageName, command, args, {env, cwd: HERE, onLine})
    this.child.exited.then(() => this.events.put({event: 'exit'}))
    await this.events.take({event: 'listening'}, {within: 20_000}).catch((error) => {
      throw new Error(`${error.message}\n${this.child.tail()}`)
    })
  }

  /** The next event of this user in the app: `session`, `data`, `audio`, `stop`, … */
  take(user, event, more = {}, options) {
    return this.events.take({event, user: user.toLowerCase(), ...more}, options)
  }

  /** Runs a command in the user's session there; rejects when the app says that it failed. */
  async command(user, cmd, ...args) {
    this.#calls += 1
    const id = this.#calls
    this.child.say(JSON.stringify({id, user: user.toLowerCase(), cmd, args}))
    const answer = await this.events.take({event: 'reply', id})
    if (answer.error) throw new Error(`${this.sdk} app: ${cmd}: ${answer.error}`)
    return answer.result
  }

  /** kill -9; `listen` on the same port brings it back. */
  kill() {
    return this.child.stop('SIGKILL')
  }

  dispose() {
    return this.child?.stop('SIGKILL')
  }
}
