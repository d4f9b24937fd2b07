//! Sections about the server itself.

use std::sync::atomic::Ordering;

use super::{Fields, Picture};
use crate::commands::connection::REDIS_VERSION;
use crate::commands::memory::{self, ratio};
use crate::commands::random;
use crate::commands::script::Memory;
use crate::data::{Database, View};
use crate::env::process::{self, ProcessMemory};
use crate::env::system_memory_bytes;

pub(super) fn server(picture: &Picture<'_>, out: &mut Fields) {
    let Picture { state, settings, now_ms, .. } = picture;
    let uptime_s = now_ms.saturating_sub(state.started_ms) / 1000;
    out.add("redis_version", REDIS_VERSION);
    out.add("siltdb_version", env!("CARGO_PKG_VERSION"));
    out.add("redis_git_sha1", "00000000");
    out.add("redis_git_dirty", 0);
    out.add("redis_build_id", env!("CARGO_PKG_VERSION"));
    out.add("redis_mode", "standalone");
    out.add("os", process::operating_system());
    out.add("arch_bits", usize::BITS);
    out.add("monotonic_clock", "POSIX clock_gettime");
    out.add("multiplexing_api", "epoll");
    out.add("process_id", std::process::id());
    out.add("process_supervised", state.supervised);
    out.add("run_id", &state.run_id);
    out.add("tcp_port", if settings.port != 0 { settings.port } else { settings.tls.port });
    out.add("server_time_usec", state.clock.unix_us());
    out.add("uptime_in_seconds", uptime_s);
    out.add("uptime_in_days", uptime_s / 86_400);
    out.add("hz", settings.hz);
    out.add("configured_hz", settings.hz);
    out.add("lru_clock", (now_ms / 1000) & 0x00ff_ffff);
    out.add("executable", process::executable());
    out.add(
        "config_file",
        state.config.file().map(|f| f.display().to_string()).unwrap_or_default(),
    );
    out.add("io_threads_active", u8::from(settings.io_threads != 1));
}

pub(super) fn clients(picture: &Picture<'_>, out: &mut Fields) {
    let Picture { state, settings, .. } = picture;
    let all = state.clients.all();
    let most = |bytes: &dyn Fn(&crate::commands::Client) -> usize| {
        all.iter().map(|client| bytes(client)).max().unwrap_or(0)
    };
    let blocked = all.iter().filter(|client| client.is_waiting()).count();
    out.add("connected_clients", state.clients.len());
    out.add("cluster_connections", 0);
    out.add("maxclients", settings.maxclients);
    out.add(
        "client_recent_max_input_buffer",
        most(&|client| client.query_capacity.load(Ordering::Relaxed)),
    );
    out.add("client_recent_max_output_buffer", most(&|client| client.waiting_bytes()));
    out.add("blocked_clients", blocked);
    let [tracking, ..] = state.tracking.totals();
    out.add("tracking_clients", tracking);
    out.add("pubsub_clients", state.pubsub.subscribers());
    let watched: Vec<usize> =
        all.iter().map(|client| client.watched_keys.load(Ordering::Relaxed)).collect();
    out.add("watching_clients", watched.iter().filter(|keys| **keys > 0).count());
    out.add("clients_in_timeout_table", 0);
    // Those of two clients count twice.
    out.add("total_watched_keys", watched.iter().sum::<usize>());
    out.add("total_blocking_keys", state.awaited_keys.load(Ordering::Relaxed));
    out.add("total_blocking_keys_on_nokey", state.needed_keys.load(Ordering::Relaxed));
    out.add("paused_reason", if state.pause.is_set() { "client_pause" } else { "none" });
}

