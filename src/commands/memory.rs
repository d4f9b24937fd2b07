//! `MEMORY`.

use super::{
    Arg, Args, Arity, CommandResult, CommandSpec, Group, KeySpec, Run, ServerState, Session,
    SessionHandler, help,
};
use crate::config::{MemoryShare, Settings};
use crate::data::{Meta, RootRef, View};
use crate::engine::{self, Read, ReadMode, Stats};
use crate::env::process::{self, ProcessMemory};
use crate::env::{self, Purpose};
use crate::protocol::Reply;

const TIPS: &[&str] =
    &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];
/// Bytes that a record takes besides key and value: prefixes, type, flags, expiry, sequence number.
const RECORD_OVERHEAD_BYTES: u64 = 32;
/// Elements that the size of a large collection is told from, if the call does not say how many.
pub(super) const SAMPLES: u64 = 5;
/// Below this much memory ratios say nothing.
const DOCTOR_BYTES_MIN: u64 = 16 << 20;

/// The automatic memory budget is this part of what there is.
const AUTOMATIC_SHARE: u64 = 4;
/// Clients may hold this part of the budget together, where nothing else is set.
const CLIENTS_SHARE: u64 = 8;
/// What that is at least.
const CLIENTS_MIN: u64 = 16 << 20;
/// No budget is smaller.
const BUDGET_MIN: u64 = 32 << 20;

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[CommandSpec::container("memory", SUBCOMMANDS)
    .group(Group::Server)
    .since("4.0.0")
    .summary("Commands about memory.")];

const fn sub(name: &'static str, run: SessionHandler) -> CommandSpec {
    CommandSpec::session(name, Arity::Exactly(2), run).group(Group::Server).since("4.0.0")
}

const SUBCOMMANDS: &[CommandSpec] = &[
    sub("doctor", doctor).summary("Reports in words what may be wrong.").tips(TIPS),
    help::subcommand(Group::Server, "4.0.0"),
    sub("malloc-stats", malloc_stats)
        .complexity("Depends on how much is allocated.")
        .summary("Answers the numbers of the allocator.")
        .tips(TIPS)
        .differs("The sums of jemalloc only, in bytes."),
    sub("purge", purge)
        .complexity("Depends on how much is free.")
        .summary("Has the allocator give unused memory back.")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    sub("stats", stats).summary("Answers where the memory is.").tips(TIPS),
    CommandSpec::new("usage", Arity::AtLeast(3), Run::Read(usage))
        .group(Group::Server)
        .since("4.0.0")
        .complexity("O(1)")
        .summary("Answers how many bytes a key takes.")
        .differs("Bytes on disk before compression, not in memory.")
        .keys(&[KeySpec::one(2).ro()])
        .args(&[Arg::key("key"), Arg::integer("count").with_token("SAMPLES").optional()]),
];

fn usage(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let mut samples = SAMPLES;
    while !args.is_empty() {
        if !args.eat("SAMPLES") {
            return Err(super::Error::Syntax);
        }
        samples = u64::try_from(args.next_int()?).map_err(|_| super::Error::Syntax)?;
    }
    let Some(meta) = view.inspect(key)? else { return Ok(Reply::Null) };
    let value = value_bytes(view, key, &meta, samples)?;
    let bytes = key.len() as u64 + value + RECORD_OVERHEAD_BYTES;
    Ok(Reply::Integer(i64::try_from(bytes).unwrap_or(i64::MAX)))
}

/// Bytes of the value at a key, told from so many of its elements, or from all where that is 0.
pub(super) fn value_bytes(
    view: &View<'_>,
    key: &[u8],
    meta: &Meta,
    samples: u64,
) -> engine::Result<u64> {
    if let Some(stream) = meta.stream() {
        return view.entries(stream).size_bytes(samples);
    }
    match (view.elements(key, meta), view.list(meta)) {
        (Some(elements), _) => elements.size_bytes(samples),
        (None, Some(list)) => list.size_bytes(samples),
        (None, None) => Ok(meta.string_len()),
    }
}

fn purge(_: &mut Session, _: &ServerState, _: &mut Args<'_>) -> CommandResult {
    if process::give_memory_back() {
        Ok(Reply::OK)
    } else {
        Err(super::Error::Text("ERR Error purging dirty pages".to_owned()))
    }
}

fn malloc_stats(_: &mut Session, _: &ServerState, _: &mut Args<'_>) -> CommandResult {
    let ProcessMemory { allocated, active, resident, rss } = process::memory();
    let report = format!(
        "jemalloc\nallocated: {allocated}\nactive: {active}\nresident: {resident}\nprocess: {rss}\n"
    );
    Ok(Reply::Verbatim("txt", report.into()))
}

