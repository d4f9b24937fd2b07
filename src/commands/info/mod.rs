//! `INFO`: the server in numbers, section by section.

mod engine;
mod numbers;
mod sections;
mod statistics;

use std::fmt::Write as _;
use std::sync::Arc;

pub(crate) use numbers::{Durations, Measured, NumberKind, Numbers, Value};
pub(crate) use statistics::estimate_overdue;

use super::memory::Breakdown;
use super::{
    Arg, Args, Arity, CommandResult, CommandSpec, Flags, Group, Run, ServerState, Session, acl,
};
use crate::config::Settings;
use crate::data::{Database, RootRef};
use crate::engine::{Read, ReadMode, Snapshot, Stats};
use crate::protocol::Reply;

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] =
    &[CommandSpec::new("info", Arity::AtLeast(1), Run::Session(info))
        .group(Group::Server)
        .summary("Tells about the server, section by section.")
        .history(&[("7.0.0", "Several sections in one call.")])
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .differs(
            "Sections of our own: siltdb, lsm. Fields that have no meaning here are left \
             out. maxmemory is the budget in effect, whether it was set or not.",
        )
        .flags(Flags::LOADING.or(Flags::STALE).or(Flags::SENTINEL))
        .acl(&[acl::Category::Dangerous])
        .args(&[Arg::string("section").optional().multiple()])];

/// A section of the report.
struct Section {
    name: &'static str,
    title: &'static str,
    /// Part of `INFO` without arguments.
    default: bool,
    write: fn(&Picture<'_>, &mut Fields),
}

const fn section(
    name: &'static str,
    title: &'static str,
    default: bool,
    write: fn(&Picture<'_>, &mut Fields),
) -> Section {
    Section { name, title, default, write }
}

/// All sections in the order of the report.
const SECTIONS: &[Section] = &[
    section("server", "Server", true, sections::server),
    section("siltdb", "SiltDB", true, engine::siltdb),
    section("clients", "Clients", true, sections::clients),
    section("memory", "Memory", true, sections::memory),
    section("persistence", "Persistence", true, sections::persistence),
    section("stats", "Stats", true, statistics::stats),
    section("replication", "Replication", true, sections::replication),
    section("cpu", "CPU", true, sections::cpu),
    section("modules", "Modules", true, |_, _| {}),
    section("commandstats", "Commandstats", false, statistics::commands),
    section("errorstats", "Errorstats", true, statistics::errors),
    section("latencystats", "Latencystats", false, statistics::latencies),
    section("cluster", "Cluster", true, sections::cluster),
    section("lsm", "LSM", true, engine::lsm),
    section("keyspace", "Keyspace", true, sections::keyspace),
];

/// What the sections draw from, looked up once.
struct Picture<'a> {
    state: &'a ServerState,
    settings: Arc<Settings>,
    engine: Option<Stats>,
    databases: Vec<Database>,
    snapshot: Option<Snapshot>,
    memory: Breakdown,
    now_ms: u64,
}

impl<'a> Picture<'a> {
    fn take(state: &'a ServerState) -> Self {
        // While the store is closed and opened again there is less to tell, not an error.
        let store = state.engine().ok();
        let snapshot = store.as_ref().map(|engine| engine.snapshot(ReadMode::Resident));
        let databases = snapshot
            .as_ref()
            .and_then(|snapshot| Some(RootRef::parse(snapshot.root()).ok()?.databases().collect()));
        let engine = store.map(|engine| engine.stats());
        Self {
            state,
            settings: state.config.load_full(),
            memory: Breakdown::of(state, engine.as_ref()),
            engine,
            databases: databases.unwrap_or_default(),
            snapshot,
            now_ms: state.clock.unix_ms(),
        }
    }
}

/// Lines `name:value` of a section.
#[derive(Default)]
struct Fields(String);

impl Fields {
    fn add(&mut self, name: impl std::fmt::Display, value: impl std::fmt::Display) {
        // Writing to a string does not fail.
        let _ = write!(self.0, "{name}:{value}\r\n");
    }

    fn all(&mut self, fields: &[(&str, u64)]) {
        for (name, value) in fields {
            self.add(name, value);
        }
    }

    /// A size in bytes, and once more for people.
    fn bytes(&mut self, name: &str, bytes: u64) {
        self.add(name, bytes);
        self.add(format_args!("{name}_human"), human(bytes));
    }
}

/// `1.50M`, as Redis writes sizes for people.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2}{}", UNITS[unit])
}

fn info(_: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let wanted: Vec<Vec<u8>> = args.rest().iter().map(|name| name.to_ascii_lowercase()).collect();
    let is_wanted = |section: &Section| {
        wanted.iter().any(|name| match name.as_slice() {
            b"all" | b"everything" => true,
            b"default" => section.default,
            name => name == section.name.as_bytes(),
        }) || (wanted.is_empty() && section.default)
    };
    let sections: Vec<&Section> = SECTIONS.iter().filter(|section| is_wanted(section)).collect();
    if sections.is_empty() {
        return Ok(Reply::Verbatim("txt", bytes::Bytes::new()));
    }
    let picture = Picture::take(state);
    let mut fields = Fields::default();
    for (index, section) in sections.into_iter().enumerate() {
        if index > 0 {
            fields.0.push_str("\r\n");
        }
        let _ = write!(fields.0, "# {}\r\n", section.title);
        (section.write)(&picture, &mut fields);
    }
    Ok(Reply::Verbatim("txt", fields.0.into()))
}

#[cfg(test)]
mod tests;
