//! `X HELP`: derived from the table.

use std::fmt::Write as _;

use super::{
    Arg, ArgKind, Args, Arity, CommandResult, CommandSpec, Error, Flags, Group, ServerState,
    Session, table,
};
use crate::protocol::Reply;

/// The subcommand `HELP` of any container.
pub(super) const fn subcommand(group: Group, since: &'static str) -> CommandSpec {
    CommandSpec::session("help", Arity::Exactly(2), answer)
        .group(group)
        .since(since)
        .summary("Answers this help.")
        .flags(Flags::LOADING.or(Flags::STALE))
}

/// The first word of the call says which container is asked.
fn answer(_: &mut Session, _: &ServerState, args: &mut Args<'_>) -> CommandResult {
    of(args.all().first().map_or(&[][..], |name| name))
}

/// The help of a container: each subcommand with its arguments and its summary.
fn of(container: &[u8]) -> CommandResult {
    let table::Lookup::Found(command) = table::lookup(container, None) else {
        return Err(Error::Syntax);
    };
    // As it was called, which is another name where it was renamed.
    let title = String::from_utf8_lossy(container).to_ascii_uppercase();
    let mut lines =
        vec![format!("{title} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")];
    for sub in command.spec.subcommands {
        let mut usage = sub.name.to_ascii_uppercase();
        for arg in sub.args {
            usage.push(' ');
            write_usage(&mut usage, arg);
        }
        lines.push(usage);
        lines.push(format!("    {}", sub.summary));
    }
    Ok(lines_reply(lines))
}

/// An array of simple strings, as every HELP answers.
pub(super) fn lines_reply(lines: impl IntoIterator<Item = String>) -> Reply {
    Reply::Array(lines.into_iter().map(|line| Reply::Simple(line.into())).collect())
}

/// Writes the usage of an argument: `[EX seconds | PX milliseconds]`.
fn write_usage(out: &mut String, arg: &Arg) {
    let (open, close) = match (arg.optional, arg.kind) {
        (true, _) => ("[", "]"),
        (false, ArgKind::OneOf(_)) => ("<", ">"),
        (false, _) => ("", ""),
    };
    out.push_str(open);
    write_once(out, arg);
    if arg.multiple {
        out.push_str(" [");
        match arg.token {
            Some(token) if arg.multiple_token => {
                let _ = write!(out, "{token} ");
                write_value(out, arg);
            }
            _ => write_value(out, arg),
        }
        out.push_str(" ...]");
    }
    out.push_str(close);
}

fn write_once(out: &mut String, arg: &Arg) {
    if let Some(token) = arg.token {
        out.push_str(token);
        if matches!(arg.kind, ArgKind::PureToken) {
            return;
        }
        out.push(' ');
    }
    write_value(out, arg);
}

fn write_value(out: &mut String, arg: &Arg) {
    let separator = match arg.kind {
        ArgKind::OneOf(_) => " | ",
        ArgKind::Block(_) => " ",
        ArgKind::PureToken => return,
        _ => return out.push_str(arg.name),
    };
    for (index, child) in arg.kind.children().iter().enumerate() {
        if index > 0 {
            out.push_str(separator);
        }
        write_usage(out, child);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_shows_the_tree() {
        const ARG: Arg = Arg::one_of(
            "expiration",
            &[Arg::integer("seconds").with_token("EX"), Arg::token("keep", "KEEPTTL")],
        )
        .optional();
        let mut usage = String::new();
        write_usage(&mut usage, &ARG);
        assert_eq!(usage, "[EX seconds | KEEPTTL]");
        usage.clear();
        write_usage(&mut usage, &Arg::key("key").multiple());
        assert_eq!(usage, "key [key ...]");
    }

    #[test]
    fn help_lists_each_subcommand() {
        let Ok(Reply::Array(lines)) = of(b"client") else { panic!("no help") };
        assert_eq!(
            lines[0],
            Reply::Simple("CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:".into())
        );
        assert!(lines.iter().any(|line| matches!(line, Reply::Simple(l) if l == "ID")));
        let mut server = crate::commands::test_server::TestServer::new();
        let Reply::Array(lines) = server.ok("Object help") else { panic!("no help") };
        assert!(
            lines.iter().any(|line| matches!(line, Reply::Simple(l) if l.starts_with("OBJECT")))
        );
    }
}