pub(super) fn memory(picture: &Picture<'_>, out: &mut Fields) {
    let Picture { settings, memory: used, .. } = picture;
    let ProcessMemory { allocated, active, resident, rss } = used.process;
    out.bytes("used_memory", allocated);
    out.bytes("used_memory_rss", rss);
    out.bytes("used_memory_peak", used.peak);
    out.add("used_memory_peak_perc", percent(allocated, used.peak));
    out.add("used_memory_overhead", used.overhead());
    out.add("used_memory_startup", used.startup);
    out.add("used_memory_dataset", used.dataset());
    out.add(
        "used_memory_dataset_perc",
        percent(used.dataset(), allocated.saturating_sub(used.startup)),
    );
    out.add("used_memory_memtables", used.memtables);
    out.add("used_memory_block_cache", used.cache);
    out.add("used_memory_access_slots", used.access);
    out.add("used_memory_set_candidates", used.candidates);
    out.add("used_memory_pinned_memtables", used.pinned);
    out.add("used_memory_replies", used.replies);
    out.add("used_memory_working_sets", used.working);
    out.add("used_memory_transactions", used.changes);
    out.add("allocator_allocated", allocated);
    out.add("allocator_active", active);
    out.add("allocator_resident", resident);
    out.bytes("total_system_memory", system_memory_bytes());
    let (libraries, functions) = picture.state.scripts.known.load().counts();
    picture.state.scripts.machines.tidy();
    let Memory { writer, readers, texts, functions: function_machines } =
        picture.state.scripts.memory();
    let machines = writer + readers;
    out.add("used_memory_vm_eval", machines);
    out.bytes("used_memory_lua", writer);
    out.add("used_memory_scripts_eval", texts);
    out.add("number_of_cached_scripts", picture.state.scripts.cache.lock().len());
    out.add("number_of_functions", functions);
    out.add("number_of_libraries", libraries);
    out.add("used_memory_vm_functions", function_machines);
    out.bytes("used_memory_vm_total", machines + function_machines);
    out.add("used_memory_functions", 0);
    out.bytes("used_memory_scripts", machines + texts);
    out.bytes("maxmemory", memory::budget(settings));
    out.bytes("maxmemory_clients", memory::clients_max(settings));
    out.add("maxmemory_policy", setting(picture, "maxmemory-policy"));
    out.add("allocator_frag_ratio", two(ratio(active, allocated)));
    out.add("allocator_frag_bytes", active.saturating_sub(allocated));
    out.add("allocator_rss_ratio", two(ratio(resident, active)));
    out.add("allocator_rss_bytes", resident.saturating_sub(active));
    out.add("rss_overhead_ratio", two(ratio(rss, resident)));
    out.add("rss_overhead_bytes", rss.saturating_sub(resident));
    out.add("mem_fragmentation_ratio", two(ratio(rss, allocated)));
    out.add("mem_fragmentation_bytes", rss.saturating_sub(allocated));
    out.add("mem_not_counted_for_evict", 0);
    out.add("mem_replication_backlog", 0);
    out.add("mem_total_replication_buffers", 0);
    out.add("mem_clients_slaves", 0);
    out.add("mem_clients_normal", used.clients);
    out.add("mem_cluster_links", 0);
    out.add("mem_aof_buffer", 0);
    out.add("mem_allocator", "jemalloc");
    out.add("active_defrag_running", 0);
    out.add("lazyfree_pending_objects", 0);
    out.add("lazyfreed_objects", 0);
}

/// The value of a setting as `CONFIG GET` prints it.
fn setting(picture: &Picture<'_>, name: &'static str) -> String {
    let found = picture.state.config.get_matching(&[name.as_bytes()]);
    found.into_iter().next().map(|(_, value)| value).unwrap_or_default()
}

fn two(value: f64) -> String {
    format!("{value:.2}")
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.2}%", ratio(part, whole) * 100.0)
}

