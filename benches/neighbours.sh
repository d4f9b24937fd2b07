#!/usr/bin/env bash
# What a client's neighbours cost it: the latency of GET alone, and beside one that is busy.
#
# usage: benches/neighbours.sh
#
# A few connections send GETs of random keys, one at a time and at an even rate: alone, and beside
# each of
#   KEYS      KEYS * over all keys, again and again
#   HGETALL   of a hash of FIELDS fields, again and again
#   script    a script that only reads of about 5 seconds, again and again
#   fan-out   SUBSCRIBERS to one channel, and PUBLISH_RATE messages a second
# Redis goes through the same. Prints a table in Markdown. The servers and the load generator share
# all cores; the GETs are sent at a higher priority where the system allows, so that they measure the
# server and not how long they wait for a core themselves. What a hypervisor took of the cores meanwhile
# is told: GETs that were due in that time are late whatever the server does.
#
#   N=10000000  SIZE=100       keys, bytes of a value
#   FIELDS=1000000             of the hash
#   SUBSCRIBERS=10000  PUBLISH_RATE=20
#   SECONDS_EACH=20            length of each measurement; at least three seconds
#   RATE=1000  CONNECTIONS=4   GETs a second, over so many connections
#   MAXMEMORY=1gb              of SiltDB, and its threads: IO_THREADS=1
#   RUNS='siltdb redis'        which servers, by name
#   BESIDE='KEYS HGETALL script fan-out'
set -uo pipefail
. "$(dirname "$0")/common.sh"

N=${N:-10000000} SIZE=${SIZE:-100} FIELDS=${FIELDS:-1000000}
SUBSCRIBERS=${SUBSCRIBERS:-10000} PUBLISH_RATE=${PUBLISH_RATE:-20}
SECONDS_EACH=${SECONDS_EACH:-20} RATE=${RATE:-1000} CONNECTIONS=${CONNECTIONS:-4}
MAXMEMORY=${MAXMEMORY:-1gb} IO_THREADS=${IO_THREADS:-1} RUNS=${RUNS:-siltdb redis}
BESIDE=${BESIDE:-KEYS HGETALL script fan-out}
SCRIPT='local~x=0~for~i=1,tonumber(ARGV[1])~do~x=(x*3+i)%1000003~end~return~x'
# Rounds of the script by which it is found how many take five seconds.
PROBE=20000000
needs awk cargo taskset
ulimit -n "$((SUBSCRIBERS + 2000))" 2>/dev/null ||
    { say "the limit of open files cannot be raised to $((SUBSCRIBERS + 2000))" >&2; exit 1; }
build
build_client

# CPU time of the programs that were started here and have ended: sets CHILDREN_MS.
children_ms() {
    times >"$WORK/times"
    CHILDREN_MS=$(awk 'NR == 2 { split($1 $2, t, "[ms]")
        printf "%d", 1000 * (60 * t[1] + t[2] + 60 * t[3] + t[4]) }' "$WORK/times")
}

# How many rounds of the script take five seconds on this server: sets ROUNDS.
probe_script() {
    local line
    line=$("$CLIENT" repeat "$PORT" --command "EVAL_RO $SCRIPT 0 $PROBE" --seconds 1) || exit 1
    ROUNDS=$((PROBE * 5000 / $(word slowest_ms "$line")))
}

# Prefix that gives a higher priority, where that is allowed.
ahead() { if nice -n -10 true 2>/dev/null; then say "nice -n -10"; fi; }

# Sends the GETs for $1 seconds, and prints what came of it.
gets() {
    # shellcheck disable=SC2046
    $(ahead) "$CLIENT" pace "$PORT" --seconds "$1" --keys "$N" --rate "$RATE" \
        --connections "$CONNECTIONS"
}

