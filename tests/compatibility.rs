//! Holds `docs/compatibility.md` against the command table.
//!
//! `SILTDB_BLESS=1 cargo test --test compatibility` writes the document anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use siltdb::commands::table;

const INTRODUCTION: &str = "\
# Compatibility with Redis 7.4

SiltDB answers as Redis 7.4.0 does (`redis_version` of INFO and HELLO); `siltdb_version` of INFO tells our own version.
This table lists every command of Redis 7.4 outside of Sentinel mode. It is written from the command table by
`SILTDB_BLESS=1 cargo test --test compatibility`, and the test fails where the two do not agree.

A command that is not supported answers as an unknown command or subcommand does, so clients that probe for it go on without it.
Everywhere:

- Data lives on disk: values are not held in memory, so what Redis says about memory of a key is here its size on disk.
- Writes are durable when they are acknowledged (`appendfsync always` is the default).
- A key, and the name of an element of a large collection, has at most 1 MiB, where Redis allows 512 MB; a longer one is refused.
- There are no modules, no replication and no cluster in this version.

";

/// Group, version and name of every command of Redis 7.4.
fn redis_commands() -> BTreeMap<String, BTreeMap<String, String>> {
    let list = include_str!("testdata/redis-7.4-commands.txt");
    let mut groups: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.splitn(3, ' ');
        let (Some(group), Some(since), Some(name)) = (words.next(), words.next(), words.next())
        else {
            panic!("not a line of group, version and name: {line}");
        };
        groups.entry(group.to_owned()).or_default().insert(name.to_owned(), since.to_owned());
    }
    groups
}

fn document() -> String {
    let ours: BTreeMap<String, &table::Command> =
        table::all().iter().map(|c| (c.full_name.replace('|', " "), c)).collect();
    let groups = redis_commands();
    let all: BTreeSet<&String> = groups.values().flat_map(BTreeMap::keys).collect();
    let supported = all.iter().filter(|name| ours.contains_key(**name)).count();
    let mut text = INTRODUCTION.to_owned();
    let _ = writeln!(text, "{supported} of {} commands and subcommands are supported.", all.len());
    for (group, commands) in &groups {
        let title = group.replace('_', " ");
        let _ = write!(text, "\n## {title}\n\n");
        text.push_str("| Command | Redis | SiltDB | Differences |\n|---|---|---|---|\n");
        for (name, since) in commands {
            let (here, differs) = match ours.get(name) {
                Some(command) => (command.spec.since_here, command.spec.differs),
                None => ("no", ""),
            };
            let name = name.to_ascii_uppercase();
            let _ = writeln!(text, "| {name} | {since} | {here} | {differs} |");
        }
    }
    text
}

#[test]
fn the_document_equals_the_table() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/compatibility.md");
    let expected = document();
    if std::env::var_os("SILTDB_BLESS").is_some() {
        #[expect(clippy::disallowed_methods, reason = "a document of the repository, no data")]
        std::fs::write(&path, &expected).expect("the document can be written");
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/compatibility.md is not what the command table says; \
         SILTDB_BLESS=1 cargo test --test compatibility writes it anew"
    );
}

#[test]
fn we_have_no_command_that_redis_has_not() {
    let groups = redis_commands();
    for command in table::all() {
        let name = command.full_name.replace('|', " ");
        let group = command.spec.group.name().replace('-', "_");
        let known = groups.get(&group).and_then(|commands| commands.get(&name));
        assert_eq!(known.map(String::as_str), Some(command.spec.since), "{name} in {group}");
    }
}
