# What the benchmark scripts share: servers pinned to a core, their CPU time, memory and disk.
# Sourced by the scripts beside it.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SILTDB=${SILTDB:-$ROOT/target/release/siltdb}
REDIS=${REDIS:-redis-server}
WORK=$(mktemp -d "${BENCH_DIR:-${TMPDIR:-/tmp}}/siltdb-bench.XXXXXX")
PID=
TICKS=$(getconf CLK_TCK)

say() { printf '%s\n' "$*"; }

cleanup() {
    if [ -n "$PID" ]; then kill -KILL "$PID" 2>/dev/null && wait "$PID" 2>/dev/null; fi
    rm -rf "$WORK"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# Stops the script when a tool that it needs is missing.
needs() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || { say "$tool is missing" >&2; exit 1; }
    done
}

# Builds the server unless SILTDB names one.
build() {
    if [ "$SILTDB" = "$ROOT/target/release/siltdb" ]; then
        (cd "$ROOT" && cargo build --release --quiet) || exit 1
    fi
}

free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 10000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { say "$port"; return; }
    done
}

# Prefix of a command that shall run on core $1; nothing where there is only one core.
on_core() {
    if [ "$(nproc)" -gt 1 ]; then say "taskset -c $1"; fi
}

# start PROGRAM DIRECTORY [SETTINGS]: sets PORT and PID and START_MS, the time until PING answered.
# CORE, when set, is the core that the server is pinned to.
start() {
    local program=$1 dir=$2 begin now
    shift 2
    PORT=$(free_port)
    mkdir -p "$dir"
    begin=$(date +%s%N)
    # shellcheck disable=SC2046
    $(if [ -n "${CORE:-}" ]; then on_core "$CORE"; fi) "$program" --port "$PORT" --dir "$dir" "$@" \
        </dev/null >>"$WORK/server.log" 2>&1 &
    PID=$!
    for _ in $(seq 30000); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$PORT" && printf 'PING\r\n' >&3 && read -r -t 60 answer <&3 &&
            [ "${answer:0:5}" = +PONG ]) 2>/dev/null; then
            now=$(date +%s%N)
            START_MS=$(((now - begin) / 1000000))
            return 0
        fi
        kill -0 "$PID" 2>/dev/null || break
        sleep 0.002
    done
    say "$program does not start:" >&2
    tail -5 "$WORK/server.log" >&2
    exit 1
}

# Ends the server in good order.
stop() {
    kill "-${1:-TERM}" "$PID" 2>/dev/null
    wait "$PID" 2>/dev/null
    PID=
}

# CPU time of the server so far, in microseconds.
cpu_us() {
    local fields
    read -r -a fields < <(sed 's/^.*) //' "/proc/$PID/stat")
    say $(((fields[11] + fields[12]) * 1000000 / TICKS))
}

# What a hypervisor has kept all cores waiting so far, in milliseconds: nothing here can answer meanwhile.
stolen_ms() { awk -v ticks="$TICKS" '$1 == "cpu" { print int($9 * 1000 / ticks) }' /proc/stat; }

# A field of /proc/PID/status in KiB: VmRSS, VmHWM.
memory_kb() { awk -v field="$1:" '$1 == field { print $2 }' "/proc/$PID/status"; }

disk_mb() { du -sm "$1" | cut -f1; }

machine() {
    say "$(nproc) cores, $(awk -F': ' '/^model name/ { print $2; exit }' /proc/cpuinfo)," \
        "$(awk '/^MemTotal/ { print int($2 / 1048576 + 0.5) }' /proc/meminfo) GB," \
        "Linux $(uname -r), $(date +%F)"
}

# Builds the load generator, unless CLIENT names one; sets CLIENT.
build_client() {
    if [ -n "${CLIENT:-}" ]; then return; fi
    CLIENT=$ROOT/target/bench-client/release/siltdb-bench-client
    cargo build --release --quiet --manifest-path "$ROOT/benches/client/Cargo.toml" \
        --target-dir "$ROOT/target/bench-client" || exit 1
}

# The value of word $1=... in the line $2.
word() {
    local pair
    for pair in $2; do
        if [ "${pair%%=*}" = "$1" ]; then say "${pair#*=}"; fi
    done
}
