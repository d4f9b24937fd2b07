# Part tcl: Redis's own suite, version 7.0, against an external server.
#
# redis-tests/skip/units.txt names every file of the suite: `run UNIT` or `skip UNIT: reason`.
# redis-tests/skip/UNIT.txt (slashes as dashes) names the tests of a file that are skipped: a line
# `reason: ...` holds for the names below it; names are exactly the suite's, or /regular expression.
# redis-tests/skip/COUNT is the number of those names. A name that matches no test is a failure, so
# the list follows what is true.

# The tests skipped in unit $1, one a line.
skipped_names() {
    local file="$ROOT/redis-tests/skip/${1//\//-}.txt"
    if [ -f "$file" ]; then grep -v -e '^reason: ' -e '^$' "$file"; fi
}

# Fits the unpacked copy to a server that the suite has not started.
suite_patch() {
    local tests="$CACHE/suite/redis/tests"
    # Since Redis 7.2 a small list is a listpack.
    sed -i '/assert_encoding/d' "$tests/unit/sort.tcl"
    # Only their first parts: those behind start servers with ACL files of their own.
    sed -i '1s/ external:skip//' "$tests/unit/acl.tcl" "$tests/unit/acl-v2.tcl"
    # Redis 7.4 says which user may not do what, and of keys and channels not how many.
    sed -i 's/NOPERM\*keys\*/NOPERM*key*/; s/NOPERM\*channels\*/NOPERM*channel*/' \
        "$tests/unit/acl.tcl" "$tests/unit/acl-v2.tcl"
    sed -i -E 's/"This user (has no [^"]*)" +(\[r ACL DRYRUN ([a-z-]+) )/"User \3 \1" \2/' \
        "$tests/unit/acl.tcl" "$tests/unit/acl-v2.tcl"
    # MIGRATE needs another server; the rest of that test makes the user of those behind it.
    sed -i '/DRYRUN command-test MIGRATE/d' "$tests/unit/acl-v2.tcl"
    # Since Redis 7.2 new users have this flag.
    sed -i 's/user hpuser on nopass resetchannels/user hpuser on nopass sanitize-payload resetchannels/' \
        "$tests/unit/acl.tcl"
    # Redis 7.4 lets scripts read streams with BLOCK, which does not wait then.
    sed -i -E 's/assert_error "\*xread(group)? command is not allowed with BLOCK [^"]*" \{(run_script .*)\}$/assert_equal {} [\2]/' \
        "$tests/unit/scripting.tcl"
    [ -f "$CACHE/suite/.patched-3" ] && return 0
    # These say that they are not for external servers, because they count since the start or
    # change limits; the server that they get here is a fresh one of their own.
    sed -i 's/"info" "external:skip"/"info"/' "$tests/unit/info.tcl"
    sed -i 's/"auth external:skip"/"auth"/' "$tests/unit/auth.tcl"
    sed -i 's/limits network external:skip/limits network/' "$tests/unit/limits.tcl"
    sed -i 's/obuf-limits external:skip/obuf-limits/' "$tests/unit/obuf-limits.tcl"
    # Shard channels need no cluster; the part behind it needs a replica.
    sed -i 's/"pubsubshard external:skip"/"pubsubshard"/' "$tests/unit/pubsubshard.tcl"
    # Counts on the last of the COPY tests before it, which are skipped, to leave no key.
    sed -i 's/^    test {MOVE basic usage} {$/    r flushdb\n&/' "$tests/unit/keyspace.tcl"
    # Redis 7.4 has the field `watch=` between these two.
    sed -i 's/multi=-1 qbuf=26/multi=-1* qbuf=26/' "$tests/unit/introspection.tcl"
    # Since Redis 7.2 a small list is a listpack.
    sed -i '/assert_encoding/d' "$tests/unit/type/list.tcl"
    touch "$CACHE/suite/.patched-3"
}

