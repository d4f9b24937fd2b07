# Part bench: redis-benchmark's own command list, short runs; redis-tests/benchmark.txt says which.
#
# A run passes when redis-benchmark ends well, no error came from the server, nothing was missing for
# it (it warns about CONFIG GET), and it reports a rate for each test it was asked for.

# One run: $1 names it, the rest are options of redis-benchmark.
bench_run() {
    local name=$1 out="$WORK/bench.out"
    shift
    if timeout 120 redis-benchmark -p "$PORT" --csv "$@" >"$out" 2>&1 </dev/null &&
        ! grep -Eqi 'error|warning' "$out" && grep -Eq '^"[^"]+","[1-9][0-9.]*"' "$out"; then
        pass
    else
        fail "redis-benchmark $name: $(grep -Ei 'error|warning' "$out" | head -1) $(tail -1 "$out")"
    fi
}

part_bench() {
    local name depth
    need redis-benchmark || { leave_out bench "redis-benchmark cannot be had"; return; }
    start_server "$WORK/bench" --appendfsync everysec || { part_end bench; return; }
    for name in $(sed -n 's/^run //p' "$ROOT/redis-tests/benchmark.txt"); do
        for depth in 1 16; do
            bench_run "$name -P $depth" -t "$name" -P "$depth" -n 20000 -r 10000 -d 64
        done
        bench_run "$name -3" -t "$name" -3 -n 2000
    done
    bench_run "set of 100 KB" -t set,get -d 100000 -n 2000 -c 10
    bench_run "1000 connections" -t set,get -c 1000 -n 20000
    bench_run "own command" -n 5000 -r 1000 setrange key:__rand_int__ 10 x
    bench_run "own command of 1000 keys" -n 200 -r 100000 \
        mset $(for name in $(seq 1000); do printf 'key:__rand_int__ v '; done)
    # Requests that were answered are in the server's own count.
    if [ "$(redis-cli -p "$PORT" dbsize)" -gt 9000 ]; then pass; else fail "keys are missing"; fi
    stop_server || fail "the server ends with status $?"
    part_end bench
}
