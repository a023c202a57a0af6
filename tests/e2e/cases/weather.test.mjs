// The weather line of the dashboard, from a service reached by real HTTP (behaviour.md §6.2.1).
import assert from 'node:assert/strict'
import {createServer} from 'node:http'
import {after, before} from 'node:test'
import {Inbox} from '../lib/inbox.mjs'
import {freePort} from '../lib/ports.mjs'
import {suite} from '../lib/suite.mjs'

const calls = new Inbox('calls to the weather service')
const server = createServer((request, answer) => {
  const url = new URL(request.url, 'http://x')
  calls.put({path: url.pathname, ...Object.fromEntries(url.searchParams)})
  answer.setHeader('content-type', 'application/json')
  answer.end(JSON.stringify({weather: [{main: 'Rain'}], main: {temp: Number(url.searchParams.get('lat')) > 50 ? 41 : 60}}))
})
const port = await freePort()
before(() => new Promise((resolve) => server.listen(port, '127.0.0.1', resolve)))
after(() => {
  server.closeAllConnections()
  server.close()
})

const scenario = suite({env: {OPEN_WEATHER_API_KEY: 'key-of-the-sky', PRISM_WEATHER_URL: `http://127.0.0.1:${port}`}})

scenario('users of one place share what the service says, others ask anew', async ({phone, user}) => {
  const at = async (lat, lng) => {
    const p = await phone(user(), {glasses: {connected: true, modelName: 'Even Realities G1'}})
    await p.rest('POST', '/api/client/location', {coords: {latitude: lat, longitude: lng}, timestamp: Date.now()})
    return p
  }
  const line = (p, text) => p.take({type: 'display_event', view: 'dashboard', layout: {text}})
  await line(await at(38.72, -9.14), /Rain, 60°F/)
  const asked = await calls.take({path: '/data/2.5/weather'})
  assert.deepEqual([asked.lat, asked.lon, asked.units, asked.appid], ['38.72', '-9.14', 'imperial', 'key-of-the-sky'])
  await line(await at(38.73, -9.13), /Rain, 60°F/)
  await line(await at(52.52, 13.4), /Rain, 41°F/)
  assert.deepEqual(calls.all({path: '/data/2.5/weather'}).map((call) => call.lat), ['38.72', '52.52'])
})
