// One server and its app servers per test file; each scenario gets users of its own and leaves nothing behind.
import {after, before, test} from 'node:test'
import {AppServer} from './app.mjs'
import {Cloud, DRIVER} from './cloud.mjs'
import {PATIENCE} from './inbox.mjs'
import {Phone} from './phone.mjs'
import {freePort} from './ports.mjs'
import {SdkApp} from './sdk.mjs'

const SCENARIO_LIMIT = 120_000 * PATIENCE
let users = 0

/**
 * Declares the world of a test file. `apps`: short name → {packageName, generation: 2 | 3 | sdk: 'v2' | 'v3' | 'hono8', type,
 * permissions, …}. Returns the function that declares a scenario.
 */
export function suite({apps = {}, env = {}} = {}) {
  const world = {apps: {}}

  before(async () => {
    const records = []
    for (const [name, spec] of Object.entries(apps)) {
      const {packageName = `com.e2e.${name}`, type = 'background', permissions = ['ALL'], sdk, generation, streams, ...more} = spec
      const apiKey = `key-of-${packageName}`
      const port = await freePort()
      records.push({packageName, name: more.name ?? name, appType: type, publicUrl: `http://127.0.0.1:${port}`, apiKey, permissions, ...more})
      const server = sdk ? new SdkApp({packageName, apiKey, sdk, streams}) : new AppServer({packageName, apiKey, generation})
      server.port = port
      world.apps[name] = server
    }
    world.cloud = new Cloud({apps: records, env})
    await Promise.all(Object.values(world.apps).map((server) => server.listen(server.port)))
    await world.cloud.start()
  })

  after(async () => {
    await Promise.all(Object.values(world.apps).map((server) => server.dispose()))
    await world.cloud?.dispose()
  })

  return function scenario(name, run) {
    test(`[${DRIVER}] ${name}`, {timeout: SCENARIO_LIMIT}, async () => {
      const phones = []
      // A server that died in one scenario fails that one only.
      if (!world.cloud.child.running) await world.cloud.start()
      const from = world.cloud.child.log.length
      const tools = {
        cloud: world.cloud,
        apps: world.apps,
        /** An e-mail that nobody used before. */
        user: (stem = 'nadia') => {
          users += 1
          return `${stem}.${process.pid}.${users}@lumen.io`
        },
        /** A phone that has not yet been waited for. */
        dial: (user, options) => {
          const phone = new Phone(world.cloud, user, options)
          phones.push(phone)
          return phone
        },
        /** A connected phone. */
        phone: (user, options) => tools.dial(user, options).ready(),
        /** Starts the app over REST; the socket of its (raw) server, acked. */
        start: async (phone, app) => {
          const [answer, socket] = await Promise.all([phone.start(app.packageName), app.socket(phone.user)])
          if (answer.status !== 200 || answer.body?.data?.isRunning !== true) {
            throw new Error(`start of ${app.packageName} was answered ${answer.status} ${answer.text}`)
          }
          return socket
        },
      }
      try {
        await run(tools)
        const faults = phones.flatMap((phone) => phone.faults.map((fault) => `phone of ${phone.user}: ${fault}`))
        if (faults.length > 0) throw new Error(faults.join('\n'))
        if (!world.cloud.child.running) throw new Error(`the server has died: ${JSON.stringify(world.cloud.child.end)}`)
      } catch (error) {
        console.error(`\n✖ [${DRIVER}] ${name}\n${world.cloud.child.tail(60, from)}`)
        for (const app of Object.values(world.apps)) if (app.child) console.error(app.child.tail(25))
        throw error
      } finally {
        await leave(phones)
      }
    })
  }
}

/** Hangs up and says goodbye, so that the sessions of one scenario do not outlive it. */
async function leave(phones) {
  await Promise.all(phones.map((phone) => (phone.ws.readyState === 3 ? undefined : phone.cut())))
  const users = new Map(phones.map((phone) => [phone.user, phone]))
  await Promise.all([...users.values()].map((phone) => phone.goodbye().catch(() => {})))
}
