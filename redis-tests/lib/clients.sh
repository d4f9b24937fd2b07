# Part clients: sample programs on redis-py, node-redis, ioredis, and redis and fred of Rust, each in
# RESP2 and RESP3, and once over TLS; jobs of BullMQ, Celery, rq and huey, Django's cache, sessions of
# Flask; redis-py's own tests; what an exporter for Prometheus makes of INFO, and the metrics of the
# server itself.
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

# Has the libraries of Python in $CACHE.
clients_python_fetch() {
    local env="$CACHE/python"
    local modules='redis, celery, rq, huey, django, flask_session, prometheus_client'
    "$env/bin/python" -c "import $modules" 2>/dev/null && return 0
    python3 -c 'import venv, ensurepip' 2>/dev/null || apt_install python3-venv
    rm -rf "$env"
    { python3 -m venv "$env" &&
        "$env/bin/pip" install --quiet redis celery packaging rq huey django flask \
            flask-session prometheus_client; } >"$WORK/pip.log" 2>&1
}

clients_python() {
    local env="$CACHE/python"
    need python3 || { leave_out "clients (redis-py)" "python3 cannot be had"; return; }
    clients_python_fetch || { leave_out "clients (redis-py)" "$(tail -1 "$WORK/pip.log")"; return; }
    for protocol in 2 3; do
        clients_run "redis-py RESP$protocol" \
            "$env/bin/python" "$ROOT/redis-tests/samples/redis_py.py" "$PORT" "$protocol"
    done
    TLS_CA=$TLS_FILES/ca.pem clients_run "redis-py TLS" \
        "$env/bin/python" "$ROOT/redis-tests/samples/redis_py.py" "$TLS_PORT" 3
    clients_run "job queues" \
        "$env/bin/python" "$ROOT/redis-tests/samples/job_queues.py" "$PORT"
    clients_run "flask-session" \
        "$env/bin/python" "$ROOT/redis-tests/samples/web_sessions.py" "$PORT"
    TLS_CA=$TLS_FILES/ca.pem clients_run "flask-session TLS" \
        "$env/bin/python" "$ROOT/redis-tests/samples/web_sessions.py" "$TLS_PORT"
    clients_metrics "$env"
}

