// Minimal relay on uWebSockets: what the protocol's fan-out costs without tokens, sessions, timers, logs or metrics.
// One phone and up to five apps per user; the sockets of a user meet in `users`. One thread, no TLS, no compression.
//
// Sockets are written by `send`, which is one system call for each message and socket: while the library reads one socket it corks that,
// and only one can be corked. Its `publish` gathers what one turn of the loop has for a subscriber; with one message of a user under way
// there is nothing to gather, and it cost more with one app, as much with three.

#include <App.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "json.h"

namespace {

struct User;

struct Phone {
  User *user;
};

struct App {
  User *user;
  bool audio;
  bool event;
  // The envelope up to the session, which is the app's own.
  std::string head;
};

using PhoneSocket = uWS::WebSocket<false, true, Phone>;
using AppSocket = uWS::WebSocket<false, true, App>;

struct User {
  PhoneSocket *phone = nullptr;
  std::vector<AppSocket *> audio;
  std::vector<AppSocket *> event;
};

std::unordered_map<std::string, User> users;

// The time as JavaScript writes it. What is above the second is written anew once a second.
class Clock {
 public:
  std::string_view iso() {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != second) {
      second = now.tv_sec;
      tm parts{};
      gmtime_r(&second, &parts);
      length = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S.000Z", &parts);
    }
    const auto millis = static_cast<int>(now.tv_nsec / 1'000'000);
    char *digits = text + length - 4;
    digits[0] = static_cast<char>('0' + millis / 100);
    digits[1] = static_cast<char>('0' + millis / 10 % 10);
    digits[2] = static_cast<char>('0' + millis % 10);
    return {text, length};
  }

 private:
  time_t second = -1;
  size_t length = 0;
  char text[40];
};

void relay(const User &user, std::string_view type, std::string_view text) {
  // Kept from message to message, as what they have grown to.
  static Clock clock;
  static std::string rest;
  static std::string envelope;
  // The event is JSON already, and goes on as it came.
  rest.assign(R"(,"streamType":")").append(type).append(R"(","data":)").append(text);
  rest.append(R"(,"timestamp":")").append(clock.iso()).append(R"("})");
  for (AppSocket *app : user.event) {
    envelope.assign(app->getUserData()->head).append(rest);
    app->send(envelope, uWS::OpCode::TEXT);
  }
}

void from_phone(PhoneSocket *socket, std::string_view message, uWS::OpCode code) {
  const User &user = *socket->getUserData()->user;
  if (code == uWS::OpCode::BINARY) {
    for (AppSocket *app : user.audio) app->send(message, uWS::OpCode::BINARY);
    return;
  }
  const auto type = json::type_of(message);
  if (!type) return;
  if (*type == "ping") {
    socket->send(R"({"type":"pong"})", uWS::OpCode::TEXT);
  } else if (!user.event.empty()) {
    relay(user, *type, message);
  }
}

void from_app(AppSocket *socket, std::string_view message, uWS::OpCode code) {
  PhoneSocket *phone = socket->getUserData()->user->phone;
  if (code == uWS::OpCode::TEXT && phone) phone->send(message, uWS::OpCode::TEXT);
}

bool lists(std::string_view list, std::string_view word) {
  while (true) {
    const size_t comma = list.find(',');
    if (list.substr(0, comma) == word) return true;
    if (comma == std::string_view::npos) return false;
    list.remove_prefix(comma + 1);
  }
}

User *user_of(uWS::HttpRequest *request) { return &users[std::string(request->getQuery("user"))]; }

Phone phone_of(uWS::HttpRequest *request) { return {user_of(request)}; }

App app_of(uWS::HttpRequest *request) {
  const std::string sub(request->getQuery("sub"));
  return {
      .user = user_of(request),
      .audio = lists(sub, "audio"),
      .event = lists(sub, "event"),
      .head = R"({"type":"data_stream","sessionId":)" + json::quoted(request->getQuery("session")),
  };
}

template <typename Data, Data (*data_of)(uWS::HttpRequest *)>
void upgrade(uWS::HttpResponse<false> *response, uWS::HttpRequest *request, us_socket_context_t *context) {
  response->upgrade<Data>(data_of(request), request->getHeader("sec-websocket-key"),
                          request->getHeader("sec-websocket-protocol"),
                          request->getHeader("sec-websocket-extensions"), context);
}

template <typename Data>
uWS::App::WebSocketBehavior<Data> settings() {
  uWS::App::WebSocketBehavior<Data> behavior;
  behavior.compression = uWS::DISABLED;
  behavior.maxPayloadLength = 16 * 1024 * 1024;
  behavior.idleTimeout = 120;
  // What waits for one socket; more is dropped.
  behavior.maxBackpressure = 1024 * 1024;
  behavior.closeOnBackpressureLimit = false;
  return behavior;
}

uWS::App::WebSocketBehavior<Phone> phones() {
  auto behavior = settings<Phone>();
  behavior.upgrade = upgrade<Phone, phone_of>;
  behavior.open = [](PhoneSocket *socket) { socket->getUserData()->user->phone = socket; };
  behavior.message = from_phone;
  behavior.close = [](PhoneSocket *socket, int, std::string_view) {
    PhoneSocket *&phone = socket->getUserData()->user->phone;
    if (phone == socket) phone = nullptr;
  };
  return behavior;
}

uWS::App::WebSocketBehavior<App> apps() {
  auto behavior = settings<App>();
  behavior.upgrade = upgrade<App, app_of>;
  behavior.open = [](AppSocket *socket) {
    const App &app = *socket->getUserData();
    if (app.audio) app.user->audio.push_back(socket);
    if (app.event) app.user->event.push_back(socket);
  };
  behavior.message = from_app;
  behavior.close = [](AppSocket *socket, int, std::string_view) {
    App &app = *socket->getUserData();
    std::erase(app.user->audio, socket);
    std::erase(app.user->event, socket);
    // Before v20.63 the library does not destroy what it was given.
    std::string().swap(app.head);
  };
  return behavior;
}

}  // namespace

int main() {
  const char *given = std::getenv("PORT");
  const int port = given ? std::atoi(given) : 8100;
  uWS::App()
      .ws<Phone>("/glasses-ws", phones())
      .ws<App>("/app-ws", apps())
      .any("/*", [](auto *response, auto *) { response->writeStatus("404 Not Found")->end(); })
      .listen("127.0.0.1", port, LIBUS_LISTEN_EXCLUSIVE_PORT,
              [port](auto *listening) {
                if (!listening) std::exit(1);
                std::printf("listening on %d\n", port);
                std::fflush(stdout);
              })
      .run();
}
