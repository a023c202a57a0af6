// One real `prism` process: its files, its life, its HTTP side.
import assert from 'node:assert/strict'
import {mkdtempSync, rmSync, writeFileSync, existsSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join, resolve} from 'node:path'
import {fileURLToPath} from 'node:url'
import {Child} from './child.mjs'
import {http} from './http.mjs'
import {Inbox} from './inbox.mjs'
import {freePort} from './ports.mjs'
import {SECRET, coreToken} from './token.mjs'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

/** uring or epoll; `scripts/e2e` runs every case on both. */
export const DRIVER = process.env.PRISM_IO_DRIVER ?? 'uring'
export const ORIGIN = 'https://console.prism.example'

function binary() {
  const path = resolve(process.env.PRISM_BIN ?? join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'debug/prism'))
  if (!existsSync(path)) throw new Error(`no server to test at ${path}: build it, or set PRISM_BIN`)
  return path
}

export class Cloud {
  /** `apps`: entries of the apps file; `env`: overrides of tunables (`PRISM_…`). */
  constructor({apps, env = {}}) {
    this.apps = apps
    this.env = env
    this.folder = mkdtempSync(join(tmpdir(), 'prism-e2e-'))
    writeFileSync(join(this.folder, 'config.yaml'), `http:\n  cors_origins: ["${ORIGIN}"]\n`)
    // JSON is YAML: no YAML writer needed.
    writeFileSync(join(this.folder, 'apps.yaml'), JSON.stringify({apps}, null, 2))
  }

  async start() {
    this.port ??= await freePort()
    this.udpPort ??= await freePort()
    const args = ['serve', '--config', join(this.folder, 'config.yaml'), '--apps', join(this.folder, 'apps.yaml'),
      '--data-dir', join(this.folder, 'data'), '--host', '127.0.0.1', '--port', String(this.port),
      '--shards', '2', '--io-driver', DRIVER]
    const env = {
      PATH: process.env.PATH,
      HOME: this.folder,
      RUST_BACKTRACE: '1',
      AUGMENTOS_AUTH_JWT_SECRET: SECRET,
      CLOUD_PUBLIC_URL: `http://127.0.0.1:${this.port}`,
      NODE_ENV: 'e2e',
      PRISM_UDP_PORT: String(this.udpPort),
      PRISM_PIN_CORES: 'false',
      // However few sockets: what waits for others is to be seen here.
      PRISM_GATHER_SOCKETS_MIN: '0',
      PRISM_GATHER_RATE_MIN: '0',
      PRISM_GATHER_RATE_MAX: '10000000',
      ...this.env,
    }
    const life = new Inbox('the server')
    const onLine = (line) => {
      if (line.includes('listening on http://')) life.put('listens')
    }
    const child = new Child('prism', binary(), args, {env, cwd: this.folder, onLine})
    child.exited.then(() => life.put('has ended'))
    if (this.child) child.log.unshift(...this.child.log, '--- restarted ---')
    this.child = child
    try {
      assert.equal(await life.take(() => true, {within: 15_000, what: 'the server to listen'}), 'listens')
      assert.equal((await this.get('/livez')).status, 200)
    } catch (error) {
      throw new Error(`${error.message}\n${child.tail()}`)
    }
    return this
  }

  /** Ends the process: `{code, signal, ms}`. */
  stop(signal = 'SIGTERM') {
    return this.child.stop(signal)
  }

  async dispose() {
    await this.child?.stop('SIGKILL')
    rmSync(this.folder, {recursive: true, force: true})
  }

  get base() {
    return `http://127.0.0.1:${this.port}`
  }

  get wsBase() {
    return `ws://127.0.0.1:${this.port}`
  }

  get(path, headers) {
    return http('GET', this.base + path, {headers})
  }

  request(method, path, options) {
    return http(method, this.base + path, options)
  }

  /** A REST call in a user's name. */
  asUser(user, method, path, body) {
    return http(method, this.base + path, {headers: {authorization: `Bearer ${coreToken(user)}`}, body})
  }
}