# Puts the exporter into $CACHE without installing it, which would start it; sets EXPORTER.
exporter_program() {
    local folder="$CACHE/exporter"
    EXPORTER=$folder/usr/bin/prometheus-redis-exporter
    [ -x "$EXPORTER" ] && return 0
    mkdir -p "$folder" "$WORK/deb"
    (cd "$WORK/deb" && apt-get -q download prometheus-redis-exporter && dpkg -x ./*.deb "$folder") \
        >"$WORK/exporter.log" 2>&1
    [ -x "$EXPORTER" ]
}

# What the exporter makes of the server on port $1, into file $2.
exporter_scrape() {
    local port exporter _
    port=$(free_port)
    "$EXPORTER" -redis.addr "redis://127.0.0.1:$1" -web.listen-address "127.0.0.1:$port" \
        -check-keys 'db6=*' -check-streams 'db6=stream' </dev/null >>"$WORK/exporter.log" 2>&1 &
    exporter=$!
    PIDS+=("$exporter")
    for _ in $(seq 100); do
        if curl -sf "http://127.0.0.1:$port/metrics" >"$2"; then break; fi
        sleep 0.1
    done
    kill "$exporter" && wait "$exporter" 2>/dev/null
}

# The metrics of the server, and those of an exporter beside what it makes of redis-server.
clients_metrics() {
    local python=$1/bin/python files=() theirs port
    if need redis-server curl && exporter_program; then
        theirs=$(free_port)
        mkdir -p "$WORK/theirs"
        redis-server --port "$theirs" --dir "$WORK/theirs" --appendonly yes >/dev/null 2>&1 </dev/null &
        PIDS+=("$!")
        for _ in $(seq 100); do
            if redis-cli -p "$theirs" ping >/dev/null 2>&1; then break; fi
            sleep 0.1
        done
        for port in "$theirs" "$PORT"; do
            redis-cli -p "$port" -n 6 xadd stream 1-1 f v >/dev/null
            redis-cli -p "$port" -n 6 set text t ex 100 >/dev/null
            redis-cli -p "$port" -n 6 incr text >/dev/null
        done
        exporter_scrape "$PORT" "$WORK/ours.prom"
        exporter_scrape "$theirs" "$WORK/theirs.prom"
        files=("$WORK/ours.prom" "$WORK/theirs.prom")
    else
        leave_out "clients (prometheus-redis-exporter)" "it cannot be had"
    fi
    clients_run "metrics" "$python" "$ROOT/redis-tests/samples/metrics.py" "$METRICS_PORT" \
        "${files[@]}"
}

# Has redis-py's own tests in $CACHE.
clients_redis_py_fetch() {
    local env="$CACHE/redis-py"
    [ -f "$env/.ready" ] && return 0
    rm -rf "$env"
    mkdir -p "$env"
    { "$CACHE/python/bin/python" -m venv "$env/venv" &&
        "$env/venv/bin/pip" install --quiet pytest pytest-asyncio pytest-timeout packaging &&
        "$env/venv/bin/pip" download --quiet --no-deps --no-binary redis -d "$env" redis &&
        mkdir "$env/source" &&
        tar -xf "$env"/redis-*.tar.gz -C "$env/source" --strip-components=1 &&
        touch "$env/.ready"; } >"$WORK/pip.log" 2>&1
}

# redis-py's own tests, from its source distribution: what redis-tests/redis-py.txt names, in RESP2
# and RESP3. Tests of clusters, modules and TLS need servers of their own.
clients_redis_py() {
    local env="$CACHE/redis-py" list="$ROOT/redis-tests/redis-py.txt" out="$WORK/redis-py" line protocol
    [ -x "$CACHE/python/bin/python" ] || return
    clients_redis_py_fetch ||
        { leave_out "clients (redis-py's tests)" "$(tail -1 "$WORK/pip.log")"; return; }
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

clients_rust() {
    local log="$WORK/rust.log" library protocol
    local program=${CARGO_TARGET_DIR:-$ROOT/target}/debug/examples/client-samples
    { command -v cargo >/dev/null && need cc make; } ||
        { leave_out "clients (Rust)" "cargo and a C compiler cannot be had"; return; }
    cargo build --quiet --example client-samples >"$log" 2>&1 </dev/null ||
        { fail "the samples of Rust: $(grep -m 1 '^error' "$log")"; return; }
    for library in redis-sync redis-async fred; do
        for protocol in 2 3; do
            clients_run "$library RESP$protocol" "$program" "$library" "$PORT" "$protocol"
        done
        TLS_CA=$TLS_FILES/ca.pem clients_run "$library TLS" "$program" "$library" "$TLS_PORT" 3
    done
}

# Has the libraries of Node.js in $CACHE.
clients_node_fetch() {
    local env="$CACHE/node"
    [ -f "$env/.ready" ] && return 0
    mkdir -p "$env"
    npm install --silent --no-audit --no-fund --prefix "$env" redis ioredis bullmq \
        >"$WORK/npm.log" 2>&1 </dev/null && touch "$env/.ready"
}

# What all of them need from elsewhere.
clients_fetch() {
    clients_python_fetch && clients_redis_py_fetch
    clients_node_fetch
    exporter_program
}

clients_node() {
    local env="$CACHE/node"
    need node npm ||
        { leave_out "clients (node-redis, ioredis)" "node and npm cannot be had"; return; }
    clients_node_fetch ||
        { leave_out "clients (node-redis, ioredis)" "$(tail -1 "$WORK/npm.log")"; return; }
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
    METRICS_PORT=$(free_port)
    start_server "$WORK/clients" --appendfsync always --tls-port "$TLS_PORT" \
        --tls-cert-file "$TLS_FILES/server.pem" --tls-key-file "$TLS_FILES/server.key" \
        --tls-auth-clients no --metrics-port "$METRICS_PORT" || { part_end clients; return; }
    clients_python
    clients_redis_py
    clients_node
    clients_rust
    stop_server || fail "the server ends with status $?"
    part_end clients
}
