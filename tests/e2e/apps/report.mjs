// What every sample app shares: JSON lines out on stdout (behind a mark, since SDKs log there too), commands in on stdin.
import {createHash} from 'node:crypto'
import {createInterface} from 'node:readline'

export const identity = {
  packageName: process.env.E2E_PACKAGE,
  apiKey: process.env.E2E_KEY,
  port: Number(process.env.E2E_PORT),
  streams: (process.env.E2E_STREAMS ?? '').split(' ').filter(Boolean),
}

export function report(event, user, more = {}) {
  process.stdout.write(`@e2e ${JSON.stringify({event, user, ...more})}\n`)
}

/** Reports audio chunks of one session: each one's hash, and the hash of all bytes so far. */
export function audioReporter(user) {
  const whole = createHash('sha256')
  let total = 0
  return (buffer) => {
    const bytes = Buffer.from(buffer)
    whole.update(bytes)
    total += bytes.length
    report('audio', user, {
      length: bytes.length,
      sha: createHash('sha256').update(bytes).digest('hex'),
      total,
      totalSha: whole.copy().digest('hex'),
    })
  }
}

/** Runs commands: `{id, user, cmd, args}` calls `commands[cmd](session, ...args)` with the user's session. */
export function serve(sessions, commands) {
  createInterface({input: process.stdin}).on('line', async (line) => {
    const {id, user, cmd, args} = JSON.parse(line)
    try {
      const session = sessions.get(user)
      if (!session) throw new Error(`no session of ${user}`)
      const result = await commands[cmd](session, ...args)
      report('reply', user, {id, result})
    } catch (error) {
      report('reply', user, {id, error: String(error?.message ?? error)})
    }
  })
}
