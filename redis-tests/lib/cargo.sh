# Part cargo: form, lints and the tests of the crate itself. Also builds the server for the others.

part_cargo() {
    local log="$WORK/cargo.log" passed failed
    cargo_tools || { part_end cargo; return; }
    ${BESIDE_CARGO:-}
    if cargo fmt --check; then pass; else fail "cargo fmt --check"; fi
    if cargo clippy --quiet --all-targets -- -D warnings; then pass; else fail "cargo clippy"; fi
    # The load generator of the benchmarks is a package of its own.
    if (cd benches/client && cargo fmt --check && cargo clippy --quiet \
        --target-dir "$ROOT/target/bench-client" -- -D warnings); then pass; else fail "benches/client"; fi
    # So is the comparison of engines, which takes long to build.
    if (cd benches/engines && cargo fmt --check); then pass; else fail "benches/engines"; fi
    # tests/differential compares with it; elsewhere it is skipped.
    need redis-server || leave_out differential "redis-server cannot be had"
    export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-1}
    cargo test --no-fail-fast 2>&1 | tee "$log" || fail "cargo test"
    passed=$(sed -nE 's/^test result: .* ([0-9]+) passed.*/\1/p' "$log" | paste -sd+ | total)
    failed=$(sed -nE 's/^test result: .* ([0-9]+) failed.*/\1/p' "$log" | paste -sd+ | total)
    pass "$passed"
    PART_FAILED=$((PART_FAILED + failed))
    part_end cargo
}

# The value of a sum such as 1+2+3, 0 for nothing.
total() {
    local terms
    read -r terms
    say "$((${terms:-0}))"
}

# Rust has to be there already; the C parts of two crates want a compiler and make.
cargo_tools() {
    command -v cargo >/dev/null || { fail "cargo is not there: install Rust"; return 1; }
    need cc make || { fail "a C compiler and make cannot be had"; return 1; }
}

# Builds the server once, unless SERVER names another.
server_build() {
    if [ -z "${SERVER:-}" ]; then
        cargo_tools && cargo build --release --quiet ||
            { fail "cargo build --release"; part_end build; return 1; }
        SERVER=${CARGO_TARGET_DIR:-$ROOT/target}/release/siltdb
    fi
}
