// An app on the pre-release 3.0.0-alpha.4, under Bun, with the new `MiniAppServer` and its callbacks.
import {MiniAppServer} from 'sdk3'
import {audioReporter, identity, report, serve} from './report.mjs'

const sessions = new Map()

/** Short stream names → the SDK's own way to ask for them. */
const subscribe = {
  button: (s, hear) => s.device.onButtonPress(hear('button_press')),
  head: (s, hear) => s.device.onHeadPosition(hear('head_position')),
  vad: (s, hear) => s.mic.onVoiceActivity(hear('VAD')),
  touch: (s, hear) => s.device.onTouchEvent(hear('touch_event')),
  double_tap: (s, hear) => s.device.onTouchEvent('double_tap', hear('touch_event:double_tap')),
  battery: (s, hear) => s.device.onBatteryUpdate(hear('glasses_battery_update')),
  location: (s, hear) => s.location.onUpdate(hear('location_update')),
  notification: (s, hear) => s.phone.notifications.on(hear('phone_notification')),
  speech: (s, hear) => s.transcription.on(hear('transcription:auto')),
  translation: (s, hear) => s.translation.fromTo('es', 'en', hear('translation')),
  audio: (s, _hear, user) => {
    const heard = audioReporter(user)
    return s.mic.onChunk((chunk) => heard(chunk.data))
  },
}

const commands = {
  subscribe: (session, name) => {
    const hear = (stream) => (data) => report('data', session.userId, {stream, data})
    session.cleanups ??= new Map()
    session.cleanups.set(name, subscribe[name](session, hear, session.userId))
  },
  unsubscribe: (session, name) => session.cleanups.get(name)(),
  showTextWall: (session, text) => session.display.showTextWall(text),
  speak: (session, text, options) => session.speaker.speak(text, options),
  settings: (session) => session.settingsData,
  capabilities: (session) => session.capabilities,
  disconnect: (session) => session.disconnect(),
  release: (session) => session.releaseOwnership('clean_shutdown'),
  /** Cuts the socket below the SDK, as a lost network does; what follows is the SDK's own doing. */
  cut: (session) => session.transport.ws.terminate(),
}

const app = new MiniAppServer({packageName: identity.packageName, apiKey: identity.apiKey, port: identity.port})

app.onSession((session) => {
  const user = session.userId
  sessions.set(user, session)
  session.onConnected((settings) => report('connected', user, {settings}))
  session.onReconnected(() => report('reconnected', user, {sessionId: session.sessionId}))
  session.onDisconnected(({code, reason, permanent}) => report('disconnected', user, {code, reason, permanent}))
  session.onStopped((reason) => report('app_stopped', user, {reason}))
  session.onError((error) => report('error', user, {message: error.message}))
  session.onSettings((settings) => report('settings', user, {settings}))
  // A deferred reconnect is told to nobody, so its handling is looked at below the public surface.
  const park = session._lifecycleManager.park
  session._lifecycleManager.park = function (...args) {
    park.apply(this, args)
    report('parked', user)
  }
  for (const name of identity.streams) commands.subscribe(session, name)
  report('session', user, {sessionId: session.sessionId, settings: session.settingsData, capabilities: session.capabilities})
})

app.onStop((session, reason) => report('stop', session?.userId, {sessionId: session?.sessionId, reason}))

app.onToolCall((call) => {
  report('tool', call.userId, {toolId: call.toolId, parameters: call.toolParameters})
  return `done: ${call.toolId}`
})

await app.start()
Bun.serve({port: identity.port, hostname: '127.0.0.1', idleTimeout: 30, fetch: app.fetch})
serve(sessions, commands)
report('listening', undefined, {port: identity.port})
