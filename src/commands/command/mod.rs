//! `COMMAND`: the table of commands, as clients read it.

mod docs;
mod getkeys;
mod info;

use super::table::{self, Lookup};
use super::{
    Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, Group, ServerState, Session,
    SessionHandler, acl, help,
};
use crate::data::glob_matches;
use crate::protocol::Reply;

const USUAL: Flags = Flags::LOADING.or(Flags::STALE).or(Flags::SENTINEL);
const NAMES: &[Arg] = &[Arg::string("command-name").optional().multiple()];
const CALL: &[Arg] = &[Arg::string("command"), Arg::string("arg").optional().multiple()];
const UNORDERED: &[&str] = &["nondeterministic_output_order"];
const CONNECTION: &[acl::Category] = &[acl::Category::Connection];

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[sub("command", Arity::AtLeast(1), all)
    .since("2.8.13")
    .complexity("O(N) with N commands")
    .summary("Describes all commands.")
    .tips(UNORDERED)
    .subcommands(SUBCOMMANDS)];

const fn sub(name: &'static str, arity: Arity, run: SessionHandler) -> CommandSpec {
    CommandSpec::session(name, arity, run).group(Group::Server).flags(USUAL).acl(CONNECTION)
}

const SUBCOMMANDS: &[CommandSpec] = &[
    sub("count", Arity::Exactly(2), count)
        .since("2.8.13")
        .summary("Answers how many commands there are."),
    sub("docs", Arity::AtLeast(2), docs)
        .since("7.0.0")
        .complexity("O(N) with N commands asked for")
        .summary("Documents commands, or all.")
        .tips(UNORDERED)
        .args(NAMES),
    sub("getkeys", Arity::AtLeast(3), getkeys::keys)
        .since("2.8.13")
        .complexity("O(N) with N words")
        .summary("Answers the keys of a call.")
        .args(CALL),
    sub("getkeysandflags", Arity::AtLeast(3), getkeys::keys_and_flags)
        .since("7.0.0")
        .complexity("O(N) with N words")
        .summary("Answers the keys of a call, and what it does with them.")
        .args(CALL),
    help::subcommand(Group::Server, "5.0.0").flags(USUAL).acl(CONNECTION),
    sub("info", Arity::AtLeast(2), info)
        .since("2.8.13")
        .complexity("O(N) with N commands asked for")
        .summary("Describes commands, or all.")
        .history(&[("7.0.0", "Without a name it describes all.")])
        .tips(UNORDERED)
        .args(NAMES),
    sub("list", Arity::AtLeast(2), list)
        .since("7.0.0")
        .complexity("O(N) with N commands")
        .summary("Lists the names of all commands, or some.")
        .tips(UNORDERED)
        .args(&[Arg::one_of(
            "filterby",
            &[
                Arg::string("module-name").with_token("MODULE"),
                Arg::string("category").with_token("ACLCAT"),
                Arg::pattern("pattern").with_token("PATTERN"),
            ],
        )
        .with_token("FILTERBY")
        .optional()]),
];

fn all(_: &mut Session, _: &ServerState, _: &mut Args<'_>) -> CommandResult {
    Ok(Reply::Array(table::top_level().map(info::reply).collect()))
}

fn count(_: &mut Session, _: &ServerState, _: &mut Args<'_>) -> CommandResult {
    let count = table::top_level().count();
    Ok(Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX)))
}

/// Finds a command by its name, or a subcommand by `container|name`.
fn by_full_name(name: &[u8]) -> Option<&'static table::Command> {
    by_full_name_in(table::lookup, name)
}

/// As [`by_full_name`], by the name that it has where nothing is renamed.
pub(super) fn by_own_full_name(name: &[u8]) -> Option<&'static table::Command> {
    by_full_name_in(table::lookup_own, name)
}

fn by_full_name_in(
    lookup: fn(&[u8], Option<&[u8]>) -> Lookup,
    name: &[u8],
) -> Option<&'static table::Command> {
    let mut parts = name.split(|byte| *byte == b'|');
    let (first, second) = (parts.next()?, parts.next());
    if parts.next().is_some() {
        return None;
    }
    match lookup(first, second) {
        // A part after the bar that nothing took is no name.
        Lookup::Found(command) if second.is_none() || command.parent.is_some() => Some(command),
        _ => None,
    }
}

fn info(session: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    if args.is_empty() {
        return all(session, state, args);
    }
    let describe = |name: &bytes::Bytes| by_full_name(name).map_or(Reply::Null, info::reply);
    Ok(Reply::Array(args.rest().iter().map(describe).collect()))
}

fn docs(_: &mut Session, _: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let entry = |command| {
        let command: &table::Command = command;
        (Reply::bulk(command.full_name), docs::reply(command))
    };
    if args.is_empty() {
        return Ok(Reply::Map(table::top_level().map(entry).collect()));
    }
    Ok(Reply::Map(args.rest().iter().filter_map(|name| by_full_name(name)).map(entry).collect()))
}

fn list(_: &mut Session, _: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let wanted: Box<dyn Fn(&table::Command) -> bool> = match args.rest() {
        [] => Box::new(|_| true),
        [filter, kind, value] if filter.eq_ignore_ascii_case(b"FILTERBY") => {
            match kind.to_ascii_uppercase().as_slice() {
                // There are no modules.
                b"MODULE" => Box::new(|_| false),
                b"ACLCAT" => {
                    let category = acl::Category::by_name(value);
                    Box::new(move |command| category.is_some_and(|c| command.categories.has(c)))
                }
                b"PATTERN" => {
                    let pattern = value.clone();
                    Box::new(move |command| {
                        glob_matches(&pattern, command.full_name.as_bytes(), true)
                    })
                }
                _ => return Err(Error::Syntax),
            }
        }
        _ => return Err(Error::Syntax),
    };
    let names = table::callable().filter(|command| wanted(command));
    Ok(Reply::Array(names.map(|command| Reply::bulk(command.full_name)).collect()))
}

/// Simple strings, as flags are answered everywhere.
fn flag_set(flags: impl IntoIterator<Item = &'static str>) -> Reply {
    Reply::Set(flags.into_iter().map(|flag| Reply::Simple(flag.into())).collect())
}

#[cfg(test)]
mod tests;
