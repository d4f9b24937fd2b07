//! `EVAL` and its kind, and `SCRIPT`.

mod cache;
mod evaluate;
mod host;
mod machines;
mod runs;

use super::acl::Category;
use super::{
    Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, Group, KeySpec, ProgramHandler,
    Run, ServerState, Session, SessionHandler, help,
};
use crate::protocol::Reply;
use crate::script::ScriptId;

pub(super) use evaluate::{finish, split};
pub(super) use host::Server;
pub(super) use machines::Memory;
pub use machines::Scripts;

/// Why nothing is debugged, nor run by who wants to debug it.
const NO_DEBUGGER: &str = "ERR the script debugger is not supported, so the script is not run";

const EVALUATE: Flags =
    Flags::NOSCRIPT.or(Flags::SKIP_MONITOR).or(Flags::NO_MANDATORY_KEYS).or(Flags::STALE);
const KEYS: &[KeySpec] = &[KeySpec::keynum(2).rw().access().update()];
const KEYS_RO: &[KeySpec] = &[KeySpec::keynum(2).ro().access()];
const NUMKEYS: Arg = Arg::integer("numkeys");
const REST: [Arg; 2] =
    [Arg::key("key").optional().multiple(), Arg::string("arg").optional().multiple()];
const SCRIPT_ARGS: &[Arg] = &[Arg::string("script"), NUMKEYS, REST[0], REST[1]];
const SHA1_ARGS: &[Arg] = &[Arg::string("sha1"), NUMKEYS, REST[0], REST[1]];

const fn evaluates(name: &'static str, run: ProgramHandler) -> CommandSpec {
    CommandSpec::new(name, Arity::AtLeast(3), Run::Program(run))
        .group(Group::Scripting)
        .complexity("Depends on the script.")
        .acl(&[Category::Scripting])
        .flags(EVALUATE)
}

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    evaluates("eval", evaluate::eval)
        .since("2.6.0")
        .summary("Runs a Lua script.")
        .differs(
            "After a crash all that a script has written is there, or nothing. A script that takes \
             longer than 2 ms runs on a thread of its own: others read meanwhile, and write behind \
             it. It may change as much as one command may hold, and its values take an eighth of the memory budget at \
             most.",
        )
        .flags(Flags::MAY_REPLICATE)
        .keys(KEYS)
        .args(SCRIPT_ARGS),
    evaluates("evalsha", evaluate::evalsha)
        .since("2.6.0")
        .summary("Runs a Lua script that the server knows, by its SHA-1.")
        .flags(Flags::MAY_REPLICATE)
        .keys(KEYS)
        .args(SHA1_ARGS),
    evaluates("eval_ro", evaluate::eval_ro)
        .since("7.0.0")
        .summary("Runs a Lua script that writes nothing.")
        .differs("Runs beside others, which it does not hold up, and never makes the server busy.")
        .flags(Flags::READONLY)
        .keys(KEYS_RO)
        .args(SCRIPT_ARGS),
    evaluates("evalsha_ro", evaluate::evalsha_ro)
        .since("7.0.0")
        .summary("Runs a Lua script that writes nothing and that the server knows, by its SHA-1.")
        .differs("Runs beside others, which it does not hold up, and never makes the server busy.")
        .flags(Flags::READONLY)
        .keys(KEYS_RO)
        .args(SHA1_ARGS),
    CommandSpec::container("script", SUBCOMMANDS)
        .group(Group::Scripting)
        .since("2.6.0")
        .summary("Commands about scripts."),
];

const fn sub(name: &'static str, arity: Arity, run: SessionHandler) -> CommandSpec {
    CommandSpec::session(name, arity, run)
        .group(Group::Scripting)
        .since("2.6.0")
        .acl(&[Category::Scripting])
        .flags(Flags::NOSCRIPT)
}

const SUBCOMMANDS: &[CommandSpec] = &[
    sub("debug", Arity::Exactly(3), debug)
        .since("3.2.0")
        .summary("Sets how scripts are debugged.")
        .differs("There is no debugger: YES and SYNC are refused, and so is each EVAL of the connection from then on, until NO.")
        .args(&[Arg::one_of(
            "mode",
            &[Arg::token("yes", "YES"), Arg::token("sync", "SYNC"), Arg::token("no", "NO")],
        )]),
    sub("exists", Arity::AtLeast(3), exists)
        .complexity("O(N) with N scripts asked for")
        .summary("Tells which scripts the server knows.")
        .tips(&["request_policy:all_shards", "response_policy:agg_logical_and"])
        .args(&[Arg::string("sha1").multiple()]),
    sub("flush", Arity::AtLeast(2), flush)
        .complexity("O(N) with N scripts known")
        .summary("Forgets all scripts.")
        .history(&[("6.2.0", "ASYNC and SYNC.")])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .args(&[Arg::one_of(
            "flush-type",
            &[Arg::token("async", "ASYNC"), Arg::token("sync", "SYNC")],
        )
        .optional()
        .since("6.2.0")]),
    help::subcommand(Group::Scripting, "5.0.0").acl(&[Category::Scripting]),
    sub("kill", Arity::Exactly(2), kill)
        .summary("Ends the running script, if it has not written.")
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"])
        .flags(Flags::ALLOW_BUSY)
        .differs("Ends scripts that only read too, which hold up nobody."),
    sub("load", Arity::Exactly(3), load)
        .complexity("O(N) with N bytes of the script")
        .summary("Makes a script known.")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .flags(Flags::STALE)
        .args(&[Arg::string("script")]),
];

/// `redis-cli --ldb` looks at no answer of this: what it runs next must not be carried out for good,
/// where Redis would take it back at the end.
fn debug(session: &mut Session, _: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let mode = args.next_bytes()?;
    if mode.eq_ignore_ascii_case(b"no") {
        session.wants_debugger = false;
        return Ok(Reply::OK);
    }
    if mode.eq_ignore_ascii_case(b"yes") || mode.eq_ignore_ascii_case(b"sync") {
        session.wants_debugger = true;
        return Err(Error::Text(NO_DEBUGGER.to_owned()));
    }
    Err(Error::Text("ERR Use SCRIPT DEBUG YES/SYNC/NO".to_owned()))
}

fn exists(_: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let known = |digits: &bytes::Bytes| {
        ScriptId::parse(digits).is_some_and(|id| state.scripts.cache.lock().has(id))
    };
    Ok(Reply::array(args.rest().iter().map(known)))
}

fn flush(_: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let refuse = || Error::Text("ERR SCRIPT FLUSH only support SYNC|ASYNC option".to_owned());
    match args.rest() {
        [] => {}
        [how] if how.eq_ignore_ascii_case(b"sync") || how.eq_ignore_ascii_case(b"async") => {}
        _ => return Err(refuse()),
    }
    state.scripts.flush();
    Ok(Reply::OK)
}

fn kill(_: &mut Session, state: &ServerState, _: &mut Args<'_>) -> CommandResult {
    state.scripts.runs.kill(false).map(|()| Reply::OK)
}

fn load(_: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let text = args.next_bytes()?;
    let id = ScriptId::of(text);
    let shebang = evaluate::shebang(text)?;
    let machines = &state.scripts.machines;
    machines.reader(state, |vm| evaluate::compile(vm, id, text, &shebang))??;
    state.scripts.cache.lock().load(id, text);
    Ok(Reply::bulk_from_str(&id.to_string()))
}