# Runs file $1 of the suite in the copy of the suite of lane $2, and counts what it prints.
tcl_unit() {
    local unit=$1 lane=$2 log="$WORK/suite-${1//\//-}.log" skips="$WORK/skips-$2" seconds=$SECONDS
    local ok err skip ignored name missing=0
    skipped_names "$unit" >"$skips"
    # Redis 7.0 has no listpacks of sets.
    start_server "$WORK/tcl-${unit//\//-}" --enable-debug-command yes --set-max-listpack-entries 0 \
        --enable-protected-configs yes --latency-monitor-threshold 1 \
        --notify-keyspace-events KEA --save "900 1" || return
    (cd "$WORK/suite-$lane" && timeout "${TCL_TIMEOUT:-420}" tclsh tests/test_helper.tcl \
        --host 127.0.0.1 --port "$PORT" --baseport $((21111 + 1000 * lane)) --portcount 1000 \
        --single "$unit" --durable --skipfile "$skips" \
        --tags "-needs:repl -large-memory" --timeout 180) </dev/null 2>&1 |
        sed 's/\x1b\[[0-9;]*m//g' >"$log"
    # The summary at the end repeats every failure behind three stars.
    ok=$(grep -c '^\[ok\]:' "$log")
    err=$(grep -c '^\[err\]:' "$log")
    skip=$(grep -c '^\[skip\]:' "$log")
    ignored=$(grep -c '^\[ignore\]:' "$log")
    pass "$ok"
    if ! grep -q "^\[[0-9/]* done\]: $unit" "$log"; then
        fail "$unit did not come to its end: $(grep -v '^$' "$log" | tail -2 | tr '\n' ' ')"
    fi
    while read -r name; do fail "${name#\[err\]: }"; done < <(grep '^\[err\]:' "$log")
    while read -r name; do
        [[ $name == /* ]] && continue
        grep -Fqx "[skip]: $name" "$log" || { fail "$unit has no test '$name' to skip"; missing=1; }
    done <"$skips"
    if ! kill -0 "$PID" 2>/dev/null; then fail "the server died in $unit, see $log"; fi
    stop_server
    say "  $unit: $ok passed, $err failed, $skip skipped, $ignored not for external servers" \
        "($((SECONDS - seconds)) s)"
    if [ "$err" != 0 ] || [ "$missing" != 0 ]; then say "  log: $log"; fi
}

# Takes the next line off the file of units, which the lanes share.
next_unit() {
    (flock 9 && sed -n 1p "$WORK/units" && sed -i 1d "$WORK/units") 9>"$WORK/units.lock"
}

# Runs units in a copy of the suite of its own, until there are none; leaves its counts in a file.
tcl_lane() {
    local lane=$1 unit
    PIDS=() LANES=()
    trap stop_all EXIT
    mkdir -p "$WORK/suite-$lane" && cp -r "$CACHE/suite/redis/tests" "$WORK/suite-$lane/"
    while unit=$(next_unit) && [ -n "$unit" ]; do tcl_unit "$unit" "$lane"; done
    say "$PART_PASSED $PART_FAILED" >"$WORK/lane-$lane"
}

part_tcl() {
    local unit units="$ROOT/redis-tests/skip/units.txt" lane passed failed
    need tclsh || { leave_out tcl "tclsh cannot be had"; return; }
    suite_fetch || { leave_out tcl "Debian's source package redis 7.0 cannot be had"; return; }
    suite_patch
    if [ "$#" = 0 ]; then
        local known
        known=$(cd "$CACHE/suite/redis" && tclsh tests/test_helper.tcl --list-tests)
        for unit in $known; do
            grep -Eq "^(run $unit|skip $unit: .+)$" "$units" || fail "$unit is not in $units"
        done
        # shellcheck disable=SC2046
        set -- $(sed -n 's/^run //p' "$units")
    fi
    printf '%s\n' "$@" >"$WORK/units"
    # A server and a driver wait for one another most of the time: two of each keep two cores busy.
    for lane in 1 2; do
        (tcl_lane "$lane") &
        LANES+=("$!")
    done
    for lane in 1 2; do
        wait "${LANES[lane - 1]}"
        read -r passed failed <"$WORK/lane-$lane" || { fail "lane $lane has no end"; continue; }
        pass "$passed"
        PART_FAILED=$((PART_FAILED + failed))
    done
    LANES=()
    part_end tcl
}
