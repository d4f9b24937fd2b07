#!/usr/bin/env bash
# A data set larger than the memory budget: load rate, latency, memory, disk, restart, random reads.
#
# usage: benches/load.sh
#
# Loads KEYS keys in random order by 50 connections with pipelines of 16, reads COUNT of them at
# random (each value is checked), restarts the server in good order and after a kill -9, and reads
# again. Memory is the peak of the resident set, as the kernel counts it. Prints a table in Markdown.
#
#   KEYS=10000000  SIZE=100  COUNT=1000000   keys, bytes of a value, random reads
#   MAXMEMORY=256mb  POLICY=always           maxmemory and appendfsync
#   BENCH_DIR                                where the data goes (a few GB; not a tmpfs)
#   SILTDB                                   the server; any program with redis-server's arguments
set -uo pipefail
. "$(dirname "$0")/common.sh"

KEYS=${KEYS:-10000000} SIZE=${SIZE:-100} COUNT=${COUNT:-1000000}
MAXMEMORY=${MAXMEMORY:-256mb} POLICY=${POLICY:-always}
needs awk cargo
build
build_client

row() { say "| $1 | $2 |"; }

# get TITLE PIPELINE COUNT: random reads, one row.
get() {
    local line
    line=$("$CLIENT" get "$PORT" --keys "$KEYS" --size "$SIZE" --count "$3" --pipeline "$2") || exit 1
    row "$1" "$(word per_second "$line")/s, p50 $(word p50_ms "$line") ms, p99 $(word p99_ms "$line") ms"
}

settings=(--maxmemory "$MAXMEMORY" --appendonly yes --appendfsync "$POLICY" --save '')
say "$(machine); $KEYS keys, values of $SIZE bytes, maxmemory $MAXMEMORY, appendfsync $POLICY"
say
row "what" "measured"
row "---" "---"
start "$SILTDB" "$WORK/data" "${settings[@]}"
line=$("$CLIENT" load "$PORT" --keys "$KEYS" --size "$SIZE") || exit 1
row "load, 50 connections, -P 16" "$(word per_second "$line")/s in $(word seconds "$line") s"
row "latency of a pipeline of 16" \
    "p50 $(word p50_ms "$line") ms, p99 $(word p99_ms "$line") ms, p99.9 $(word p999_ms "$line") ms, max $(word max_ms "$line") ms"
row "CPU of the server per write" "$(awk "BEGIN { printf \"%.1f\", $(cpu_us) / $KEYS }") µs"
row "peak memory after the load" "$(($(memory_kb VmHWM) / 1024)) MB"
row "disk after the load" "$(disk_mb "$WORK/data") MB"
get "random GET, 50 connections, -P 1" 1 "$((COUNT / 5))"
get "random GET, 50 connections, -P 16" 16 "$COUNT"
row "peak memory after the reads" "$(($(memory_kb VmHWM) / 1024)) MB"
stop
start "$SILTDB" "$WORK/data" "${settings[@]}"
row "start to PONG after a clean end" "$START_MS ms"
stop KILL
start "$SILTDB" "$WORK/data" "${settings[@]}"
row "start to PONG after kill -9" "$START_MS ms"
get "random GET after the restart, -P 16" 16 "$COUNT"
row "peak memory after that" "$(($(memory_kb VmHWM) / 1024)) MB"
row "disk at the end" "$(disk_mb "$WORK/data") MB"
stop
