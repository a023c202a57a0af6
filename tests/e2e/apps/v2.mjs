// An app on the published SDK 2.1.29, under Node.
import {AppServer} from 'sdk2'
import {run, sampleApp} from './classic.mjs'

const SampleApp = sampleApp(AppServer)
const app = new SampleApp()

// The SDK listens on every address; a test must not.
const web = app.getExpressApp()
const listen = web.listen.bind(web)
web.listen = (port, done) => listen(port, '127.0.0.1', done)

await app.start()
run()
