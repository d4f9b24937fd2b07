use crate::commands::table::{self, Lookup};
use crate::commands::test_server::TestServer;

#[test]
fn sections_are_chosen_by_name() {
    let mut server = TestServer::new();
    let default = server.text("info");
    assert!(default.starts_with("# Server\r\nredis_version:7.4.0\r\n"));
    assert!(default.contains("\r\n\r\n# Keyspace\r\n") && !default.contains("# Commandstats"));
    let all = server.text("info everything");
    assert!(all.contains("# Commandstats") && all.contains("# Latencystats"));
    let two = server.text("info CPU clients");
    assert!(
        two.starts_with("# Clients\r\n") && two.contains("# CPU\r\n") && !two.contains("# Server")
    );
    assert_eq!(server.text("info nosuch"), "");
}

/// What exporters, dashboards, libraries and Sentinel look for.
const FIELDS_OF_TOOLS: &str = "redis_version redis_mode run_id tcp_port process_id os arch_bits \
    uptime_in_seconds uptime_in_days hz executable config_file connected_clients blocked_clients \
    maxclients tracking_clients client_recent_max_input_buffer client_recent_max_output_buffer \
    used_memory used_memory_human used_memory_rss used_memory_peak used_memory_lua \
    used_memory_dataset used_memory_overhead used_memory_startup used_memory_scripts \
    total_system_memory maxmemory maxmemory_policy mem_fragmentation_ratio mem_allocator \
    mem_clients_normal mem_clients_slaves allocator_allocated allocator_active \
    allocator_resident active_defrag_running lazyfree_pending_objects loading async_loading \
    rdb_changes_since_last_save rdb_bgsave_in_progress rdb_last_save_time rdb_last_bgsave_status \
    rdb_last_bgsave_time_sec rdb_current_bgsave_time_sec rdb_last_cow_size aof_enabled \
    aof_rewrite_in_progress aof_rewrite_scheduled aof_last_rewrite_time_sec \
    aof_current_rewrite_time_sec aof_last_bgrewrite_status aof_last_write_status \
    aof_last_cow_size aof_current_size aof_base_size aof_pending_rewrite aof_buffer_length \
    aof_pending_bio_fsync aof_delayed_fsync total_connections_received total_commands_processed \
    instantaneous_ops_per_sec total_net_input_bytes total_net_output_bytes \
    instantaneous_input_kbps instantaneous_output_kbps rejected_connections sync_full \
    sync_partial_ok sync_partial_err expired_keys expired_stale_perc \
    expired_time_cap_reached_count evicted_keys keyspace_hits keyspace_misses pubsub_channels \
    pubsub_patterns latest_fork_usec migrate_cached_sockets slave_expires_tracked_keys \
    total_error_replies role connected_slaves master_failover_state master_replid \
    master_replid2 master_repl_offset second_repl_offset repl_backlog_active repl_backlog_size \
    repl_backlog_first_byte_offset repl_backlog_histlen used_cpu_sys used_cpu_user \
    used_cpu_sys_children used_cpu_user_children used_cpu_sys_main_thread used_cpu_user_main_thread \
    active_defrag_hits active_defrag_misses active_defrag_key_hits active_defrag_key_misses \
    total_reads_processed total_writes_processed io_threaded_reads_processed \
    io_threaded_writes_processed cluster_enabled";

#[test]
fn what_tools_look_for_is_there() {
    let mut server = TestServer::new();
    let text = server.text("info");
    for name in FIELDS_OF_TOOLS.split_whitespace() {
        let start = format!("\r\n{name}:");
        let value = text.split_once(&start).and_then(|(_, rest)| rest.split("\r\n").next());
        let value = value.unwrap_or_else(|| panic!("no {name}"));
        assert!(!value.is_empty() || name == "config_file", "{name} is empty");
    }
    assert_eq!(server.state.run_id.len(), 40);
}

#[test]
fn maxmemory_is_the_budget_in_effect() {
    let mut server = TestServer::new();
    assert!(!server.text("info memory").contains("\r\nmaxmemory:0\r\n"));
    let settings = crate::config::Settings { maxmemory: 100 << 20, ..Default::default() };
    let mut server = TestServer::with(settings);
    assert!(server.text("info memory").contains("\r\nmaxmemory:104857600\r\n"));
}

#[test]
fn every_line_is_a_title_a_blank_or_a_field() {
    let mut server = TestServer::new();
    for line in server.text("info all").split("\r\n") {
        assert!(line.is_empty() || line.starts_with("# ") || line.contains(':'), "{line}");
    }
}

#[test]
fn commands_and_errors_are_counted() {
    let mut server = TestServer::new();
    let Lookup::Found(ping) = table::lookup(b"ping", None) else { panic!("no ping") };
    let stats = server.state.metrics.command(ping.id).expect("is in the table");
    stats.ran(3000, false);
    stats.rejected.add(2);
    server.state.metrics.error("WRONGTYPE x");
    server.state.metrics.error("Q\r\nmaxmemory:1 m");
    let text = server.text("info all");
    let line = "cmdstat_ping:calls=1,usec=3,usec_per_call=3.00,rejected_calls=2,failed_calls=0\r\n";
    assert!(text.contains(line), "{text}");
    assert!(text.contains("errorstat_WRONGTYPE:count=1\r\n"));
    assert!(text.contains("errorstat_Q__maxmemory_1:count=1\r\n"));
    assert!(text.contains("latency_percentiles_usec_ping:p50=3.072,p99=3.072,p99.9=3.072\r\n"));
}