/// The memory budget in bytes: `maxmemory`, or, where it is 0, a share of what the control group or
/// the host has.
pub(crate) fn budget(settings: &Settings) -> u64 {
    match settings.maxmemory {
        0 => (env::memory_limit_bytes() / AUTOMATIC_SHARE).max(BUDGET_MIN),
        bytes => bytes.max(BUDGET_MIN),
    }
}

/// Bytes that clients may hold together: `maxmemory-clients`, or, where it is 0, a share of the
/// budget.
pub(super) fn clients_max(settings: &Settings) -> u64 {
    let budget = budget(settings);
    match settings.maxmemory_clients {
        MemoryShare::Bytes(0) | MemoryShare::Percent(0) => {
            (budget / CLIENTS_SHARE).max(CLIENTS_MIN)
        }
        MemoryShare::Bytes(bytes) => bytes,
        MemoryShare::Percent(percent) => budget / 100 * u64::from(percent),
    }
}

/// Where the memory of the process is, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Breakdown {
    /// What the operating system and the allocator say.
    pub(super) process: ProcessMemory,
    /// The largest value of allocated memory that was seen.
    pub(super) peak: u64,
    /// Allocated before the data directory was opened.
    pub(super) startup: u64,
    /// Buffers and state of the connections.
    pub(super) clients: u64,
    /// Machines and texts of scripts and functions.
    pub(super) scripts: u64,
    /// Replies that are made or sent, by commands that run.
    pub(super) replies: u64,
    /// What commands that run gather, sort and combine.
    pub(super) working: u64,
    /// Changes of transactions that are not committed.
    pub(super) changes: u64,
    /// Flushed memtables that reads still hold.
    pub(super) pinned: u64,
    /// Memtables, sealed ones included.
    pub(super) memtables: u64,
    /// Block cache.
    pub(super) cache: u64,
    /// Rows kept for lookups.
    pub(super) rows: u64,
    /// Slots of access times.
    pub(super) access: u64,
    /// Members of sets that are popped next.
    pub(super) candidates: u64,
}

impl Breakdown {
    /// Looks now.
    pub(super) fn of(state: &ServerState, engine: Option<&Stats>) -> Self {
        let process = process::memory();
        state.metrics.memory_peak_bytes.raise(process.allocated);
        let held_for = |purpose| state.memory.held_for(purpose) as u64;
        Self {
            process,
            peak: state.metrics.memory_peak_bytes.get(),
            startup: state.metrics.memory_startup_bytes.get().min(process.allocated),
            scripts: state.scripts.memory().total(),
            clients: state.clients.all().iter().map(|client| client.held_bytes() as u64).sum(),
            replies: held_for(Purpose::Reply),
            working: held_for(Purpose::Working),
            changes: held_for(Purpose::Changes),
            pinned: engine.map_or(0, |stats| stats.retired_bytes),
            memtables: engine.map_or(0, |stats| stats.memtable_bytes + stats.sealed_bytes),
            cache: engine.map_or(0, |stats| stats.cache_bytes),
            rows: engine.map_or(0, |stats| stats.row_cache_bytes),
            access: state.access.size_bytes() as u64,
            candidates: state.candidates.size_bytes() as u64,
        }
    }

    /// Memory that does not grow with the data: what was there before it, clients, scripts, what
    /// commands hold, and what is counted about keys.
    pub(super) fn overhead(&self) -> u64 {
        let commands = self.replies + self.working + self.changes;
        let about_keys = self.access + self.candidates;
        (self.startup + self.clients + self.scripts + commands + about_keys)
            .min(self.process.allocated)
    }

    /// All other memory: data of the user, and what the engine needs to find it.
    pub(super) fn dataset(&self) -> u64 {
        self.process.allocated - self.overhead()
    }
}

