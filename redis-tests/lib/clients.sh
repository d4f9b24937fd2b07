# Part clients: sample programs on redis-py, node-redis and ioredis, each in RESP2 and RESP3, and once
# over TLS; and jobs of BullMQ, Celery, rq and huey, and Django's cache.
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
    clients_node
    stop_server || fail "the server ends with status $?"
    part_end clients
}
