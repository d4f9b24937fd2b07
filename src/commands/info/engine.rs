//! Sections of our own: durability, the tree, back-pressure.

use std::sync::Arc;

use super::{Fields, Picture};
use crate::commands::memory::ratio;
use crate::commands::{Client, ClientFlag};
use crate::config::AppendFsync;
use crate::engine::Stats;

pub(super) fn siltdb(picture: &Picture<'_>, out: &mut Fields) {
    let durability = match picture.settings.appendfsync {
        AppendFsync::Always => "always: acknowledged writes are on disk",
        AppendFsync::EverySecond => "everysec: the last second may be lost with the machine",
        AppendFsync::No => "no: the operating system decides when writes reach the disk",
    };
    let metrics = &picture.state.metrics;
    out.add("siltdb_version", env!("CARGO_PKG_VERSION"));
    out.add("durability", durability);
    out.add("data_directory", &picture.settings.dir);
    let refused = picture
        .engine
        .as_ref()
        .and_then(|stats| stats.poisoned.as_deref().or(stats.no_space.as_deref()));
    out.add("writes_refused", refused.unwrap_or("no"));
    out.all(&[
        ("writer_queue_full", metrics.writer_queue_full.get()),
        ("writer_queue_depth", metrics.writer_queue_depth.get()),
        ("reads_on_blocking_pool", metrics.reads_blocking.get()),
        ("replies_streamed", metrics.replies_streamed.get()),
        ("writes_warmed", metrics.writes_warmed.get()),
        ("clients_peak", metrics.clients_peak.get()),
    ]);
    connections(picture, out);
}

fn connections(picture: &Picture<'_>, out: &mut Fields) {
    let state = picture.state;
    let is_unix = |client: &&Arc<Client>| client.has(ClientFlag::UNIX);
    let (all, tls) = (state.clients.all(), state.metrics.connections_tls.get());
    let unix = all.iter().filter(is_unix).count() as u64;
    out.all(&[
        ("tcp_connections", (all.len() as u64).saturating_sub(unix + tls)),
        ("tls_connections", tls),
        ("unix_connections", unix),
        ("monitor_clients", state.monitors.count() as u64),
        ("tls_handshakes_failed", state.metrics.tls_handshakes_failed.get()),
    ]);
}

/// Bytes written to tables by bytes flushed.
fn write_amplification(stats: &Stats) -> f64 {
    let written = stats.flush_bytes_written + stats.compaction_bytes_written;
    ratio(written, stats.flush_bytes_written)
}

/// Tables that a lookup may have to look into: each of level 0, and one of each level below.
fn read_amplification(stats: &Stats) -> u64 {
    let (first, rest) = match &stats.levels[..] {
        [first, rest @ ..] => (first.files, rest),
        [] => (0, &[][..]),
    };
    first + rest.iter().filter(|level| level.files > 0).count() as u64
}

pub(super) fn lsm(picture: &Picture<'_>, out: &mut Fields) {
    let Some(stats) = &picture.engine else { return };
    for (level, level_stats) in stats.levels.iter().enumerate() {
        out.add(
            format_args!("level{level}"),
            format_args!("files={},bytes={}", level_stats.files, level_stats.bytes),
        );
    }
    out.add("write_amplification", format_args!("{:.2}", write_amplification(stats)));
    let disk_bytes: u64 = stats.levels.iter().map(|level| level.bytes).sum();
    out.all(&[
        ("tables_bytes", disk_bytes),
        ("open_tables", stats.tables_open),
        ("open_table_bytes", stats.table_bytes),
        ("retired_memtables_bytes", stats.retired_bytes),
        ("memtable_bytes", stats.memtable_bytes),
        ("sealed_memtables", stats.sealed_count),
        ("sealed_memtables_bytes", stats.sealed_bytes),
        ("sequence_number", stats.seq),
        ("flushed_sequence_number", stats.flushed_seq),
        ("flushes", stats.flushes),
        ("flush_bytes_written", stats.flush_bytes_written),
        ("compactions", stats.compactions),
        ("compactions_running", stats.compactions_running),
        ("compactions_failed", stats.compactions_failed),
        ("compaction_bytes_read", stats.compaction_bytes_read),
        ("compaction_bytes_written", stats.compaction_bytes_written),
        ("compaction_debt_bytes", stats.compaction_debt_bytes),
        ("compaction_records_dropped", stats.filter_dropped),
        ("read_amplification", read_amplification(stats)),
        ("block_cache_bytes", stats.cache_bytes),
        ("block_cache_hits", stats.cache_hits),
        ("block_cache_misses", stats.cache_misses),
        ("rows_in_memory", stats.rows),
        ("row_cache_bytes", stats.row_cache_bytes),
        ("table_lookups", stats.table_lookups),
        ("wal_bytes", stats.wal_bytes),
        ("wal_batches", stats.wal_batches),
        ("wal_syncs", stats.wal_syncs),
        ("wal_disk_bytes", stats.wal_disk_bytes),
        ("write_delays", stats.stalls),
        ("write_delay_us", stats.stall_us),
        ("recovered_transactions", stats.recovered_transactions),
        ("recovered_torn_bytes", stats.recovered_torn_bytes),
    ]);
    let damaged: Vec<_> =
        stats.damaged_tables.iter().map(|path| path.display().to_string()).collect();
    let damaged = if damaged.is_empty() { "none".to_owned() } else { damaged.join(",") };
    out.add("damaged_tables", damaged);
    out.add("background_error", stats.background_error.as_deref().unwrap_or("none"));
}
