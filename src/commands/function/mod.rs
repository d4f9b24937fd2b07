//! `FCALL`, `FCALL_RO` and `FUNCTION`.
//!
//! Libraries are records of the store, changed in transactions as any other. The machines know them
//! only as a copy, which [`known::synced`] brings up to date before each use.

mod call;
mod change;
mod known;
mod list;

use super::acl::Category;
use super::{
    Arg, Args, Arity, CommandResult, CommandSpec, Flags, Group, KeySpec, ProgramHandler, Run,
    ServerState, Session, help,
};
use crate::protocol::Reply;

pub(super) use known::Known;

const CALLS: Flags =
    Flags::NOSCRIPT.or(Flags::SKIP_MONITOR).or(Flags::NO_MANDATORY_KEYS).or(Flags::STALE);
const CHANGES: Flags = Flags::NOSCRIPT.or(Flags::WRITE);
const ARGS: &[Arg] = &[
    Arg::string("function"),
    Arg::integer("numkeys"),
    Arg::key("key").optional().multiple(),
    Arg::string("arg").optional().multiple(),
];
const TO_ALL: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    calls("fcall", call::fcall)
        .summary("Calls a function.")
        .differs("As EVAL.")
        .flags(Flags::MAY_REPLICATE)
        .keys(&[KeySpec::keynum(2).rw().access().update()])
        .args(ARGS),
    calls("fcall_ro", call::fcall_ro)
        .summary("Calls a function that writes nothing.")
        .differs("As EVAL_RO.")
        .flags(Flags::READONLY)
        .keys(&[KeySpec::keynum(2).ro().access()])
        .args(ARGS),
    CommandSpec::container("function", SUBCOMMANDS)
        .group(Group::Scripting)
        .since("7.0.0")
        .summary("Commands about functions."),
];

const fn calls(name: &'static str, run: ProgramHandler) -> CommandSpec {
    CommandSpec::new(name, Arity::AtLeast(3), Run::Program(run))
        .group(Group::Scripting)
        .since("7.0.0")
        .complexity("Depends on the function.")
        .acl(&[Category::Scripting])
        .flags(CALLS)
}

const fn sub(name: &'static str, arity: Arity, run: ProgramHandler) -> CommandSpec {
    CommandSpec::new(name, arity, Run::Program(run))
        .group(Group::Scripting)
        .since("7.0.0")
        .complexity("O(N) with N functions")
        .acl(&[Category::Scripting])
}

const SUBCOMMANDS: &[CommandSpec] = &[
    sub("delete", Arity::Exactly(3), change::delete)
        .summary("Deletes a library with its functions.")
        .tips(TO_ALL)
        .flags(CHANGES)
        .args(&[Arg::string("library-name")]),
    sub("dump", Arity::Exactly(2), list::dump)
        .summary("Answers all libraries as one value, for FUNCTION RESTORE.")
        .flags(Flags::NOSCRIPT),
    sub("flush", Arity::AtLeast(2), change::flush)
        .summary("Deletes all libraries.")
        .tips(TO_ALL)
        .flags(CHANGES)
        .args(&[Arg::one_of(
            "flush-type",
            &[Arg::token("async", "ASYNC"), Arg::token("sync", "SYNC")],
        )
        .optional()]),
    help::subcommand(Group::Scripting, "7.0.0").acl(&[Category::Scripting]),
    CommandSpec::session("kill", Arity::Exactly(2), kill)
        .group(Group::Scripting)
        .since("7.0.0")
        .summary("Ends the running function, if it has not written.")
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"])
        .differs("Ends functions that only read too, which hold up nobody.")
        .acl(&[Category::Scripting])
        .flags(Flags::NOSCRIPT.or(Flags::ALLOW_BUSY)),
    sub("list", Arity::AtLeast(2), list::list)
        .summary("Answers what is known of the libraries.")
        .tips(&["nondeterministic_output_order"])
        .flags(Flags::NOSCRIPT)
        .args(&[
            Arg::string("library-name-pattern").with_token("LIBRARYNAME").optional(),
            Arg::token("withcode", "WITHCODE").optional(),
        ]),
    sub("load", Arity::AtLeast(3), change::load)
        .summary("Keeps a library of functions.")
        .complexity("O(1), as far as the code of the library is.")
        .tips(TO_ALL)
        .flags(CHANGES.or(Flags::DENYOOM))
        .args(&[Arg::token("replace", "REPLACE").optional(), Arg::string("function-code")]),
    sub("restore", Arity::AtLeast(3), change::restore)
        .summary("Keeps the libraries of a FUNCTION DUMP.")
        .tips(TO_ALL)
        .flags(CHANGES.or(Flags::DENYOOM))
        .args(&[
            Arg::string("serialized-value"),
            Arg::one_of(
                "policy",
                &[
                    Arg::token("flush", "FLUSH"),
                    Arg::token("append", "APPEND"),
                    Arg::token("replace", "REPLACE"),
                ],
            )
            .optional(),
        ]),
    sub("stats", Arity::Exactly(2), list::stats)
        .summary("Answers what runs, and how many functions there are.")
        .complexity("O(1)")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .flags(Flags::NOSCRIPT.or(Flags::ALLOW_BUSY)),
];

fn kill(_: &mut Session, state: &ServerState, _: &mut Args<'_>) -> CommandResult {
    state.scripts.runs.kill(true).map(|()| Reply::OK)
}
