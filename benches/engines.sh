#!/usr/bin/env bash
# SiltDB's engine beside fjall and RocksDB, the same work on each, in one run.
#
# usage: benches/engines.sh
#
# For each size of values: random load of all keys, as many random overwrites, random lookups that hit
# and that miss, scans of 20, transactions that are synced, and lookups beside a writer of a given
# rate. Prints one table in Markdown for each size: rates, and in brackets CPU microseconds per
# operation of the whole process, its flushes and compactions included.
#
# Held equal: transactions of 100 pairs, one append to an unsynced log each (or one sync, where the
# table says so); three memtables of MEMTABLE; CACHE for all caches together, indexes and filters
# included (a third of it is SiltDB's cache of rows); filters of 10 bits; blocks of 4 KiB; two threads
# in the background; first level, tables and level 0 of the same size; jemalloc; keys of 20 bytes,
# values that compress by half. Not equal: SiltDB and RocksDB compress with LZ4, the deepest level with
# Zstd, fjall has LZ4 only; SiltDB's compactions keep to a rate while the tree is in shape, as in the
# server (COMPACTION=0 lifts that). All read through the page cache.
#
# RocksDB is built from its sources, which takes a quarter of an hour of one core, once, and wants
# libclang (Debian: libclang1 and libclang-common-dev); ENGINES="siltdb fjall" does without.
#
#   ENGINES="siltdb fjall rocksdb"
#   VALUES="100 1000"       bytes of a value; of the latter there are a fifth as many keys
#   KEYS=2000000            keys with values of 100 bytes
#   READS=300000            lookups of each kind, a tenth as many scans
#   SYNCS=1000              transactions that are synced
#   MIXED=10 RATE=50000     seconds of lookups beside a writer, and its pairs per second
#   MEMTABLE=16 CACHE=48 TABLE=16 LEVEL=64 COMPACTION=64     MiB
set -uo pipefail
. "$(dirname "$0")/common.sh"

ENGINES=${ENGINES:-siltdb fjall rocksdb} VALUES=${VALUES:-100 1000}
KEYS=${KEYS:-2000000} READS=${READS:-300000} SYNCS=${SYNCS:-1000} MIXED=${MIXED:-10} RATE=${RATE:-50000}
MEMTABLE=${MEMTABLE:-16} CACHE=${CACHE:-48} TABLE=${TABLE:-16} LEVEL=${LEVEL:-64}
COMPACTION=${COMPACTION:-64}
needs awk cargo
BENCH=${BENCH:-$ROOT/target/bench-engines/release/siltdb-bench-engines}

build_bench() {
    local features=()
    case " $ENGINES " in *" rocksdb "*) ;; *) features=(--no-default-features) ;; esac
    (cd "$ROOT/benches/engines" && cargo build --release --quiet "${features[@]}" \
        --target-dir "$ROOT/target/bench-engines") || exit 1
}

# run ENGINE VALUE: appends lines "VALUE tab ENGINE tab name tab number" to results.
run() {
    local engine=$1 value=$2 keys=$KEYS
    if [ "$value" -ge 500 ]; then keys=$((KEYS / 5)); fi
    rm -rf "$WORK/data"
    "$BENCH" "$engine" "$WORK/data" keys="$keys" value="$value" reads="$READS" syncs="$SYNCS" \
        mixed="$MIXED" rate="$RATE" memtable="$MEMTABLE" cache="$CACHE" table="$((TABLE * 1024))" \
        level="$LEVEL" compaction="$COMPACTION" 2>>"$WORK/notes" >"$WORK/one" ||
        { say "$engine failed:" >&2; tail -3 "$WORK/notes" >&2; exit 1; }
    awk -v OFS='\t' -v value="$value" -v engine="$engine" '{ print value, engine, $0 }' \
        "$WORK/one" >>"$WORK/results"
    say "$value bytes, $engine: done" >&2
}

# table VALUE: what was measured with values of that size.
table() {
    awk -F'\t' -v value="$1" -v engines="$ENGINES" '
        # A rate and the CPU of the same work share a cell.
        function cell(name, engine,   rate, text) {
            if (name ~ /ops\/s$/) {
                rate = sprintf("%.1f k", got[engine, name] / 1000)
                sub(/ops\/s$/, "CPU us", name)
                return rate sprintf(" (%.1f)", got[engine, name])
            }
            text = got[engine, name] < 10 ? "%.2f" : "%.0f"
            return sprintf(text, got[engine, name])
        }
        $1 == value {
            if (!(($3) in seen)) { seen[$3] = 1; order[++count] = $3 }
            got[$2, $3] = $4
        }
        END {
            columns = split(engines, engine, " ")
            head = "| values of " value " bytes |"; line = "|---|"
            for (e = 1; e <= columns; e++) { head = head " " engine[e] " |"; line = line "---|" }
            print head; print line
            for (i = 1; i <= count; i++) {
                name = order[i]
                if (name ~ /CPU us$/) continue
                row = "| " name " |"
                for (e = 1; e <= columns; e++) row = row " " cell(name, engine[e]) " |"
                print row
            }
        }' "$WORK/results"
}

if [ "$BENCH" = "$ROOT/target/bench-engines/release/siltdb-bench-engines" ]; then build_bench; fi
for value in $VALUES; do
    for engine in $ENGINES; do run "$engine" "$value"; done
done
say "$(machine); $KEYS keys of 20 bytes (a fifth with large values); memtables 3 x $MEMTABLE MiB,"
say "caches $CACHE MiB. Rates in thousands per second, CPU us per operation in brackets."
for value in $VALUES; do
    say
    table "$value"
done