# Starts the neighbour $1 in the background: sets NEIGHBOUR, its process, which has begun.
begin_beside() {
    local seconds=$((SECONDS_EACH + 2)) command
    case $1 in
        KEYS) command='KEYS *' ;;
        HGETALL) command='HGETALL hash' ;;
        script) command="EVAL_RO $SCRIPT 0 $ROUNDS" ;;
        fan-out)
            "$CLIENT" fanout "$PORT" --connections "$SUBSCRIBERS" --rate "$PUBLISH_RATE" \
                --seconds "$seconds" >"$WORK/beside" &
            NEIGHBOUR=$!
            while ! grep -q ready "$WORK/beside"; do
                kill -0 "$NEIGHBOUR" 2>/dev/null || { say "the subscribers fail" >&2; exit 1; }
                sleep 0.05
            done
            return
            ;;
        *) say "no neighbour is a '$1'" >&2; exit 1 ;;
    esac
    "$CLIENT" repeat "$PORT" --command "$command" --seconds "$seconds" >"$WORK/beside" &
    NEIGHBOUR=$!
    sleep 0.5
}

# row SERVER NEIGHBOUR: measures, and prints a row; alone where the neighbour is "nobody".
row() {
    local line cpu_before before_ms stolen_before began took
    NEIGHBOUR=
    if [ "$2" != nobody ]; then begin_beside "$2"; fi
    children_ms
    before_ms=$CHILDREN_MS cpu_before=$(cpu_us) stolen_before=$(stolen_ms) began=$(date +%s%N)
    gets "$SECONDS_EACH" >"$WORK/gets"
    line=$(cat "$WORK/gets")
    took=$((($(date +%s%N) - began) / 1000000))
    cpu_before=$(($(cpu_us) - cpu_before)) stolen_before=$(($(stolen_ms) - stolen_before))
    if [ -n "$NEIGHBOUR" ]; then
        wait "$NEIGHBOUR" || { say "beside $2: the load generator has failed" >&2; exit 1; }
    else
        ALONE=$(word p99_ms "$line")
        : >"$WORK/beside"
    fi
    children_ms
    say "| $1 | $2 | $(word p50_ms "$line") | $(word p99_ms "$line") | $(word max_ms "$line")" \
        "| $(awk "BEGIN { printf \"%.1f\", $(word p99_ms "$line") / $ALONE }")" \
        "| $(awk "BEGIN { printf \"%.2f\", $cpu_before / 1000 / $took }")" \
        "| $(awk "BEGIN { printf \"%.2f\", ($CHILDREN_MS - $before_ms) / $took }")" \
        "| $stolen_before | $(tail -1 "$WORK/beside") |"
}

# serve NAME: loads a server and goes through the neighbours.
serve() {
    local beside
    case $1 in
        siltdb)
            start "$SILTDB" "$WORK/$1" --maxclients "$((SUBSCRIBERS + 1000))" --appendonly yes \
                --maxmemory "$MAXMEMORY" --io-threads "$IO_THREADS" --busy-reply-threshold 60000
            ;;
        redis)
            start "$REDIS" "$WORK/$1" --maxclients "$((SUBSCRIBERS + 1000))" --save '' \
                --appendonly no --busy-reply-threshold 60000
            ;;
        *) say "no server is a '$1'" >&2; exit 1 ;;
    esac
    "$CLIENT" load "$PORT" --keys "$N" --size "$SIZE" --connections 8 --pipeline 100 >/dev/null &&
        "$CLIENT" fill "$PORT" --type hash --key hash --count "$FIELDS" >/dev/null ||
        { say "$1 cannot be loaded" >&2; exit 1; }
    gets 3 >/dev/null
    probe_script
    row "$1" nobody
    for beside in $BESIDE; do row "$1" "$beside"; done
    stop
    rm -rf "${WORK:?}/$1"
}

say "$(machine); $N keys, values of $SIZE bytes, a hash of $FIELDS fields; $RATE GETs/s for" \
    "$SECONDS_EACH s; SiltDB with maxmemory $MAXMEMORY and appendfsync everysec, io-threads" \
    "$IO_THREADS; Redis without persistence"
say
say "| server | beside | p50 ms | p99 ms | max ms | p99 to alone | cores of the server" \
    "| cores of the clients | stolen ms | the neighbour |"
say "|---|---|---|---|---|---|---|---|---|---|"
for server in $RUNS; do serve "$server"; done
