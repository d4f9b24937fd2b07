//! Commands of replication, which there is none of: what a master without replicas answers.

use super::{
    Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, Group, Run, ServerState, Session,
};
use crate::protocol::Reply;

const ADMIN: Flags = Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::STALE);
const TARGET: &[Arg] = &[Arg::one_of(
    "args",
    &[
        Arg::block("host-port", &[Arg::string("host"), Arg::integer("port")]),
        Arg::block("no-one", &[Arg::token("no", "NO"), Arg::token("one", "ONE")]),
    ],
)];

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    replica_of("replicaof").since("5.0.0"),
    replica_of("slaveof").since("1.0.0").deprecated("5.0.0", "`REPLICAOF`"),
    CommandSpec::new("failover", Arity::AtLeast(1), Run::Session(failover))
        .group(Group::Server)
        .since("6.2.0")
        .summary("Has a replica take over: there is none.")
        .differs("There is no replication yet: an error, that of a master without replicas.")
        .flags(ADMIN)
        .args(&[
            Arg::block(
                "target",
                &[
                    Arg::string("host"),
                    Arg::integer("port"),
                    Arg::token("force", "FORCE").optional(),
                ],
            )
            .with_token("TO")
            .optional(),
            Arg::token("abort", "ABORT").optional(),
            Arg::integer("milliseconds").with_token("TIMEOUT").optional(),
        ]),
];

const fn replica_of(name: &'static str) -> CommandSpec {
    CommandSpec::new(name, Arity::Exactly(3), Run::Session(replicaof))
        .group(Group::Server)
        .summary("Makes the server a replica, or a master.")
        .differs("There is no replication yet: NO ONE is accepted, anything else is an error.")
        .flags(ADMIN.or(Flags::NO_ASYNC_LOADING))
        .args(TARGET)
}

fn replicaof(_: &mut Session, _: &ServerState, args: &mut Args<'_>) -> CommandResult {
    if args.eat("NO") && args.eat("ONE") {
        return Ok(Reply::OK);
    }
    Err(Error::Text("ERR replication is not supported".to_owned()))
}

fn failover(_: &mut Session, _: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let text = match args.rest() {
        [only] if only.eq_ignore_ascii_case(b"ABORT") => "ERR No failover in progress.",
        _ => {
            check_failover(args)?;
            "ERR FAILOVER requires connected replicas."
        }
    };
    Err(Error::Text(text.to_owned()))
}

/// The options of `FAILOVER`, which are read first.
fn check_failover(args: &mut Args<'_>) -> Result<(), Error> {
    let (mut has_target, mut has_timeout, mut force) = (false, false, false);
    while !args.is_empty() {
        if !has_timeout && args.eat("TIMEOUT") {
            if args.next_int()? <= 0 {
                let text = "ERR FAILOVER timeout must be greater than 0";
                return Err(Error::Text(text.to_owned()));
            }
            has_timeout = true;
        } else if !has_target && args.eat("TO") {
            args.next_bytes()?;
            args.next_int()?;
            has_target = true;
        } else if !force && args.eat("FORCE") {
            force = true;
        } else {
            return Err(Error::Syntax);
        }
    }
    Ok(())
}
