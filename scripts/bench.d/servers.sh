# shellcheck shell=bash
# Servers under measurement: how each is built, started alone on its core, and stopped. Sourced by scripts/bench and scripts/measure,
# which set: target work base shards server_core secret key port hook udp, and keep_data where a restart keeps its data.
# Any other server of the protocol is measured as `external`: BENCH_EXTERNAL is the command that becomes it (by exec, so that its
# process is the one that is measured); it is given PORT, AUGMENTOS_AUTH_JWT_SECRET and APPS, the file of the tester's apps.

server_pid='' load_pid='' launched=''

stop() {
  local pid=$1
  [ -n "$pid" ] && kill "$pid" 2>/dev/null || return 0
  for _ in $(seq 60); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  kill -9 "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
}

build_all() {
  cargo build --release -p prism-loadtest
  local server
  for server in $1; do
    case $server in
      prism) cargo build --release -p prism ;;
      uring-floor|tokio-tungstenite)
        (cd "loadtest/peers/$server" && CARGO_TARGET_DIR=$target/peers cargo build --release --locked) ;;
      bun|node-ws)
        (cd "loadtest/peers/$server" && [ -d node_modules ] || (cd "loadtest/peers/$server" && npm ci --no-audit --no-fund)) ;;
    esac
  done
}

# Own session, own autogroup: without it other work on the machine gets half of the core whatever its niceness.
launch() {
  local core=$1 log=$2
  shift 2
  setsid taskset -c "$core" "$@" >"$log" 2>&1 &
  launched=$!
  sleep 0.05
  { echo -20 >"/proc/$launched/autogroup"; } 2>/dev/null || true
}

start_server() {
  local server=$1 log=$work/$1.log
  case $server in
    prism|prism-base)
      local binary=$target/release/prism
      local config=config.yaml
      # Another build may know other keys: its own file stands beside it.
      if [ "$server" = prism-base ]; then
        binary=$base
        [ ! -f "$base.yaml" ] || config=$base.yaml
      fi
      [ -n "${keep_data:-}" ] || rm -rf "$work/data"
      mkdir -p "$work/data"
      launch "$server_core" "$log" env AUGMENTOS_AUTH_JWT_SECRET="$secret" CLOUD_PUBLIC_URL="http://127.0.0.1:$port" \
        PRISM_UDP_HOST=127.0.0.1 PRISM_UDP_PORT="$udp" "$binary" serve --config "$config" --apps "$work/apps.yaml" \
        --data-dir "$work/data" --host 127.0.0.1 --port "$port" --shards "$shards" ;;
    uring-floor|tokio-tungstenite)
      launch "$server_core" "$log" env PORT="$port" "$target/peers/release/peer-$server" ;;
    bun) launch "$server_core" "$log" env PORT="$port" loadtest/peers/bun/node_modules/.bin/bun loadtest/peers/bun/relay.js ;;
    node-ws) launch "$server_core" "$log" env PORT="$port" node loadtest/peers/node-ws/relay.js ;;
    external)
      # shellcheck disable=SC2086 # a command with its words
      launch "$server_core" "$log" env PORT="$port" AUGMENTOS_AUTH_JWT_SECRET="$secret" APPS="$work/apps.yaml" \
        ${BENCH_EXTERNAL:?the command that starts the external server} ;;
    *) echo "no server named $server" >&2; exit 2 ;;
  esac
  server_pid=$launched
  echo "$server_pid" >"$work/server.pid"
  for _ in $(seq 300); do
    kill -0 "$server_pid" 2>/dev/null || break
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return 0
    sleep 0.1
  done
  echo "$server does not listen on port $port; its log ends:" >&2
  tail -5 "$log" >&2
  return 1
}
