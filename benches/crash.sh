#!/usr/bin/env bash
# kill -9 under write load with appendfsync always, again and again; every acknowledged write has to
# be there after each restart. A longer run of tests/crash_process.
#
# usage: benches/crash.sh [ROUNDS]      50 rounds unless told; SILTDB_SEED=N repeats a run
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
SILTDB_CRASH_ROUNDS=${1:-50} exec cargo test --release --test crash_process -- --nocapture
