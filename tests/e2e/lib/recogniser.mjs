// A speech provider on loopback that speaks the Soniox protocol (behaviour.md §8.6.1): settings first, then audio; tokens come back.
import {WebSocketServer} from 'ws'
import {Inbox} from './inbox.mjs'

/** What it hears in any audio, by the language that it was told to expect. */
const SENTENCES = {
  en: ['meet', ' me', ' at', ' noon'],
  fr: ['rendez-vous', ' à', ' midi'],
  es: ['buenas', ' tardes'],
}
const TRANSLATIONS = {es: ['good', ' afternoon']}
/** Audio for one more word (0.1 s). */
const BYTES_PER_WORD = 3200

const said = (words) => words.join('')

class Stream {
  constructor(socket, inbox) {
    this.socket = socket
    this.inbox = inbox
    this.bytes = 0
    this.words = 0
    this.finalWords = 0
  }

  say(tokens, more = {}) {
    this.socket.send(JSON.stringify({tokens, final_audio_proc_ms: 0, total_audio_proc_ms: this.bytes / 32, ...more}))
  }

  #token(text, is_final, more) {
    return {text, start_ms: 0, end_ms: Math.floor(this.bytes / 32), confidence: 0.9, is_final, ...more}
  }

  audio(data) {
    this.bytes += data.length
    while (this.bytes >= (this.words + 1) * BYTES_PER_WORD && this.words < this.sentence.length) {
      this.words += 1
      if (this.words === this.sentence.length) this.finalize('<end>')
      else this.say([this.#token(said(this.sentence.slice(0, this.words)), false, {speaker: '1', language: this.language})])
    }
  }

  /** What was heard becomes final; `mark` says why. */
  finalize(mark) {
    const words = this.sentence.slice(this.finalWords, this.words)
    this.finalWords = this.words
    const tokens = words.map((text) => this.#token(text, true, {speaker: '1', language: this.language, ...this.original}))
    if (this.translation && words.length > 0) {
      tokens.push(...this.translation.map((text) => this.#token(text, true, {language: 'en', source_language: this.language, translation_status: 'translation'})))
    }
    this.say([...tokens, this.#token(mark, true)])
  }

  configure(config) {
    this.config = config
    this.language = config.language_hints?.[0] ?? 'en'
    this.sentence = SENTENCES[this.language] ?? ['hm']
    if (config.translation) {
      this.translation = TRANSLATIONS[this.language]
      this.original = {translation_status: 'original'}
    }
  }

  frame(data, binary) {
    if (binary && data.length === 0) {
      this.say([], {finished: true})
      this.socket.close(1000)
    } else if (binary) {
      this.audio(data)
    } else {
      const {type} = JSON.parse(data.toString())
      this.inbox.put({what: type, language: this.language})
      if (type === 'finalize') this.finalize('<fin>')
    }
  }
}

export class Recogniser {
  constructor() {
    /** Keys that are taken. */
    this.keys = new Set(['key-of-recogniser'])
    this.events = new Inbox('the speech provider')
    this.streams = new Set()
  }

  async listen(port) {
    this.port = port
    this.server = new WebSocketServer({port, host: '127.0.0.1'})
    this.server.on('connection', (socket) => this.#serve(socket))
    await new Promise((resolve) => this.server.once('listening', resolve))
    return this
  }

  get env() {
    return {SONIOX_API_KEY: 'key-of-recogniser', SONIOX_ENDPOINT: `ws://127.0.0.1:${this.port}/transcribe-websocket`, PRISM_STT_MEMORY_LIMIT_MB: '0'}
  }

  #serve(socket) {
    const stream = new Stream(socket, this.events)
    socket.on('error', () => {})
    socket.on('close', () => {
      this.streams.delete(stream)
      this.events.put({what: 'closed', language: stream.language})
    })
    socket.on('message', (data, binary) => {
      if (stream.refused) return
      if (stream.config) return stream.frame(data, binary)
      const config = JSON.parse(data.toString())
      this.events.put({what: 'opened', language: config.language_hints?.[0], config})
      if (!this.keys.has(config.api_key)) {
        stream.refused = true
        socket.send(JSON.stringify({tokens: [], error_code: 401, error_message: 'Incorrect API key provided'}))
        return socket.close()
      }
      stream.configure(config)
      this.streams.add(stream)
    })
  }

  /** Dies: every connection is cut, and nobody listens. */
  async die() {
    for (const client of this.server.clients) client.terminate()
    await new Promise((resolve) => this.server.close(resolve))
  }
}
