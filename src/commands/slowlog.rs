//! `SLOWLOG`.

use bytes::Bytes;

use super::{
    Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, Group, ServerState, Session,
    SessionHandler, help,
};
use crate::observe::SlowLogEntry;
use crate::protocol::Reply;

const ADMIN: Flags = Flags::ADMIN.or(Flags::LOADING).or(Flags::STALE);
/// Entries that `SLOWLOG GET` answers without a count.
const COUNT_DEFAULT: usize = 10;

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[CommandSpec::container("slowlog", SUBCOMMANDS)
    .group(Group::Server)
    .since("2.2.12")
    .summary("Commands about the slow log.")];

const fn sub(name: &'static str, arity: Arity, run: SessionHandler) -> CommandSpec {
    CommandSpec::session(name, arity, run).group(Group::Server).since("2.2.12")
}

const SUBCOMMANDS: &[CommandSpec] = &[
    sub("get", Arity::AtLeast(2), get)
        .complexity("O(N) with N entries answered")
        .summary("Answers the newest entries.")
        .history(&[("4.0.0", "Address and name of the client.")])
        .tips(&["request_policy:all_nodes", "nondeterministic_output"])
        .flags(ADMIN)
        .args(&[Arg::integer("count").optional()]),
    help::subcommand(Group::Server, "6.2.0"),
    sub("len", Arity::Exactly(2), len)
        .summary("Answers how many entries there are.")
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"])
        .flags(ADMIN),
    sub("reset", Arity::Exactly(2), reset)
        .complexity("O(N) with N entries")
        .summary("Forgets all entries.")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .flags(ADMIN),
];

fn get(_: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let count = match args.rest() {
        [] => COUNT_DEFAULT,
        [count] => {
            let refuse =
                || Error::Text("ERR count should be greater than or equal to -1".to_owned());
            match crate::data::parse_int(count).ok_or_else(refuse)? {
                -1 => usize::MAX,
                count => usize::try_from(count).map_err(|_| refuse())?,
            }
        }
        _ => return Err(Error::subcommand_syntax(args.all())),
    };
    Ok(Reply::Array(state.slowlog.latest(count).into_iter().map(entry).collect()))
}

fn entry(entry: SlowLogEntry) -> Reply {
    let number = |n: u64| Reply::Integer(i64::try_from(n).unwrap_or(i64::MAX));
    Reply::Array(vec![
        number(entry.id),
        number(entry.unix_s),
        number(entry.duration_us),
        Reply::Array(entry.words.into_iter().map(Reply::Bulk).collect()),
        Reply::bulk(String::from(entry.addr)),
        Reply::Bulk(Bytes::from(entry.name)),
    ])
}

fn len(_: &mut Session, state: &ServerState, _: &mut Args<'_>) -> CommandResult {
    Ok(Reply::Integer(i64::try_from(state.slowlog.len()).unwrap_or(i64::MAX)))
}

fn reset(_: &mut Session, state: &ServerState, _: &mut Args<'_>) -> CommandResult {
    state.slowlog.reset();
    Ok(Reply::OK)
}
