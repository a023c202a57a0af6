# shellcheck shell=bash
# Servers under measurement: how each is built, started alone on its core, and stopped. Sourced by scripts/bench and scripts/measure,
# which set: target work base shards server_core secret key port hook udp, keep_data where a restart keeps its data, and core_each
# where process N runs on core N. Several processes of a server may run at a time, each with ports, apps file, log and data of its
# own: number 0 has those named above, the next ones follow it.
# Any other server of the protocol is measured as `external`: BENCH_EXTERNAL is the command that becomes it (by exec, so that its
# process is the one that is measured); it is given PORT, AUGMENTOS_AUTH_JWT_SECRET and APPS, the file of the tester's apps.

server_pids=() load_pids=() launched=''
# Peers do not raise it themselves.
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true

stop() {
  local pid=$1
  [ -n "$pid" ] && kill "$pid" 2>/dev/null || return 0
  for _ in $(seq 60); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  kill -9 "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
}

# Ends all that was started; told together, so that they end together.
stop_all() {
  local pid all=("${load_pids[@]}" "${server_pids[@]}")
  for pid in "${all[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${all[@]}"; do stop "$pid"; done
  load_pids=() server_pids=()
}

build_all() {
  cargo build --release -p prism-loadtest
  local server
  for server in $1; do
    case $server in
      prism) cargo build --release -p prism ;;
      uring-floor|tokio-fastwebsockets|tokio-tungstenite)
        (cd "loadtest/peers/$server" && CARGO_TARGET_DIR=$target/peers cargo build --release --locked) ;;
      uwebsockets) "loadtest/peers/$server/build" "$target/peers/release/peer-$server" ;;
      bun|bun-tuned|node-ws)
        # Anew where the versions have changed.
        (cd "loadtest/peers/${server%-tuned}" && { [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund; }) ;;
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

# One more process of a server: its pid is the last of server_pids, and for number 0 in the file server.pid.
start_server() {
  local server=$1 number=${#server_pids[@]}
  local server_core=$server_core
  [ -z "${core_each:-}" ] || server_core=$number
  local log=$work/$server.$number.log port=$((port + number)) udp=$((udp + number)) hook=$((hook + number)) data=$work/data.$number
  local apps=$work/apps.$number.yaml
  "$target/release/prism-load" apps-file --webhook-port "$hook" --api-key "$key" >"$apps"
  case $server in
    prism|prism-base)
      local binary=$target/release/prism
      local config=config.yaml
      # Another build may know other keys: its own file stands beside it.
      if [ "$server" = prism-base ]; then
        binary=$base
        [ ! -f "$base.yaml" ] || config=$base.yaml
      fi
      [ -n "${keep_data:-}" ] || rm -rf "$data"
      mkdir -p "$data"
      launch "$server_core" "$log" env AUGMENTOS_AUTH_JWT_SECRET="$secret" CLOUD_PUBLIC_URL="http://127.0.0.1:$port" \
        PRISM_UDP_HOST=127.0.0.1 PRISM_UDP_PORT="$udp" "$binary" serve --config "$config" --apps "$apps" \
        --data-dir "$data" --host 127.0.0.1 --port "$port" --shards "$shards" ;;
    uring-floor|uwebsockets|tokio-fastwebsockets|tokio-tungstenite)
      launch "$server_core" "$log" env PORT="$port" "$target/peers/release/peer-$server" ;;
    bun|bun-tuned)
      launch "$server_core" "$log" env PORT="$port" TUNED=$([ "$server" = bun ] || echo 1) loadtest/peers/bun/node_modules/.bin/bun loadtest/peers/bun/relay.js ;;
    node-ws) launch "$server_core" "$log" env PORT="$port" loadtest/peers/node-ws/node_modules/.bin/node loadtest/peers/node-ws/relay.js ;;
    external)
      # shellcheck disable=SC2086 # a command with its words
      launch "$server_core" "$log" env PORT="$port" AUGMENTOS_AUTH_JWT_SECRET="$secret" APPS="$apps" \
        ${BENCH_EXTERNAL:?the command that starts the external server} ;;
    *) echo "no server named $server" >&2; exit 2 ;;
  esac
  server_pids+=("$launched")
  [ "$number" -ne 0 ] || echo "$launched" >"$work/server.pid"
  for _ in $(seq 300); do
    kill -0 "${server_pids[number]}" 2>/dev/null || break
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return 0
    sleep 0.1
  done
  echo "$server does not listen on port $port; its log ends:" >&2
  tail -5 "$log" >&2
  return 1
}
