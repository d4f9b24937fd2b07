# Part clients: sample programs on redis-py, node-redis and ioredis, each in RESP2 and RESP3, and once
# over TLS; jobs of BullMQ, Celery, rq and huey, and Django's cache; and redis-py's own tests.
#
# The libraries come from their registries into $CACHE, by name. A sample prints `N passed, N failed`.

# Runs one sample program and adds its counts. $1 names it, the rest is the command.
clients_run() {
    local name=$1 out="$WORK/${1// /-}.out" line
    shift
    timeout 120 "$@" >"$out" 2>&1 </dev/null
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$out" | tail -1)
    if [ -z "$line" ]; then
        fail "$name did not come to its end: $(tail -3 "$out" | tr '\n' ' ')"
        return
    fi
    grep '^FAILED' "$out" | sed "s/^/  $name: /"
    pass "${line%% *}"
    line=${line#*, }
    PART_FAILED=$((PART_FAILED + ${line%% *}))
}

clients_python() {
    local env="$CACHE/python"
    need python3 python3 || { leave_out "clients (redis-py)" "python3 cannot be had"; return; }
    if ! "$env/bin/python" -c 'import redis, celery, rq, huey, django' 2>/dev/null; then
        python3 -c 'import venv, ensurepip' 2>/dev/null || apt_install python3-venv
        rm -rf "$env"
        { python3 -m venv "$env" &&
            "$env/bin/pip" install --quiet redis celery packaging rq huey django; } >"$WORK/pip.log" 2>&1 ||
            { leave_out "clients (redis-py)" "$(tail -1 "$WORK/pip.log")"; return; }
    fi
    for protocol in 2 3; do
        clients_run "redis-py RESP$protocol" \
            "$env/bin/python" "$ROOT/redis-tests/samples/redis_py.py" "$PORT" "$protocol"
    done
    TLS_CA=$TLS_FILES/ca.pem clients_run "redis-py TLS" \
        "$env/bin/python" "$ROOT/redis-tests/samples/redis_py.py" "$TLS_PORT" 3
    clients_run "job queues" \
        "$env/bin/python" "$ROOT/redis-tests/samples/job_queues.py" "$PORT"
}

# redis-py's own tests, from its source distribution: what redis-tests/redis-py.txt names, in RESP2
# and RESP3. Tests of clusters, modules and TLS need servers of their own.
clients_redis_py() {
    local env="$CACHE/redis-py" list="$ROOT/redis-tests/redis-py.txt" out="$WORK/redis-py" line protocol
    [ -x "$CACHE/python/bin/python" ] || return
    if ! [ -f "$env/.ready" ]; then
        rm -rf "$env"
        mkdir -p "$env"
        { "$CACHE/python/bin/python" -m venv "$env/venv" &&
            "$env/venv/bin/pip" install --quiet pytest pytest-asyncio pytest-timeout packaging &&
            "$env/venv/bin/pip" download --quiet --no-deps --no-binary :all: -d "$env" redis &&
            mkdir "$env/source" &&
            tar -xf "$env"/redis-*.tar.gz -C "$env/source" --strip-components=1 &&
            touch "$env/.ready"; } >"$WORK/pip.log" 2>&1 ||
            { leave_out "clients (redis-py's tests)" "$(tail -1 "$WORK/pip.log")"; return; }
    fi
    for protocol in 2 3; do
        # shellcheck disable=SC2046
        (cd "$env/source" && timeout 300 "$env/venv/bin/python" -m pytest -q -p no:cacheprovider \
            --timeout 60 --redis-url "redis://localhost:$PORT/0" --protocol "$protocol" \
            -m "not onlycluster and not redismod and not ssl" \
            $(sed -n 's/^tests/--deselect=&/p; s/^run //p' "$list")) >"$out.$protocol" 2>&1 </dev/null
        line=$(grep -E '(passed|failed).* in [0-9.]+s' "$out.$protocol" | tail -1)
        if [ -z "$line" ]; then
            fail "redis-py's tests did not come to their end: $(tail -1 "$out.$protocol")"
            continue
        fi
        pass "$(sed -nE 's/(.* )?([0-9]+) passed.*/\2/p' <<<"$line")"
        while read -r line; do fail "redis-py's tests, RESP$protocol: $line"; done \
            < <(sed -nE 's/^(FAILED|ERROR) //p' "$out.$protocol")
    done
}

clients_node() {
    local env="$CACHE/node"
    need node nodejs npm && need npm npm ||
        { leave_out "clients (node-redis, ioredis)" "node and npm cannot be had"; return; }
    if ! [ -d "$env/node_modules/redis" ] || ! [ -d "$env/node_modules/bullmq" ]; then
        mkdir -p "$env"
        npm install --silent --no-audit --no-fund --prefix "$env" redis ioredis bullmq \
            >"$WORK/npm.log" 2>&1 </dev/null ||
            { leave_out "clients (node-redis, ioredis)" "$(tail -1 "$WORK/npm.log")"; return; }
    fi
    for sample in node-redis ioredis; do
        for protocol in 2 3; do
            NODE_PATH="$env/node_modules" clients_run "$sample RESP$protocol" \
                node "$ROOT/redis-tests/samples/$sample.cjs" "$PORT" "$protocol"
        done
        TLS_CA=$TLS_FILES/ca.pem NODE_PATH="$env/node_modules" clients_run "$sample TLS" \
            node "$ROOT/redis-tests/samples/$sample.cjs" "$TLS_PORT" 3
    done
    NODE_PATH="$env/node_modules" clients_run BullMQ \
        node "$ROOT/redis-tests/samples/bullmq.cjs" "$PORT"
}

part_clients() {
    tls_files || { leave_out clients "openssl cannot be had"; return; }
    start_server "$WORK/clients" --appendfsync always --tls-port "$TLS_PORT" \
        --tls-cert-file "$TLS_FILES/server.pem" --tls-key-file "$TLS_FILES/server.key" \
        --tls-auth-clients no || { part_end clients; return; }
    clients_python
    clients_redis_py
    clients_node
    stop_server || fail "the server ends with status $?"
    part_end clients
}