pub(super) fn persistence(picture: &Picture<'_>, out: &mut Fields) {
    let state = picture.state;
    let engine = picture.engine.as_ref();
    let broken = engine.is_some_and(|stats| stats.poisoned.is_some() || stats.no_space.is_some());
    let background_failed = engine
        .is_some_and(|stats| stats.background_error.is_some() || !stats.damaged_tables.is_empty());
    let status = |failed| if failed { "err" } else { "ok" };
    out.add("loading", u8::from(engine.is_none()));
    out.add("async_loading", 0);
    out.add("current_cow_peak", 0);
    out.add("current_cow_size", 0);
    out.add("current_cow_size_age", 0);
    out.add("current_fork_perc", "0.00");
    out.add("current_save_keys_processed", 0);
    out.add("current_save_keys_total", 0);
    out.add("rdb_changes_since_last_save", state.changes.load(Ordering::Relaxed));
    out.add("rdb_bgsave_in_progress", u8::from(state.saving.load(Ordering::Relaxed)));
    out.add("rdb_last_save_time", state.last_save_s.load(Ordering::Relaxed));
    out.add("rdb_last_bgsave_status", status(background_failed));
    out.add("rdb_last_bgsave_time_sec", -1);
    out.add("rdb_current_bgsave_time_sec", -1);
    out.add("rdb_saves", engine.map_or(0, |stats| stats.flushes));
    out.add("rdb_last_cow_size", 0);
    out.add("rdb_last_load_keys_expired", 0);
    out.add("rdb_last_load_keys_loaded", 0);
    out.add("aof_enabled", 1);
    out.add("aof_rewrite_in_progress", 0);
    out.add("aof_rewrite_scheduled", 0);
    out.add("aof_last_rewrite_time_sec", -1);
    out.add("aof_current_rewrite_time_sec", -1);
    out.add("aof_last_bgrewrite_status", status(background_failed));
    out.add("aof_rewrites", 0);
    out.add("aof_rewrites_consecutive_failures", 0);
    out.add("aof_last_write_status", status(broken));
    out.add("aof_last_cow_size", 0);
    out.add("module_fork_in_progress", 0);
    out.add("module_fork_last_cow_size", 0);
    // As base and increments of an append-only file: what was written to tables, and with the log.
    let base_bytes: u64 =
        engine.map_or(0, |stats| stats.levels.iter().map(|level| level.bytes).sum());
    let log_bytes = engine.map_or(0, |stats| stats.wal_disk_bytes);
    out.add("aof_current_size", base_bytes + log_bytes);
    out.add("aof_base_size", base_bytes);
    out.add("aof_pending_rewrite", 0);
    out.add("aof_buffer_length", 0);
    out.add("aof_pending_bio_fsync", 0);
    out.add("aof_delayed_fsync", 0);
}

pub(super) fn replication(picture: &Picture<'_>, out: &mut Fields) {
    out.add("role", "master");
    out.add("connected_slaves", 0);
    out.add("master_failover_state", "no-failover");
    out.add("master_replid", &picture.state.run_id);
    out.add("master_replid2", "0".repeat(40));
    out.add("master_repl_offset", 0);
    out.add("second_repl_offset", -1);
    out.add("repl_backlog_active", 0);
    out.add("repl_backlog_size", 0);
    out.add("repl_backlog_first_byte_offset", 0);
    out.add("repl_backlog_histlen", 0);
}

pub(super) fn cpu(_: &Picture<'_>, out: &mut Fields) {
    let time = process::cpu_time();
    let seconds = |us: u64| format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    out.add("used_cpu_sys", seconds(time.system_us));
    out.add("used_cpu_user", seconds(time.user_us));
    out.add("used_cpu_sys_children", seconds(0));
    out.add("used_cpu_user_children", seconds(0));
    let time = process::main_thread_cpu_time();
    out.add("used_cpu_sys_main_thread", seconds(time.system_us));
    out.add("used_cpu_user_main_thread", seconds(time.user_us));
}

pub(super) fn cluster(_: &Picture<'_>, out: &mut Fields) {
    out.add("cluster_enabled", 0);
}

pub(super) fn keyspace(picture: &Picture<'_>, out: &mut Fields) {
    for database in picture.databases.iter().filter(|database| database.keys > 0) {
        out.add(
            format_args!("db{}", database.db),
            format_args!(
                "keys={},expires={},avg_ttl={}",
                database.keys,
                database.expires,
                average_ttl_ms(picture, database)
            ),
        );
    }
}

/// An estimate; 0 also where telling it would wait on the disk.
fn average_ttl_ms(picture: &Picture<'_>, database: &Database) -> u64 {
    let Some(snapshot) = picture.snapshot.as_ref().filter(|_| database.expires > 0) else {
        return 0;
    };
    let context = picture.state.context(database.db, false);
    // Each database may be walked as far as one view may.
    View::new(&snapshot.clone(), context)
        .and_then(|view| random::average_ttl_ms(&view))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::human;
    use super::*;

    #[test]
    fn sizes_for_people() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1536, "1.50K"),
            (5 << 30, "5.00G"),
            (u64::MAX, "16384.00P"),
        ] {
            assert_eq!(human(bytes), text);
        }
        assert_eq!((percent(1, 4), percent(1, 0)), ("25.00%".to_owned(), "0.00%".to_owned()));
    }
}
