// Minimal relay on Bun's own WebSocket server: what the protocol's fan-out costs without tokens, sessions,
// timers, logs or metrics. One phone and up to five apps per user; both sockets of a user meet in `users`.
// PUBLISH=1 hands audio to Bun's own publish and subscribe instead of a send per app.

const PUBLISH = process.env.PUBLISH === "1";
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
function typeOf(text) {
  try {
    return JSON.parse(text)?.type;
  } catch {
    return undefined;
  }
}

function fromPhone(socket, message) {
  const { user } = socket.data;
  if (typeof message !== "string") {
    if (PUBLISH) socket.publishBinary(user.topic, message);
    else for (const app of user.audio) app.sendBinary(message);
    return;
  }
  const type = typeOf(message);
  if (typeof type !== "string") return;
  if (type === "ping") {
    socket.sendText(PONG);
    return;
  }
  if (user.event.length === 0) return;
  // The event is JSON already: it is parsed to know its type, and goes on as it came, not serialised anew for every app.
  const rest = `,"streamType":${JSON.stringify(type)},"data":${message},"timestamp":"${new Date().toISOString()}"}`;
  for (const app of user.event) app.sendText(app.data.head + rest);
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
    const data = {
      user: userOf(id),
      app: url.pathname === "/app-ws",
      sub: (url.searchParams.get("sub") ?? "").split(","),
      head: `{"type":"data_stream","sessionId":${JSON.stringify(url.searchParams.get("session") ?? "")}`,
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
        if (PUBLISH) socket.subscribe(user.topic);
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
