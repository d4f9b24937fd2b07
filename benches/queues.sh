#!/usr/bin/env bash
# Queues on hot keys, for long: whether the last interval is as fast as the first.
#
# usage: benches/queues.sh
#
# LPUSH/RPOP, ZADD/ZPOPMIN, ZADD/ZREMRANGEBYRANK and XADD MAXLEN run at once against one server, each
# at an even rate and over a backlog of elements. Prints a table in Markdown: latencies of the
# pipelines (what is due in two milliseconds goes as one) of the first and the last interval, and the
# server's CPU time per step in both.
#
#   SECONDS_LONG=3600  INTERVAL=60   how long, and what is compared, in seconds
#   RATE=1000  BACKLOG=10000         steps a second of each queue, elements that stay in it
#   FSYNC=everysec  MAXMEMORY=256mb  of the server
set -uo pipefail
. "$(dirname "$0")/common.sh"

SECONDS_LONG=${SECONDS_LONG:-3600} INTERVAL=${INTERVAL:-60} RATE=${RATE:-1000} BACKLOG=${BACKLOG:-10000}
FSYNC=${FSYNC:-everysec} MAXMEMORY=${MAXMEMORY:-256mb}
KINDS='list zpopmin zremrangebyrank stream'
needs awk cargo
build
build_client

start "$SILTDB" "$WORK/data" --appendfsync "$FSYNC" --maxmemory "$MAXMEMORY"
clients=()
for kind in $KINDS; do
    "$CLIENT" queue "$PORT" --kind "$kind" --seconds "$((SECONDS_LONG + 1))" --interval "$INTERVAL" \
        --rate "$RATE" --backlog "$BACKLOG" >"$WORK/$kind" &
    clients+=($!)
done
cpu_first=$(sleep "$INTERVAL"; cpu_us)
sleep $((SECONDS_LONG - 2 * INTERVAL))
cpu_before=$(cpu_us)
wait "${clients[@]}" || { say "a queue has failed" >&2; exit 1; }
cpu_last=$(($(cpu_us) - cpu_before))

say "$(machine); $RATE steps/s of each queue for $SECONDS_LONG s, backlog $BACKLOG," \
    "appendfsync $FSYNC, maxmemory $MAXMEMORY"
say
say "| queue | first $INTERVAL s: p50 ms | p99 ms | last $INTERVAL s: p50 ms | p99 ms |"
say "|---|---|---|---|---|"
for kind in $KINDS; do
    first=$(head -1 "$WORK/$kind") last=$(tail -1 "$WORK/$kind")
    say "| $kind | $(word p50_ms "$first") | $(word p99_ms "$first")" \
        "| $(word p50_ms "$last") | $(word p99_ms "$last") |"
done
say
steps=$((RATE * INTERVAL * 4))
per_step() { awk "BEGIN { printf \"%.1f\", $1 / $steps }"; }
say "CPU per step: $(per_step "$cpu_first") us in the first interval, $(per_step "$cpu_last") us in the last;" \
    "resident $(memory_kb VmRSS) KB (peak $(memory_kb VmHWM)), disk $(disk_mb "$WORK/data") MB"
stop
