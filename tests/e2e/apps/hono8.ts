// An app on the pre-release 3.0.0-hono.8, under Bun: 2.x-style classes, served by Bun itself.
import {AppServer} from 'sdk3hono8'
import {run, sampleApp} from './classic.mjs'
import {identity} from './report.mjs'

const SampleApp = sampleApp(AppServer)
const app = new SampleApp()
await app.start()
Bun.serve({port: identity.port, hostname: '127.0.0.1', idleTimeout: 30, fetch: app.fetch})
run()
