#!/usr/bin/env bash
# What the size of a collection costs: point commands on ELEMENTS elements beside the same on 1,000,
# SiltDB beside Redis, both with a log on disk.
#
# usage: benches/how-big.sh [TYPE...]        hash set zset list stream string; all by default
#
# Fills one small and one large collection of each type, then runs redis-benchmark against either (8
# connections, pipelines of PIPELINE) and takes the server's CPU time per request, background work included,
# requests per second, and what a request has the server write to files. A string has ten bytes for
# each element. Then: EXPIRE and DEL of the large one, and what reading all of it does to a client that
# sends a GET every millisecond. The server runs on core 0, the load elsewhere. Prints tables in
# Markdown.
#
#   ELEMENTS=10000000  N=100000   elements of the large collection, requests of each measurement
#   PIPELINE=8                    calls that a connection has on the way at a time
#   FSYNC=everysec                appendfsync
#   MAXMEMORY=1gb                 of SiltDB; Redis holds everything in memory
#   SERVERS="siltdb redis"
#   SETTLE=5                      seconds between filling and measuring: compaction goes on in them
set -uo pipefail
. "$(dirname "$0")/common.sh"

ELEMENTS=${ELEMENTS:-10000000} N=${N:-100000} FSYNC=${FSYNC:-everysec} MAXMEMORY=${MAXMEMORY:-1gb}
SERVERS=${SERVERS:-siltdb redis} SETTLE=${SETTLE:-5} PIPELINE=${PIPELINE:-8}
SMALL=1000
[ $# -gt 0 ] || set -- hash set zset list stream string
needs redis-benchmark redis-cli awk cargo
build
build_client
cli() { redis-cli -p "$PORT" "$@"; }

# Point commands of a type: KEY stands for the key, ITEM for a random element, MIDDLE for the index of the middle. Of two
# with a slash between them the first takes out elements that are there and the second puts them back, as many of
# one as of the other: a command that only removes would soon find the small collection empty.
commands() {
    case $1 in
    hash) set -- "HGET KEY ITEM" "HSET KEY ITEM x" "HEXISTS KEY ITEM" "HLEN KEY" "HRANDFIELD KEY" ;;
    set) set -- "SISMEMBER KEY ITEM" "SADD KEY ITEM" "SREM KEY ITEM / SADD KEY ITEM" "SCARD KEY" "SRANDMEMBER KEY" ;;
    zset) set -- "ZSCORE KEY ITEM" "ZRANK KEY ITEM" "ZINCRBY KEY 7 ITEM" "ZRANGE KEY MIDDLE MIDDLE" \
        "ZRANGEBYSCORE KEY MIDDLE +inf LIMIT 0 1" "ZCARD KEY" ;;
    list) set -- "LINDEX KEY MIDDLE" "LRANGE KEY MIDDLE MIDDLE" "LSET KEY MIDDLE x" "RPUSH KEY x" "LPOP KEY" ;;
    stream) set -- "XRANGE KEY MIDDLE + COUNT 1" "XADD KEY * f x" "XLEN KEY" ;;
    string) set -- "GETRANGE KEY MIDDLE MIDDLE" "SETRANGE KEY MIDDLE hello" "SETBIT KEY MIDDLE 1" \
        "GETBIT KEY MIDDLE" "APPEND KEY x" "STRLEN KEY" ;;
    esac
    printf '%s\n' "$@"
}

# fill TYPE KEY COUNT: makes a collection; prints what the load generator says of it.
fill() {
    if [ "$1" != string ]; then
        "$CLIENT" fill "$PORT" --type "$1" --key "$2" --count "$3"
        return
    fi
    local begin
    begin=$(date +%s%N)
    head -c $(($3 * 10)) /dev/urandom | cli -x SET "$2" >/dev/null
    say "per_second=$(($3 * 1000000000 / ($(date +%s%N) - begin)))"
}

# Bytes that the server has handed to the system to write, replies included.
written() { awk '$1 == "wchar:" { print $2 }' "/proc/$PID/io"; }

