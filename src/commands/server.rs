//! Small commands about the server: `TIME`, `ROLE`, `LOLWUT`, `MODULE`.

use super::client::CALLABLE_ANYTIME;
use super::connection::REDIS_VERSION;
use super::{
    Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, Group, Run, ServerState, Session,
    acl, help,
};
use crate::protocol::Reply;

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::new("time", Arity::Exactly(1), Run::Session(time))
        .group(Group::Server)
        .since("2.6.0")
        .summary("Answers the time of the server: seconds, and microseconds in the second.")
        .tips(&["nondeterministic_output"])
        .flags(Flags::LOADING.or(Flags::STALE).or(Flags::FAST)),
    CommandSpec::new("role", Arity::Exactly(1), Run::Session(role))
        .group(Group::Server)
        .since("2.8.12")
        .summary("Answers the role in replication.")
        .differs("There is no replication yet: always a master without replicas.")
        .flags(CALLABLE_ANYTIME.or(Flags::FAST).or(Flags::SENTINEL))
        .acl(&[acl::Category::Admin, acl::Category::Dangerous]),
    CommandSpec::new("lolwut", Arity::AtLeast(1), Run::Session(lolwut))
        .group(Group::Server)
        .since("5.0.0")
        .complexity("O(1)")
        .summary("Draws the tree, and tells the version.")
        .differs("A drawing of our own; it takes any version.")
        .flags(Flags::READONLY.or(Flags::FAST))
        .args(&[Arg::integer("version").with_token("VERSION").optional()]),
    CommandSpec::container("module", MODULE_SUBCOMMANDS)
        .group(Group::Server)
        .since("4.0.0")
        .summary("Commands about modules.")
        .differs("There are no modules."),
];

/// Of commands that load code into the server.
const LOADS: Flags =
    Flags::NO_ASYNC_LOADING.or(Flags::ADMIN).or(Flags::NOSCRIPT).or(Flags::PROTECTED);

const MODULE_SUBCOMMANDS: &[CommandSpec] = &[
    help::subcommand(Group::Server, "5.0.0"),
    CommandSpec::session("list", Arity::Exactly(2), module_list)
        .group(Group::Server)
        .since("4.0.0")
        .complexity("O(N) with N modules")
        .summary("Lists the modules: there are none.")
        .tips(&["nondeterministic_output_order"])
        .flags(Flags::ADMIN.or(Flags::NOSCRIPT)),
    CommandSpec::session("load", Arity::AtLeast(3), module_refused)
        .group(Group::Server)
        .since("4.0.0")
        .summary("Loads a module: always an error.")
        .flags(LOADS)
        .args(&[Arg::string("path"), Arg::string("arg").optional().multiple()]),
    CommandSpec::session("loadex", Arity::AtLeast(3), module_refused)
        .group(Group::Server)
        .since("7.0.0")
        .summary("Loads a module with settings: always an error.")
        .flags(LOADS)
        .args(&[
            Arg::string("path"),
            Arg::block("configs", &[Arg::string("name"), Arg::string("value")])
                .with_token("CONFIG")
                .optional()
                .multiple()
                .multiple_token(),
            Arg::string("args").with_token("ARGS").optional().multiple(),
        ]),
    CommandSpec::session("unload", Arity::Exactly(3), module_refused)
        .group(Group::Server)
        .since("4.0.0")
        .summary("Unloads a module: always an error.")
        .flags(LOADS)
        .args(&[Arg::string("name")]),
];

fn time(session: &mut Session, state: &ServerState, _: &mut Args<'_>) -> CommandResult {
    let now_us = session.stands_at_us.unwrap_or_else(|| state.clock.unix_us());
    let seconds = (now_us / 1_000_000).to_string();
    let micros = (now_us % 1_000_000).to_string();
    Ok(Reply::Array(vec![Reply::bulk(seconds), Reply::bulk(micros)]))
}

fn role(_: &mut Session, _: &ServerState, _: &mut Args<'_>) -> CommandResult {
    Ok(Reply::Array(vec![Reply::bulk("master"), Reply::Integer(0), Reply::Array(Vec::new())]))
}

fn module_list(_: &mut Session, _: &ServerState, _: &mut Args<'_>) -> CommandResult {
    Ok(Reply::Array(Vec::new()))
}

/// Whatever `enable-module-command` says: there is nothing that could be loaded.
fn module_refused(_: &mut Session, _: &ServerState, _: &mut Args<'_>) -> CommandResult {
    Err(Error::Text("ERR MODULE command not allowed: modules are not supported".to_owned()))
}

fn lolwut(_: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    if args.eat("VERSION") && !args.is_empty() {
        args.next_int().map_err(|error| match error {
            Error::Syntax => Error::Syntax,
            _ => Error::NotAnInteger,
        })?;
    }
    let levels = state.engine().map(|engine| engine.stats().levels.len()).unwrap_or(0);
    let text = format!("{}\nRedis ver. {REDIS_VERSION} (SiltDB)\n", drawing(levels.clamp(3, 9)));
    Ok(Reply::Verbatim("txt", text.into()))
}

/// Layers of silt, one per level of the tree, settling under water.
fn drawing(levels: usize) -> String {
    let mut lines = vec!["  ~  ~~   ~    ~~  ~   ~~    ~  ".to_owned()];
    for level in 0..levels {
        let mut line = String::new();
        for column in 0..34 {
            let settled = fastrand::usize(..levels) <= level;
            line.push(match (settled, (column + level) % 3) {
                (false, _) => ' ',
                (true, 0) => '.',
                (true, 1) => ':',
                (true, _) => ';',
            });
        }
        lines.push(line);
    }
    lines.push("=".repeat(34));
    lines.join("\n")
}
