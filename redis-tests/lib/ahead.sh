# What a run of all parts gets ready before it is needed: packages, at the beginning and all at once, and
# the optimized server and what the client libraries need, beside the tests of the crate, which wait
# for timers and disks much of the time.
#
# Nothing is reported here: a part that finds something missing tries again, and says so.

# A tool, and the packages that bring it.
AHEAD_TOOLS="
cc build-essential
make build-essential
redis-cli redis-tools
redis-server redis-server
openssl openssl
curl curl
tclsh tcl
python3 python3
node nodejs npm
npm npm
"

# Installs the packages of all tools that are not there.
ahead_packages() {
    local tool packages missing=()
    while read -r tool packages; do
        [ -n "$tool" ] || continue
        # shellcheck disable=SC2206  # names of packages
        command -v "$tool" >/dev/null || missing+=($packages)
    done <<<"$AHEAD_TOOLS"
    python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
    [ "${#missing[@]}" = 0 ] && return
    say "installing ${missing[*]}"
    apt_install "${missing[@]}"
}

# Begins what is done beside the tests of the crate, at a low priority.
ahead_begin() {
    # In a group of its own, so that it can be ended with what it has started.
    set -m
    (
        renice -n 10 "$BASHPID"
        { clients_fetch; suite_fetch; } &
        # The longest, so it begins at once.
        server_build
        clients_rust_build
        wait
    ) >"$WORK/ahead.log" 2>&1 </dev/null &
    AHEAD=$!
    set +m
}

# Ends it where it is.
ahead_stop() {
    if [ -n "${AHEAD:-}" ]; then kill -TERM -- "-$AHEAD" && wait "$AHEAD"; fi 2>/dev/null
}

# Waits until that is done.
ahead_end() {
    if [ -n "${AHEAD:-}" ]; then wait "$AHEAD"; fi
    AHEAD=
    return 0
}