/// `part` of `whole`; 0 where there is no whole.
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn stats(_: &mut Session, state: &ServerState, _: &mut Args<'_>) -> CommandResult {
    let engine = state.engine()?;
    let memory = Breakdown::of(state, Some(&engine.stats()));
    let snapshot = engine.snapshot(ReadMode::Resident);
    let databases: Vec<_> = RootRef::parse(snapshot.root())?.databases().collect();
    let keys: u64 = databases.iter().map(|database| database.keys).sum();
    let ProcessMemory { allocated, active, resident, rss } = memory.process;
    let number = |n: u64| Reply::Integer(i64::try_from(n).unwrap_or(i64::MAX));
    let difference = |a: u64, b: u64| number(a.saturating_sub(b));
    let percent = |part, whole| Reply::Double(ratio(part, whole) * 100.0);
    let fields = [
        ("peak.allocated", number(memory.peak)),
        ("total.allocated", number(allocated)),
        ("startup.allocated", number(memory.startup)),
        ("replication.backlog", number(0)),
        ("clients.slaves", number(0)),
        ("clients.normal", number(memory.clients)),
        ("commands.replies", number(memory.replies)),
        ("commands.working", number(memory.working)),
        ("commands.changes", number(memory.changes)),
        ("memtables.pinned", number(memory.pinned)),
        ("cluster.links", number(0)),
        ("aof.buffer", number(0)),
        ("lua.caches", number(state.scripts.memory().texts)),
        ("functions.caches", number(0)),
        ("memtables", number(memory.memtables)),
        ("block.cache", number(memory.cache)),
        ("row.cache", number(memory.rows)),
        ("access.slots", number(memory.access)),
        ("set.candidates", number(memory.candidates)),
        ("overhead.total", number(memory.overhead())),
        ("keys.count", number(keys)),
        ("keys.bytes-per-key", number(memory.dataset() / keys.max(1))),
        ("dataset.bytes", number(memory.dataset())),
        ("dataset.percentage", percent(memory.dataset(), allocated.saturating_sub(memory.startup))),
        ("peak.percentage", percent(allocated, memory.peak)),
        ("allocator.allocated", number(allocated)),
        ("allocator.active", number(active)),
        ("allocator.resident", number(resident)),
        ("allocator-fragmentation.ratio", Reply::Double(ratio(active, allocated))),
        ("allocator-fragmentation.bytes", difference(active, allocated)),
        ("allocator-rss.ratio", Reply::Double(ratio(resident, active))),
        ("allocator-rss.bytes", difference(resident, active)),
        ("rss-overhead.ratio", Reply::Double(ratio(rss, resident))),
        ("rss-overhead.bytes", difference(rss, resident)),
        ("fragmentation", Reply::Double(ratio(rss, allocated))),
        ("fragmentation.bytes", difference(rss, allocated)),
    ];
    Ok(Reply::Map(fields.into_iter().map(|(name, value)| (Reply::bulk(name), value)).collect()))
}

fn doctor(_: &mut Session, state: &ServerState, _: &mut Args<'_>) -> CommandResult {
    let engine = state.engine().ok().map(|engine| engine.stats());
    let memory = Breakdown::of(state, engine.as_ref());
    let budget = budget(&state.config.load());
    Ok(Reply::Verbatim("txt", diagnosis(&memory, budget).into()))
}

fn diagnosis(memory: &Breakdown, budget: u64) -> String {
    let ProcessMemory { allocated, rss, .. } = memory.process;
    if allocated < DOCTOR_BYTES_MIN {
        return "Very little memory is in use: there is nothing to say about it yet.\n".to_owned();
    }
    let mut findings = Vec::new();
    if rss > budget + budget / 10 {
        findings.push("The process is more than 10% above maxmemory.");
    }
    if ratio(rss, allocated) > 1.4 && rss - allocated > 10 << 20 {
        findings.push(
            "Much more memory is resident than allocated. After a peak that is normal and goes \
             away; if it stays, the heap is fragmented.",
        );
    }
    if ratio(memory.clients, allocated) > 0.5 {
        findings.push("Clients hold more than half of the memory: look at CLIENT LIST for omem.");
    }
    if findings.is_empty() {
        findings.push("Nothing is wrong with the memory.");
    }
    findings.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_doctor_names_what_it_finds() {
        let mut memory = Breakdown::default();
        let budget = 200 << 20;
        assert!(diagnosis(&memory, budget).contains("little memory"));
        // A server without data.
        memory.process = ProcessMemory { allocated: 6 << 20, rss: 40 << 20, ..memory.process };
        assert!(diagnosis(&memory, budget).contains("little memory"));
        memory.process = ProcessMemory { allocated: 100 << 20, rss: 300 << 20, ..memory.process };
        memory.clients = 60 << 20;
        let text = diagnosis(&memory, budget);
        assert_eq!(text.lines().count(), 3, "{text}");
        memory.process.rss = 110 << 20;
        memory.clients = 0;
        assert!(diagnosis(&memory, budget).contains("Nothing is wrong"));
    }
}
