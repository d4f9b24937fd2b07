//! `COMMAND DOCS`.

use super::flag_set;
use crate::commands::{Arg, ArgKind, table};
use crate::protocol::Reply;

type Fields = Vec<(Reply, Reply)>;

/// The documentation of a command; fields that have nothing to say are left out.
pub(super) fn reply(command: &table::Command) -> Reply {
    let spec = command.spec;
    let mut fields = Fields::new();
    text(&mut fields, "summary", spec.summary);
    text(&mut fields, "since", spec.since);
    text(&mut fields, "group", spec.group.name());
    text(&mut fields, "complexity", spec.complexity);
    if let Some((since, instead)) = spec.deprecated {
        fields.push((Reply::bulk("doc_flags"), flag_set(["deprecated"])));
        text(&mut fields, "deprecated_since", since);
        text(&mut fields, "replaced_by", instead);
    }
    if !spec.history.is_empty() {
        let entry = |(version, change): &(&'static str, &'static str)| {
            Reply::Array(vec![Reply::bulk(*version), Reply::bulk(*change)])
        };
        let history = Reply::Set(spec.history.iter().map(entry).collect());
        fields.push((Reply::bulk("history"), history));
    }
    if !spec.args.is_empty() {
        fields.push((Reply::bulk("arguments"), arguments(spec.args)));
    }
    if !command.subcommands.is_empty() {
        let subcommands = command.subcommands.iter().filter_map(|id| table::by_id(*id));
        let entries = subcommands.map(|sub| (Reply::bulk(sub.full_name), reply(sub)));
        fields.push((Reply::bulk("subcommands"), Reply::Map(entries.collect())));
    }
    Reply::Map(fields)
}

fn text(fields: &mut Fields, name: &'static str, value: &'static str) {
    fields.push((Reply::bulk(name), Reply::bulk(value)));
}

fn arguments(args: &[Arg]) -> Reply {
    Reply::Array(args.iter().map(argument).collect())
}

fn argument(arg: &Arg) -> Reply {
    let mut fields = Fields::new();
    text(&mut fields, "name", arg.name);
    text(&mut fields, "type", arg.kind.name());
    if !matches!(arg.kind, ArgKind::OneOf(_) | ArgKind::Block(_)) {
        text(&mut fields, "display_text", arg.display.unwrap_or(arg.name));
    }
    if let Some(index) = arg.key_spec {
        fields.push((Reply::bulk("key_spec_index"), Reply::Integer(index.into())));
    }
    if let Some(token) = arg.token {
        // As Redis shows them, those that are written in lower case as well.
        fields.push((Reply::bulk("token"), Reply::Bulk(token.to_ascii_uppercase().into())));
    }
    let texts = [("since", arg.since), ("deprecated_since", arg.deprecated_since)];
    for (name, value) in texts {
        if let Some(value) = value {
            text(&mut fields, name, value);
        }
    }
    let flags = [
        (arg.optional, "optional"),
        (arg.multiple, "multiple"),
        (arg.multiple_token, "multiple_token"),
    ];
    let set: Vec<&'static str> =
        flags.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
    if !set.is_empty() {
        fields.push((Reply::bulk("flags"), flag_set(set)));
    }
    if !arg.kind.children().is_empty() {
        fields.push((Reply::bulk("arguments"), arguments(arg.kind.children())));
    }
    Reply::Map(fields)
}
