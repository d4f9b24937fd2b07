# What every part uses: messages, counts, servers on free ports. Sourced by redis-tests/run.
#
# A part reports each check with `pass` or `fail WHAT`; `part_end NAME` prints its line of counts.

PASSED=0 FAILED=0 PART_PASSED=0 PART_FAILED=0
LEFT_OUT=()
PIDS=()
# Shells of this script that run beside it, and end their servers themselves.
LANES=()

say() { printf '%s\n' "$*"; }

pass() { PART_PASSED=$((PART_PASSED + ${1:-1})); }

fail() {
    PART_FAILED=$((PART_FAILED + 1))
    say "  FAILED $*"
}

part_end() {
    say "$1: $PART_PASSED passed, $PART_FAILED failed"
    PASSED=$((PASSED + PART_PASSED)) FAILED=$((FAILED + PART_FAILED))
    PART_PASSED=0 PART_FAILED=0
}

# Notes that part $1 could not run because $2 is missing; in CI that is a failure.
leave_out() {
    LEFT_OUT+=("$1 ($2)")
    say "$1: left out, $2"
    if [ "${CI:-}" = true ]; then FAILED=$((FAILED + 1)); fi
}

# Installs Debian packages "$@"; quiet, and fails when one cannot be had.
apt_install() {
    local sudo=() log="$WORK/apt.log"
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || return 1
        sudo=(sudo -n)
    fi
    command -v apt-get >/dev/null || return 1
    # A source of the machine that does not answer must not hide the ones that do.
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q update >"$log" 2>&1
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qy --no-install-recommends \
        install "$@" </dev/null >>"$log" 2>&1 || { tail -5 "$log"; return 1; }
}

# The Debian packages that bring each tool.
declare -A PACKAGES=(
    [cc]=build-essential
    [make]=build-essential
    [redis-cli]=redis-tools
    [redis-benchmark]=redis-tools
    [redis-server]=redis-server
    [openssl]=openssl
    [curl]=curl
    [tclsh]=tcl
    [python3]='python3 python3-venv'
    [node]='nodejs npm'
    [npm]=npm
)

# Makes sure that the tools "$@" are there; all that are missing are installed at once.
need() {
    local tool packages=()
    for tool in "$@"; do
        # shellcheck disable=SC2206  # names of packages
        command -v "$tool" >/dev/null || packages+=(${PACKAGES[$tool]})
    done
    [ "${#packages[@]}" = 0 ] && return 0
    say "installing ${packages[*]}"
    apt_install "${packages[@]}" || return 1
    for tool in "$@"; do command -v "$tool" >/dev/null || return 1; done
}

free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 10000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { say "$port"; return; }
    done
}

# Makes certificates in $TLS_FILES: ca.pem, and NAME.pem with NAME.key for server and client; sets
# TLS_PORT to a free port.
tls_files() {
    local name
    need openssl || return 1
    TLS_FILES=$WORK/tls TLS_PORT=$(free_port)
    mkdir -p "$TLS_FILES"
    (
        cd "$TLS_FILES" || exit 1
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=an authority" \
            -keyout ca.key -out ca.pem
        for name in server client; do
            openssl req -newkey rsa:2048 -nodes -subj "/CN=$name" -keyout "$name.key" -out "$name.csr"
            printf '[v3]\nsubjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=%sAuth\n' \
                "$name" >"$name.ext"
            openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
                -extfile "$name.ext" -extensions v3 -out "$name.pem"
        done
        openssl pkcs8 -topk8 -in server.key -passout pass:sesame -out server-encrypted.key
    ) >"$WORK/openssl.log" 2>&1 || { fail "openssl: $(tail -1 "$WORK/openssl.log")"; return 1; }
}

# Starts $SERVER with a data directory $1 and settings "${@:2}"; sets PORT and PID, and waits until
# it answers. The port stays the same when PORT is given in the environment of the call.
start_server() {
    local dir=$1 _
    shift
    PORT=${PORT_WANTED:-$(free_port)}
    mkdir -p "$dir"
    # shellcheck disable=SC2086  # $SERVER may carry arguments of its own
    $SERVER --port "$PORT" --dir "$dir" "$@" </dev/null >>"$dir.log" 2>&1 &
    PID=$!
    PIDS+=("$PID")
    for _ in $(seq 300); do
        if ! kill -0 "$PID" 2>/dev/null; then break; fi
        case $(redis-cli -p "$PORT" ping 2>&1) in PONG | *NOAUTH*) return 0 ;; esac
        sleep 0.1
    done
    fail "the server does not answer on port $PORT: $(tail -3 "$dir.log" | tr '\n' ' ')"
    return 1
}

# Ends the server $PID with signal $1 (TERM unless told) and waits for it; its status is returned.
stop_server() {
    local status=0
    kill "-${1:-TERM}" "$PID" 2>/dev/null
    wait "$PID" 2>/dev/null || status=$?
    return "$status"
}

# Ends every server that is still there; called at exit.
stop_all() {
    local pid
    for pid in "${LANES[@]}"; do
        kill -TERM "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
    for pid in "${PIDS[@]}"; do
        kill -KILL "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
}
