//! Sections that count: statistics of the server, of each command, of errors.

use super::{Fields, Picture};
use crate::commands::{Kind, ServerState, random, table};
use crate::data::{RootRef, View};
use crate::engine::{self, Read, ReadMode};

pub(super) fn stats(picture: &Picture<'_>, out: &mut Fields) {
    let metrics = &picture.state.metrics;
    let rates = metrics.rates();
    let subscribed = |kind| picture.state.pubsub.count(kind) as u64;
    let [_, tracked_keys, tracked_items, prefixes] = picture.state.tracking.totals();
    let kilobytes = |bytes: u64| format!("{:.2}", bytes as f64 / 1024.0);
    out.all(&[
        ("total_connections_received", metrics.connections_received.get()),
        ("total_commands_processed", metrics.commands_processed.get()),
        ("instantaneous_ops_per_sec", rates.commands),
        ("total_net_input_bytes", metrics.net_in_bytes.get()),
        ("total_net_output_bytes", metrics.net_out_bytes.get()),
        ("total_net_repl_input_bytes", 0),
        ("total_net_repl_output_bytes", 0),
    ]);
    out.add("instantaneous_input_kbps", kilobytes(rates.net_in_bytes));
    out.add("instantaneous_output_kbps", kilobytes(rates.net_out_bytes));
    out.add("instantaneous_input_repl_kbps", "0.00");
    out.add("instantaneous_output_repl_kbps", "0.00");
    out.all(&[
        ("rejected_connections", metrics.connections_rejected.get()),
        ("sync_full", 0),
        ("sync_partial_ok", 0),
        ("sync_partial_err", 0),
        ("expired_subkeys", metrics.expired_fields.get()),
        ("expired_keys", metrics.expired_keys.get()),
    ]);
    let stale = metrics.expired_stale_basis_points.get();
    out.add("expired_stale_perc", format_args!("{}.{:02}", stale / 100, stale % 100));
    out.all(&[
        ("expired_time_cap_reached_count", metrics.expired_time_cap_reached.get()),
        ("evicted_keys", 0),
        ("evicted_clients", metrics.evicted_clients.get()),
        ("evicted_scripts", picture.state.scripts.cache.lock().evicted()),
        ("total_eviction_exceeded_time", 0),
        ("current_eviction_exceeded_time", 0),
        ("keyspace_hits", metrics.keyspace_hits.get()),
        ("keyspace_misses", metrics.keyspace_misses.get()),
        ("pubsub_channels", subscribed(Kind::Channel)),
        ("pubsub_patterns", subscribed(Kind::Pattern)),
        ("pubsubshard_channels", subscribed(Kind::Shard)),
        ("latest_fork_usec", 0),
        ("total_forks", 0),
        ("migrate_cached_sockets", 0),
        ("slave_expires_tracked_keys", 0),
        ("active_defrag_hits", 0),
        ("active_defrag_misses", 0),
        ("active_defrag_key_hits", 0),
        ("active_defrag_key_misses", 0),
        ("tracking_total_keys", tracked_keys as u64),
        ("tracking_total_items", tracked_items as u64),
        ("tracking_total_prefixes", prefixes as u64),
        ("unexpected_error_replies", 0),
        ("total_error_replies", metrics.error_replies.get()),
        ("dump_payload_sanitizations", 0),
        ("total_reads_processed", metrics.socket_reads.get()),
        ("total_writes_processed", metrics.socket_writes.get()),
        ("io_threaded_reads_processed", 0),
        ("io_threaded_writes_processed", 0),
        ("client_query_buffer_limit_disconnections", metrics.query_limit_disconnections.get()),
        ("client_output_buffer_limit_disconnections", metrics.output_limit_disconnections.get()),
        ("acl_access_denied_auth", metrics.auth_denied.get()),
        ("acl_access_denied_cmd", metrics.commands_denied.get()),
        ("acl_access_denied_key", metrics.keys_denied.get()),
        ("acl_access_denied_channel", metrics.channels_denied.get()),
    ]);
}

/// Estimates how far active expiry is behind, for `expired_stale_perc`. May wait for the disk.
///
/// # Errors
/// Where the store cannot be read.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share from 0 to 1 of a small number"
)]
pub(crate) fn estimate_overdue(state: &ServerState) -> engine::Result<()> {
    let snapshot = state.engine()?.snapshot(ReadMode::Blocking);
    let (mut overdue, mut all) = (0.0, 0.0);
    for database in RootRef::parse(snapshot.root())?.databases().filter(|it| it.expires > 0) {
        let view = View::new(&snapshot, state.context(database.db, false))?;
        let keys = database.expires as f64;
        overdue += random::overdue_share(&view)? * keys;
        all += keys;
    }
    let share = if all > 0.0 { overdue / all } else { 0.0 };
    state.metrics.expired_stale_basis_points.set((share * 10_000.0).round() as u64);
    Ok(())
}

pub(super) fn commands(picture: &Picture<'_>, out: &mut Fields) {
    for command in table::all() {
        let Some(stats) = picture.state.metrics.command(command.id) else { continue };
        let (calls, rejected) = (stats.calls.get(), stats.rejected.get());
        if calls == 0 && rejected == 0 && stats.failed.get() == 0 {
            continue;
        }
        let us = stats.total_ns.get() / 1000;
        let us_per_call = if calls == 0 { 0.0 } else { us as f64 / calls as f64 };
        out.add(
            format_args!("cmdstat_{}", command.full_name),
            format_args!(
                "calls={calls},usec={us},usec_per_call={us_per_call:.2},rejected_calls={rejected},\
                 failed_calls={}",
                stats.failed.get()
            ),
        );
    }
}

pub(super) fn errors(picture: &Picture<'_>, out: &mut Fields) {
    for (code, count) in picture.state.metrics.errors() {
        // Scripts make up codes: none looks like another field.
        let code = code.replace(['#', ':', '\r', '\n'], "_");
        out.add(format_args!("errorstat_{code}"), format_args!("count={count}"));
    }
}

pub(super) fn latencies(picture: &Picture<'_>, out: &mut Fields) {
    let percents = &picture.settings.latency_tracking_info_percentiles;
    if !picture.settings.latency_tracking {
        return;
    }
    for command in table::all() {
        let stats = picture.state.metrics.command(command.id);
        let Some(latency) = stats.and_then(|stats| stats.latency()) else { continue };
        if latency.count() == 0 {
            continue;
        }
        let values = percents
            .iter()
            .zip(latency.percentiles(percents))
            .map(|(percent, ns)| format!("p{}={}.{:03}", percent, ns / 1000, ns % 1000));
        let values: Vec<String> = values.collect();
        out.add(format_args!("latency_percentiles_usec_{}", command.full_name), values.join(","));
    }
}
