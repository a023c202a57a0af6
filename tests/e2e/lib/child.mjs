// A child process whose output is kept line by line and which never outlives the test process.
import {spawn} from 'node:child_process'
import {createInterface} from 'node:readline'
import {PATIENCE} from './inbox.mjs'

const living = new Set()
process.on('exit', () => living.forEach((child) => child.kill('SIGKILL')))
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))

const KEPT_LINES = 5_000
const COLOURS = /\x1b\[[0-9;]*m/g

export class Child {
  /** `onLine(line)` may return true to keep a line out of the log. */
  constructor(name, command, args, {env, cwd, onLine} = {}) {
    this.name = name
    this.log = []
    this.process = spawn(command, args, {env, cwd, stdio: ['pipe', 'pipe', 'pipe']})
    living.add(this.process)
    this.process.stdin.on('error', () => {})
    const keep = (line) => {
      if (onLine?.(line)) return
      this.log.push(line.replace(COLOURS, ''))
      if (this.log.length > KEPT_LINES) this.log.shift()
    }
    createInterface({input: this.process.stdout}).on('line', keep)
    createInterface({input: this.process.stderr}).on('line', keep)
    this.exited = new Promise((resolve) => {
      this.process.on('error', (error) => {
        keep(`cannot start ${command}: ${error.message}`)
        living.delete(this.process)
        resolve({code: null, signal: null, error})
      })
      this.process.on('exit', (code, signal) => {
        living.delete(this.process)
        this.end = {code, signal}
        resolve(this.end)
      })
    })
  }

  get running() {
    return living.has(this.process)
  }

  say(line) {
    this.process.stdin.write(`${line}\n`)
  }

  /** Sends the signal and waits for the exit: `{code, signal, ms}`. SIGKILL follows after the usual patience. */
  async stop(signal = 'SIGTERM', patience = 8_000 * PATIENCE) {
    const begun = performance.now()
    if (this.running) this.process.kill(signal)
    const last = setTimeout(() => this.process.kill('SIGKILL'), patience)
    const end = await this.exited
    clearTimeout(last)
    return {...end, ms: performance.now() - begun}
  }

  tail(count = 60, from = 0) {
    const lines = this.log.slice(from)
    const skipped = lines.length > count ? [`… ${lines.length - count} lines before`] : []
    return [...skipped, ...lines.slice(-count)].map((line) => `  ${this.name} | ${line}`).join('\n')
  }
}
