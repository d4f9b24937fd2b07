# What a run of all parts gets ready before it is needed, beside the part cargo, which keeps one core busy
# at the end of a build, and waits for timers and disks in its tests: the optimized server, and what the
# client libraries need.
#
# Nothing is reported here: a part that finds something missing tries again, and says so.

# Begins what is done beside the part cargo, at a low priority.
ahead_begin() {
    # In a group of its own, so that it can be ended with what it has started.
    set -m
    (
        renice -n 4 "$BASHPID"
        { clients_fetch; suite_fetch; } &
        server_build
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
