#!/usr/bin/env bash
# What idle connections cost: memory of each, and what they do to the latency of busy ones.
#
# usage: benches/idle-connections.sh
#
# Measures 50 busy connections (SET and GET) alone, opens IDLE more that have each sent one command,
# and measures again. Prints a table in Markdown. Raises the limit of open files of its own processes.
#
#   IDLE=10000  N=200000    idle connections, requests of each measurement
#   SILTDB                  the server; any program with redis-server's arguments
set -uo pipefail
. "$(dirname "$0")/common.sh"

IDLE=${IDLE:-10000} N=${N:-200000}
needs redis-benchmark awk cargo
ulimit -n "$((IDLE + 2000))" 2>/dev/null ||
    { say "the limit of open files cannot be raised to $((IDLE + 2000))" >&2; exit 1; }
build
build_client

# busy TITLE: one row for SET and one for GET.
busy() {
    local test line rps p50 p99 max
    for test in set get; do
        line=$(redis-benchmark -p "$PORT" --csv -t "$test" -r 100000 -n "$N" -c 50 2>/dev/null | tail -1)
        IFS=, read -r _ rps _ _ p50 _ p99 max <<<"${line//\"/}"
        say "| $1 | ${test^^} | $rps | $p50 | $p99 | $max | $(memory_kb VmRSS) |"
    done
}

start "$SILTDB" "$WORK/data" --maxclients "$((IDLE + 1000))" --appendonly yes --appendfsync everysec
say "$(machine); 50 busy connections beside $IDLE idle ones, $N requests"
say
say "| connections | command | req/s | p50 ms | p99 ms | max ms | resident KB |"
say "|---|---|---|---|---|---|---|"
busy "warm-up" >/dev/null
busy "50 busy"
before=$(memory_kb VmRSS)
mkfifo "$WORK/hold"
"$CLIENT" idle "$PORT" --connections "$IDLE" <"$WORK/hold" >"$WORK/idle.out" 2>&1 &
holder=$!
exec 9>"$WORK/hold"
while ! grep -q ready "$WORK/idle.out"; do
    kill -0 "$holder" 2>/dev/null || { cat "$WORK/idle.out" >&2; exit 1; }
    sleep 0.05
done
after=$(memory_kb VmRSS)
busy "50 busy, $IDLE idle"
exec 9>&-
wait "$holder"
say
say "$IDLE idle connections: $((after - before)) KB," \
    "$(awk "BEGIN { printf \"%.2f\", ($after - $before) / $IDLE }") KB each"
stop