# measure KEY SIZE WORDS...: sets US, the server's CPU microseconds per request, PER_SECOND and BYTES,
# what the server writes per request.
measure() {
    local key=$1 size=$2 before begin wrote
    shift 2
    local words=("$@") i
    for i in "${!words[@]}"; do
        words[i]=${words[i]/#KEY/$key}
        words[i]=${words[i]/#ITEM/element:__rand_int__}
        words[i]=${words[i]/#MIDDLE/$((size / 2))}
    done
    local load=(redis-benchmark -p "$PORT" -q -r "$size" -n "$N" -c 8 -P "$PIPELINE" "${words[@]}")
    if [[ "$*" = */* ]]; then
        local line="${words[*]}"
        line=${line// element:__rand_int__/}
        load=("$CLIENT" toggle "$PORT" --remove "${line% / *}" --add "${line#* / }" --elements "$size" --count "$N" \
            --connections 8 --pipeline "$PIPELINE")
    fi
    before=$(cpu_us) wrote=$(written) begin=$(date +%s%N)
    "${load[@]}" >"$WORK/out" 2>&1 || say "$*: $(tail -1 "$WORK/out")" >&2
    if grep -qi 'err' "$WORK/out"; then tail -1 "$WORK/out" >&2; fi
    US=$(awk "BEGIN { printf \"%.1f\", ($(cpu_us) - $before) / $N }")
    PER_SECOND=$(awk "BEGIN { printf \"%.0f\", $N / (($(date +%s%N) - $begin) / 1e9) }")
    BYTES=$((($(written) - wrote) / N))
}

# timed WORDS...: milliseconds of one command.
timed() {
    local begin
    begin=$(date +%s%N)
    cli "$@" >/dev/null
    awk "BEGIN { printf \"%.1f\", ($(date +%s%N) - $begin) / 1e6 }"
}

all_of() {
    case $1 in
    hash) say "HGETALL big" ;; set) say "SMEMBERS big" ;; zset) say "ZRANGE big 0 -1 WITHSCORES" ;;
    list) say "LRANGE big 0 -1" ;; stream) say "XRANGE big - +" ;;
    string) say "GET big" ;;
    esac
}

say "$(machine); large: $ELEMENTS elements, small: $SMALL; appendfsync $FSYNC, maxmemory $MAXMEMORY (SiltDB)"
for type in "$@"; do
    for server in $SERVERS; do
        dir=$WORK/$type-$server
        CORE=0
        if [ "$server" = siltdb ]; then
            start "$SILTDB" "$dir" --appendfsync "$FSYNC" --maxmemory "$MAXMEMORY"
        else
            start "$REDIS" "$dir" --appendonly yes --appendfsync "$FSYNC" --save ''
        fi
        "$CLIENT" load "$PORT" --keys 1000 --connections 1 >/dev/null
        fill "$type" small "$SMALL" >/dev/null
        filled=$(fill "$type" big "$ELEMENTS")
        sleep "$SETTLE"
        say
        say "**$type, $server**: filled at $(word per_second "$filled") elements/s, resident" \
            "$(memory_kb VmRSS) KB, disk $(disk_mb "$dir") MB"
        say
        say "| command | us on $SMALL | us on $ELEMENTS | ratio | req/s | bytes written |"
        say "|---|---|---|---|---|---|"
        commands "$type" | while read -r line; do
            read -r -a words <<<"$line"
            measure small "$SMALL" "${words[@]}"
            small=$US
            measure big "$ELEMENTS" "${words[@]}"
            say "| $line | $small | $US |" \
                "$(awk "BEGIN { printf \"%.2f\", $US / ($small + 0.001) }") | $PER_SECOND | $BYTES |"
        done
        alone=$("$CLIENT" pace "$PORT" --seconds 5)
        read -r -a words <<<"$(all_of "$type")"
        (while :; do cli "${words[@]}" >/dev/null; done) 2>/dev/null &
        reader=$!
        beside=$("$CLIENT" pace "$PORT" --seconds 10)
        kill "$reader" && wait "$reader" 2>/dev/null
        say
        say "GET every ms alone: p99 $(word p99_ms "$alone") ms, max $(word max_ms "$alone") ms;" \
            "beside ${words[0]}: p99 $(word p99_ms "$beside") ms, max $(word max_ms "$beside") ms;" \
            "peak resident $(memory_kb VmHWM) KB"
        say "EXPIRE: $(timed EXPIRE big 1000) ms, DEL: $(timed DEL big) ms (redis-cli's start included)"
        sleep 10
        say "10 s later: disk $(disk_mb "$dir") MB"
        stop
        rm -rf "$dir"
    done
done
