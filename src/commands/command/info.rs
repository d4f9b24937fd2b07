//! `COMMAND INFO`.

use super::flag_set;
use crate::commands::{BeginSearch, FindKeys, Flags, KeySpec, table};
use crate::protocol::Reply;

/// The ten facts of a command.
pub(super) fn reply(command: &table::Command) -> Reply {
    let shown = Flags::SHOWN.iter().filter(|(flag, _)| command.flags.has(*flag));
    let categories =
        command.categories.names().map(|name| Reply::Simple(format!("@{name}").into()));
    let (first, last, step) = command.legacy_range();
    let subcommands =
        command.subcommands.iter().filter_map(|id| table::by_id(*id)).map(reply).collect();
    Reply::Array(vec![
        Reply::bulk(command.full_name),
        Reply::Integer(command.spec.arity.signed()),
        flag_set(shown.map(|(_, name)| *name)),
        Reply::Integer(first),
        Reply::Integer(last),
        Reply::Integer(step),
        Reply::Set(categories.collect()),
        Reply::Set(command.spec.tips.iter().map(|tip| Reply::bulk(*tip)).collect()),
        Reply::Set(command.spec.keys.iter().map(key_spec).collect()),
        Reply::Array(subcommands),
    ])
}

fn key_spec(key: &KeySpec) -> Reply {
    let (begin_type, begin) = match key.begin {
        BeginSearch::Index(index) => ("index", vec![number("index", index.into())]),
        BeginSearch::Keyword { keyword, start, .. } => (
            "keyword",
            vec![(Reply::bulk("keyword"), Reply::bulk(keyword)), number("startfrom", start.into())],
        ),
        BeginSearch::Unknown => ("unknown", Vec::new()),
    };
    let (find_type, find) = match key.find {
        FindKeys::Range { last, step, limit } => (
            "range",
            vec![
                number("lastkey", last.into()),
                number("keystep", step.into()),
                number("limit", limit.into()),
            ],
        ),
        FindKeys::KeyNum { index, first, step } => (
            "keynum",
            vec![
                number("keynumidx", index.into()),
                number("firstkey", first.into()),
                number("keystep", step.into()),
            ],
        ),
        FindKeys::Unknown => ("unknown", Vec::new()),
    };
    Reply::Map(vec![
        (Reply::bulk("flags"), flag_set(key.flags.names())),
        (Reply::bulk("begin_search"), search(begin_type, begin)),
        (Reply::bulk("find_keys"), search(find_type, find)),
    ])
}

fn number(name: &'static str, value: i64) -> (Reply, Reply) {
    (Reply::bulk(name), Reply::Integer(value))
}

fn search(kind: &'static str, spec: Vec<(Reply, Reply)>) -> Reply {
    Reply::Map(vec![
        (Reply::bulk("type"), Reply::bulk(kind)),
        (Reply::bulk("spec"), Reply::Map(spec)),
    ])
}
