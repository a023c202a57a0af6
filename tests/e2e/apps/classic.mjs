// The sample app on the 2.x-style classes (`AppServer`, `AppSession`), shared by 2.1.29 under Node and 3.0.0-hono.8 under Bun.
import {audioReporter, identity, report, serve} from './report.mjs'

const sessions = new Map()

/** Short stream names → the SDK's own way to ask for them. */
const subscribe = {
  button: (s, hear) => s.events.onButtonPress(hear('button_press')),
  head: (s, hear) => s.events.onHeadPosition(hear('head_position')),
  vad: (s, hear) => s.events.onVoiceActivity(hear('VAD')),
  touch: (s, hear) => s.events.onTouchEvent(hear('touch_event')),
  double_tap: (s, hear) => s.events.onTouchEvent('double_tap', hear('touch_event:double_tap')),
  battery: (s, hear) => s.events.onGlassesBattery(hear('glasses_battery_update')),
  location: (s, hear) => s.events.onLocation(hear('location_update')),
  notification: (s, hear) => s.events.onPhoneNotifications(hear('phone_notification')),
  speech: (s, hear) => s.events.onTranscriptionForLanguage('en-US', hear('transcription:en-US')),
  translation: (s, hear) => s.onTranslationForLanguage('es-ES', 'en-US', hear('translation')),
  audio: (s, _hear, user) => {
    const heard = audioReporter(user)
    return s.events.onAudioChunk((chunk) => heard(chunk.arrayBuffer))
  },
}

function listen(session, user, name) {
  const hear = (stream) => (data) => report('data', user, {stream, data})
  const ask = subscribe[name]
  if (ask) return ask(session, hear, user)
  return session.events.on(name, hear(name))
}

const commands = {
  subscribe: (session, name) => {
    session.cleanups ??= new Map()
    session.cleanups.set(name, listen(session, session.userId, name))
  },
  unsubscribe: (session, name) => session.cleanups.get(name)(),
  showTextWall: (session, text, options) => session.layouts.showTextWall(text, options),
  speak: (session, text, options) => session.audio.speak(text, options),
  dashboard: (session, text) => session.dashboard.content.writeToMain(text),
  settings: (session) => session.settings.getAll(),
  mentraosSettings: (session) => session.settings.getMentraOS('brightness'),
  capabilities: (session) => session.capabilities,
  locate: (session, accuracy) => session.location.getLatestLocation({accuracy}),
  broadcast: (session, payload) => session.broadcastToAppUsers(payload),
  direct: (session, user, payload) => session.sendDirectMessage(user, payload),
  joinRoom: (session, room, config) => session.joinAppRoom(room, config),
  disconnect: (session) => session.disconnect(),
  release: (session) => session.releaseOwnership('clean_shutdown'),
  /** Cuts the socket below the SDK, as a lost network does; what follows is the SDK's own doing. */
  cut: (session) => session.ws.terminate(),
}

/** The app class over the given `AppServer`. */
export function sampleApp(AppServer) {
  return class SampleApp extends AppServer {
    constructor() {
      super({packageName: identity.packageName, apiKey: identity.apiKey, port: identity.port})
    }

    async onSession(session, sessionId, userId) {
      sessions.set(userId, session)
      session.events.onConnected((settings) => report('connected', userId, {settings}))
      session.events.onDisconnected((info) => {
        const {code, reason, permanent, sessionEnded} = typeof info === 'string' ? {reason: info} : info
        report('disconnected', userId, {code, reason: String(reason ?? ''), permanent, sessionEnded})
      })
      session.events.onError((error) => report('error', userId, {message: error.message}))
      session.events.onSettingsUpdate((settings) => report('settings', userId, {settings}))
      session.events.onPermissionError((error) => report('permission_error', userId, {details: error.details}))
      session.onAppMessage((message) => report('app_message', userId, {message}))
      session.onAppRoomUpdated((message) => report('app_room', userId, {message}))
      for (const name of identity.streams) commands.subscribe(session, name)
      report('session', userId, {sessionId, settings: session.settings.getAll(), capabilities: session.capabilities})
    }

    async onStop(sessionId, userId, reason) {
      report('stop', userId, {sessionId, reason})
    }

    async onToolCall(call) {
      report('tool', call.userId, {toolId: call.toolId, parameters: call.toolParameters})
      return `done: ${call.toolId}`
    }
  }
}

export function run() {
  serve(sessions, commands)
  report('listening', undefined, {port: identity.port})
}
