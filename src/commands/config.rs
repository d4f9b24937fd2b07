//! `CONFIG`.

use std::sync::Arc;

use bytes::Bytes;

use super::client::CALLABLE_ANYTIME;
use super::spec::ServerFuture;
use super::{
    Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, Group, Run, ServerState, Session,
    help,
};
use crate::config::ConfigError;
use crate::protocol::Reply;

const ADMIN: Flags = CALLABLE_ANYTIME.or(Flags::ADMIN);

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[CommandSpec::container("config", SUBCOMMANDS)
    .group(Group::Server)
    .since("2.0.0")
    .summary("Commands about settings.")];

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec::session("get", Arity::AtLeast(3), get)
        .group(Group::Server)
        .since("2.0.0")
        .complexity("O(N) with N settings")
        .summary("Answers settings by name or pattern.")
        .history(&[("7.0.0", "Several patterns in one call.")])
        .differs("Settings that have no meaning here are left out.")
        .flags(ADMIN)
        .args(&[Arg::string("parameter").multiple()]),
    help::subcommand(Group::Server, "5.0.0"),
    CommandSpec::session("resetstat", Arity::Exactly(2), resetstat)
        .group(Group::Server)
        .since("2.0.0")
        .summary("Sets the counters of INFO back to zero.")
        .differs("Counters of the LSM tree count on.")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .flags(ADMIN),
    CommandSpec::new("rewrite", Arity::Exactly(2), Run::Server(rewrite))
        .group(Group::Server)
        .since("2.8.0")
        .summary("Writes the settings to the configuration file.")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .flags(ADMIN),
    CommandSpec::new("set", Arity::AtLeast(4), Run::Server(set))
        .group(Group::Server)
        .since("2.0.0")
        .complexity("O(N) with N settings given")
        .summary("Changes settings, all or none.")
        .history(&[("7.0.0", "Several settings in one call.")])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .flags(ADMIN)
        .secrets(secrets)
        .args(&[Arg::block("data", &[Arg::string("parameter"), Arg::string("value")]).multiple()]),
];

fn get(_: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let words = args.rest();
    let patterns: Vec<&[u8]> = words.iter().map(|pattern| &pattern[..]).collect();
    let found = state.config.get_matching(&patterns).into_iter();
    let pair = |(name, value)| (Reply::Bulk(as_written(name, words)), Reply::bulk(value));
    Ok(Reply::Map(found.map(pair).collect()))
}

/// The name of a setting as the client has written it, in whatever case; a pattern writes none.
fn as_written(name: &'static str, words: &[Bytes]) -> Bytes {
    let written = words.iter().find(|word| word.eq_ignore_ascii_case(name.as_bytes()));
    written.cloned().unwrap_or(Bytes::from_static(name.as_bytes()))
}

/// From the first password that a `CONFIG SET` has to the last one.
fn secrets(words: &[Bytes]) -> std::ops::Range<usize> {
    let is_secret = |name: &Bytes| {
        let name = name.to_ascii_lowercase();
        name.ends_with(b"pass") || name.ends_with(b"auth")
    };
    let names = words.iter().enumerate().skip(2).step_by(2);
    let mut values = names.filter(|(_, name)| is_secret(name)).map(|(at, _)| at + 1);
    match values.next() {
        Some(first) => first..(values.next_back().unwrap_or(first) + 1).min(words.len()),
        None => 0..0,
    }
}

/// What a setting changes outside of the table may wait (a new port, a new budget), so that it runs
/// on the blocking pool.
fn set<'a>(
    _: &'a mut Session,
    state: &'a Arc<ServerState>,
    words: &'a [Bytes],
) -> ServerFuture<'a> {
    Box::pin(async move {
        let (pairs, odd) = words.get(2..).unwrap_or_default().as_chunks::<2>();
        if !odd.is_empty() {
            return Err(Error::WrongArity("config|set"));
        }
        let pairs = pairs.to_vec();
        on_blocking_pool(state, move |state| {
            let pairs: Vec<(&[u8], &[u8])> =
                pairs.iter().map(|[name, value]| (&name[..], &value[..])).collect();
            state.config.set(&pairs).map_err(|error| match error {
                ConfigError::Unknown(name) => {
                    let text = "ERR Unknown option or number of arguments for CONFIG SET - '{}'";
                    Error::quoting(text, &[&name])
                }
                error => Error::Text(error.to_string()),
            })
        })
        .await
    })
}

fn rewrite<'a>(
    _: &'a mut Session,
    state: &'a Arc<ServerState>,
    _: &'a [Bytes],
) -> ServerFuture<'a> {
    Box::pin(on_blocking_pool(state, |state| {
        // With a file of users the lines of users would be refused at the next start.
        let has_file = !state.config.load().aclfile.is_empty();
        let users = if has_file { Vec::new() } else { state.users.config_lines() };
        state.config.rewrite(&*state.fs, &users).map_err(|error| Error::Text(error.to_string()))
    }))
}

async fn on_blocking_pool(
    state: &Arc<ServerState>,
    change: impl FnOnce(&ServerState) -> Result<(), Error> + Send + 'static,
) -> CommandResult {
    let state = Arc::clone(state);
    let changed = tokio::task::spawn_blocking(move || change(&state)).await;
    // Cancelled only when the runtime ends; a panic there must not end this connection silently.
    changed.map_err(|error| Error::Text(format!("ERR {error}")))??;
    Ok(Reply::OK)
}

fn resetstat(_: &mut Session, state: &ServerState, _: &mut Args<'_>) -> CommandResult {
    state.metrics.reset();
    Ok(Reply::OK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::test_server::TestServer;

    #[test]
    fn a_name_comes_back_as_it_was_written() {
        let mut server = TestServer::new();
        let shown = |server: &mut TestServer, call: &str| match server.ok(call) {
            Reply::Map(pairs) => pairs.into_iter().map(|(name, _)| name).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(shown(&mut server, "config get TimeOut"), [Reply::bulk("TimeOut")]);
        assert_eq!(shown(&mut server, "config get TIMEOUT timeout"), [Reply::bulk("TIMEOUT")]);
        assert_eq!(shown(&mut server, "config get Tim[e]out"), [Reply::bulk("timeout")]);
    }

    #[test]
    fn passwords_are_secret() {
        let words = |text: &str| -> Vec<Bytes> {
            text.split(' ').map(|w| Bytes::from(w.to_owned())).collect()
        };
        let secrets = |text: &str| secrets(&words(text));
        assert_eq!(secrets("config set timeout 0 requirepass x port 1"), 5..6);
        assert_eq!(secrets("config set TLS-KEY-FILE-PASS x port 1 masterauth y"), 3..8);
        assert_eq!(secrets("config set timeout requirepass"), 0..0);
        assert_eq!(secrets("config set requirepass"), 3..3);
    }
}
