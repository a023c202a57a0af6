// Everything that one peer received, in order, and the waiting for it. Never sleeps: a wait ends with the event or its deadline.
import {fits, show} from './match.mjs'

/** Milliseconds that an awaited event may take; PRISM_E2E_PATIENCE multiplies it on slow machines. */
export const PATIENCE = Number(process.env.PRISM_E2E_PATIENCE ?? 1)
const DEFAULT_WAIT = 8_000

export class Inbox {
  #waiters = new Set()

  /** @param {string} owner who received, for failure messages */
  constructor(owner) {
    this.owner = owner
    this.items = []
    this.started = performance.now()
  }

  put(value) {
    const item = {value, at: performance.now(), taken: false}
    this.items.push(item)
    for (const waiter of this.#waiters) waiter(item)
  }

  /** The earliest value that fits and that nobody took before; waits for it. */
  async take(pattern, options) {
    return (await this.takeItem(pattern, options)).value
  }

  /** As `take`, with the time of arrival: `{value, at}`. */
  takeItem(pattern, {within = DEFAULT_WAIT, what} = {}) {
    const here = this.items.find((item) => !item.taken && fits(item.value, pattern))
    if (here) {
      here.taken = true
      return Promise.resolve(here)
    }
    // The stack is kept from here, so that a failure names the line of the test.
    const failure = new Error()
    return new Promise((resolve, reject) => {
      const waiter = (item) => {
        if (item.taken || !fits(item.value, pattern)) return
        item.taken = true
        clearTimeout(timer)
        this.#waiters.delete(waiter)
        resolve(item)
      }
      const giveUp = () => {
        if (!this.#waiters.delete(waiter)) return
        failure.message = `${this.owner}: waited ${within * PATIENCE} ms for ${what ?? show(pattern)}\n${this.#recent()}`
        reject(failure)
      }
      // Where this process was held up, timers come before what has arrived meanwhile.
      const timer = setTimeout(() => setImmediate(giveUp), within * PATIENCE)
      this.#waiters.add(waiter)
    })
  }

  /** What came so far is of no interest to later `take`s. */
  forget() {
    for (const item of this.items) item.taken = true
  }

  /** Every value so far that fits, taken or not. */
  all(pattern = () => true) {
    return this.items.filter((item) => fits(item.value, pattern)).map((item) => item.value)
  }

  /** Waits until so many values have come in all. */
  async reaches(count, what, options) {
    if (this.items.length < count) await this.take(() => this.items.length >= count, {what, ...options})
  }

  /** A place in the stream; hand it to `since`. */
  mark() {
    return this.items.length
  }

  since(mark, pattern = () => true) {
    return this.items.slice(mark).filter((item) => fits(item.value, pattern)).map((item) => item.value)
  }

  /** Specified absence: fails when a fitting value arrives within `ms` (or had arrived since `mark`). */
  async never(pattern, ms, because, mark = this.mark()) {
    const failure = new Error()
    await new Promise((resolve) => setTimeout(resolve, ms))
    const found = this.since(mark, pattern)
    if (found.length > 0) {
      failure.message = `${this.owner}: must not arrive (${because}), but did: ${show(found[0])}\n${this.#recent()}`
      throw failure
    }
  }

  #recent(count = 25) {
    const lines = this.items.slice(-count).map((item) => {
      const at = (item.at - this.started).toFixed(0).padStart(7)
      return `  ${at} ms ${item.taken ? 'seen ' : '     '}${show(item.value, 240)}`
    })
    const skipped = this.items.length > count ? `  … ${this.items.length - count} earlier\n` : ''
    return lines.length ? `it received:\n${skipped}${lines.join('\n')}` : 'it received nothing'
  }
}

/**
 * Repeats `act` until `event` settles, for what one try may come too early for: an SDK does not say when it has subscribed, and a
 * microphone does not stop after one chunk.
 */
export async function repeatUntil(act, event, every = 150) {
  await act()
  const timer = setInterval(act, every)
  try {
    return await event
  } finally {
    clearInterval(timer)
  }
}

/** A wait that the specification itself prescribes; says what for. */
export function passes(ms, _because) {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
