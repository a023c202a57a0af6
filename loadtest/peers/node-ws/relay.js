// Minimal relay on Node.js and ws: what the protocol's fan-out costs without tokens, sessions, timers, logs
// or metrics. One phone and up to five apps per user; both sockets of a user meet in `users`.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const users = new Map();

function userOf(id) {
  let user = users.get(id);
  if (!user) {
    user = { phone: null, audio: new Set(), event: new Set() };
    users.set(id, user);
  }
  return user;
}

const PONG = '{"type":"pong"}';
const BINARY = { binary: true };
const TEXT = { binary: false };

// What is not JSON is ignored.
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function fromPhone(socket, user, message, isBinary) {
  if (isBinary) {
    for (const app of user.audio) app.send(message, BINARY);
    return;
  }
  const event = parse(message.toString());
  if (typeof event?.type !== "string") return;
  if (event.type === "ping") {
    socket.send(PONG);
    return;
  }
  if (user.event.size === 0) return;
  const timestamp = new Date().toISOString();
  for (const app of user.event) {
    app.send(
      JSON.stringify({
        type: "data_stream",
        sessionId: app.session,
        streamType: event.type,
        data: event,
        timestamp,
      }),
    );
  }
}

function attachPhone(socket, user) {
  user.phone = socket;
  socket.on("message", (message, isBinary) => fromPhone(socket, user, message, isBinary));
  socket.on("close", () => {
    if (user.phone === socket) user.phone = null;
  });
}

function attachApp(socket, user, query) {
  const sub = (query.get("sub") ?? "").split(",");
  socket.session = query.get("session") ?? "";
  if (sub.includes("audio")) user.audio.add(socket);
  if (sub.includes("event")) user.event.add(socket);
  socket.on("message", (message, isBinary) => {
    if (!isBinary && user.phone) user.phone.send(message, TEXT);
  });
  socket.on("close", () => {
    user.audio.delete(socket);
    user.event.delete(socket);
  });
}

// `ws` unmasks with the native bufferutil, which is installed beside it. Texts are validated, as on any server that phones reach.
const sockets = new WebSocketServer({
  noServer: true,
  clientTracking: false,
  perMessageDeflate: false,
  maxPayload: 16 * 1024 * 1024,
});
const server = createServer((_, response) => response.writeHead(404).end());

server.on("upgrade", (request, connection, head) => {
  const url = new URL(request.url, "http://localhost");
  const attach = { "/glasses-ws": attachPhone, "/app-ws": attachApp }[url.pathname];
  if (!attach) {
    connection.end("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    return;
  }
  sockets.handleUpgrade(request, connection, head, (socket) => {
    // A peer that vanishes is no reason to end the process.
    socket.on("error", () => socket.terminate());
    attach(socket, userOf(url.searchParams.get("user") ?? ""), url.searchParams);
  });
});

server.listen(Number(process.env.PORT ?? 8100), "127.0.0.1", () => {
  console.log(`listening on ${server.address().port}`);
});
