// Minimal relay on Bun's own WebSocket server: what the protocol's fan-out costs without tokens, sessions,
// timers, logs or metrics. One phone and up to five apps per user; both sockets of a user meet in `users`.
// It writes an event for each app by JSON.stringify, as most would, and as the application does that Prism replaces.
// TUNED=1: events go on as the text that came, and audio by Bun's own publish and subscribe.

const TUNED = process.env.TUNED === "1";
const users = new Map();

function userOf(id) {
  let user = users.get(id);
  if (!user) {
    user = { topic: `audio/${id}`, phone: null, audio: [], event: [] };
    users.set(id, user);
  }
  return user;
}

function without(list, socket) {
  return list.filter((other) => other !== socket);
}

const PONG = '{"type":"pong"}';

// What is not JSON is ignored.
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function relay(user, event, text) {
  const timestamp = new Date().toISOString();
  if (TUNED) {
    const rest = `,"streamType":${JSON.stringify(event.type)},"data":${text},"timestamp":"${timestamp}"}`;
    for (const app of user.event) app.sendText(app.data.head + rest);
    return;
  }
  for (const app of user.event) {
    app.sendText(
      JSON.stringify({
        type: "data_stream",
        sessionId: app.data.session,
        streamType: event.type,
        data: event,
        timestamp,
      }),
    );
  }
}

function fromPhone(socket, message) {
  const { user } = socket.data;
  if (typeof message !== "string") {
    if (TUNED) socket.publishBinary(user.topic, message);
    else for (const app of user.audio) app.sendBinary(message);
    return;
  }
  const event = parse(message);
  if (typeof event?.type !== "string") return;
  if (event.type === "ping") socket.sendText(PONG);
  else if (user.event.length > 0) relay(user, event, message);
}

function fromApp(socket, message) {
  const { user } = socket.data;
  if (typeof message === "string" && user.phone) user.phone.sendText(message);
}

const server = Bun.serve({
  development: false,
  hostname: "127.0.0.1",
  port: Number(process.env.PORT ?? 8100),
  fetch(request, server) {
    const url = new URL(request.url);
    const id = url.searchParams.get("user") ?? "";
    const session = url.searchParams.get("session") ?? "";
    const data = {
      user: userOf(id),
      app: url.pathname === "/app-ws",
      sub: (url.searchParams.get("sub") ?? "").split(","),
      session,
      head: `{"type":"data_stream","sessionId":${JSON.stringify(session)}`,
    };
    if (!data.app && url.pathname !== "/glasses-ws") return new Response("unknown path", { status: 404 });
    if (server.upgrade(request, { data })) return undefined;
    return new Response("upgrade expected", { status: 400 });
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 120,
    maxPayloadLength: 16 * 1024 * 1024,
    open(socket) {
      const { user, app, sub } = socket.data;
      if (!app) user.phone = socket;
      if (app && sub.includes("audio")) {
        if (TUNED) socket.subscribe(user.topic);
        else user.audio.push(socket);
      }
      if (app && sub.includes("event")) user.event.push(socket);
    },
    message(socket, message) {
      if (socket.data.app) fromApp(socket, message);
      else fromPhone(socket, message);
    },
    close(socket) {
      const { user } = socket.data;
      if (user.phone === socket) user.phone = null;
      user.audio = without(user.audio, socket);
      user.event = without(user.event, socket);
    },
  },
});

console.log(`listening on ${server.port}`);
