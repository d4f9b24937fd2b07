#!/usr/bin/env bash
# SiltDB beside Redis, both with a log on disk, in one run.
#
# usage: benches/vs-redis.sh
#
# redis-benchmark -t set,get,incr,mset with 50 connections at pipeline depth 1 and 16, against
# SiltDB and redis-server (appendonly yes), for appendfsync always and everysec. The server runs on
# core 0 and redis-benchmark on core 1, both servers alike; turns alternate, so that what the machine
# does meanwhile meets both. Prints one table in Markdown; CPU is what the server used per request.
#
#   N=1000000     requests of each measurement at depth 16 (a fifth of it at depth 1 with always)
#   KEYS=1000000  random keys
#   ROUNDS=1      turns of each; the best is reported
#   SIZE=64       bytes of a value
#   TESTS, DEPTHS, POLICIES   what to run, in words separated by spaces
#   SILTDB, REDIS the two programs
set -uo pipefail
. "$(dirname "$0")/common.sh"

N=${N:-1000000} KEYS=${KEYS:-1000000} ROUNDS=${ROUNDS:-1} SIZE=${SIZE:-64}
TESTS=${TESTS:-set get incr mset} DEPTHS=${DEPTHS:-1 16} POLICIES=${POLICIES:-always everysec}
needs redis-benchmark redis-cli "$REDIS" awk
build

# measure PROGRAM POLICY DEPTH: appends lines "policy depth test program rps p50 p99 cpu" to results.
measure() {
    local name=$1 program=$2 policy=$3 depth=$4 requests=$N test before after line rps p50 p99
    local settings=(--appendonly yes --save '' --appendfsync "$policy")
    if [ "$depth" = 1 ] && [ "$policy" = always ]; then requests=$((N / 5)); fi
    rm -rf "$WORK/data"
    CORE=0 start "$program" "$WORK/data" "${settings[@]}"
    # Keys to read: every server starts from the same data.
    redis-benchmark -p "$PORT" -q -t set -r "$KEYS" -n "$KEYS" -P 64 -d "$SIZE" >/dev/null 2>&1
    for test in $TESTS; do
        before=$(cpu_us)
        # shellcheck disable=SC2046
        line=$($(on_core 1) redis-benchmark -p "$PORT" --csv -t "$test" -r "$KEYS" -n "$requests" \
            -c 50 -P "$depth" -d "$SIZE" 2>/dev/null | tail -1)
        after=$(cpu_us)
        # "test","rps","avg","min","p50","p95","p99","max"
        IFS=, read -r _ rps _ _ p50 _ p99 _ <<<"${line//\"/}"
        [[ $rps =~ ^[0-9.]+$ ]] || { say "$name $test failed: $line" >&2; exit 1; }
        say "$policy $depth $test $name $rps $p50 $p99 $(((after - before) * 1000 / requests))" \
            >>"$WORK/results"
        say "$policy -P $depth $test $name: $rps/s" >&2
    done
    stop
}

for _ in $(seq "$ROUNDS"); do
    for policy in $POLICIES; do
        for depth in $DEPTHS; do
            measure redis "$REDIS" "$policy" "$depth"
            measure siltdb "$SILTDB" "$policy" "$depth"
        done
    done
done

say "$(machine); $("$REDIS" --version | grep -o 'v=[0-9.]*' | sed 's/v=/Redis /'), appendonly yes;"
say "50 connections, $KEYS keys, $SIZE-byte values, $N requests, best of $ROUNDS. One core for each server."
say
awk '
    { key = $1 " " $2 " " $3
      if (!(key in seen)) { seen[key] = 1; order[++count] = key }
      if ($5 > best[key, $4]) {
          best[key, $4] = $5; p50[key, $4] = $6; p99[key, $4] = $7; cpu[key, $4] = $8 / 1000
      } }
    function cell(k, s) {
        return sprintf("%.0f | %.2f | %.2f | %.1f", best[k, s], p50[k, s], p99[k, s], cpu[k, s])
    }
    END {
        print "| appendfsync | -P | command | Redis req/s | p50 ms | p99 ms | CPU µs |" \
              " SiltDB req/s | p50 ms | p99 ms | CPU µs | SiltDB / Redis |"
        print "|---|---|---|---|---|---|---|---|---|---|---|---|"
        for (i = 1; i <= count; i++) {
            k = order[i]; split(k, part, " ")
            printf "| %s | %s | %s | %s | %s | %.2f |\n", part[1], part[2], toupper(part[3]),
                cell(k, "redis"), cell(k, "siltdb"), best[k, "siltdb"] / best[k, "redis"]
        }
    }' "$WORK/results"
