//! `DEBUG`: what test suites need to look behind the curtain. Behind `enable-debug-command`.

mod digest;
mod populate;
mod protocol;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::client::CALLABLE_ANYTIME;
use super::memory::{SAMPLES, value_bytes};
use super::object::encoding_name;
use super::spec::ServerFuture;
use super::{
    Args, Arity, ClientFlag, CommandResult, CommandSpec, Control, Error, Flags, Group, Run,
    ServerState, Session, help,
};
use crate::config::{Protection, parse_memory};
use crate::data::View;
use crate::engine::{self, ReadMode, Snapshot};
use crate::protocol::Reply;

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] =
    &[CommandSpec::new("debug", Arity::AtLeast(2), Run::Server(debug))
        .group(Group::Server)
        .complexity("Depends on the subcommand.")
        .summary("Looks behind the curtain, for tests.")
        .differs(
            "Off unless enable-debug-command says otherwise. RELOAD and LOADAOF close the data \
             directory and open it again; SLEEP lets only its own connection sleep, but in a script all \
             who write; DEBUG HELP \
             lists what there is.",
        )
        .flags(CALLABLE_ANYTIME.or(Flags::ADMIN).or(Flags::PROTECTED))];

/// Longest sleep in seconds; longer ones are taken for a mistake.
const SLEEP_SECONDS_MAX: f64 = 86_400.0;

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CHANGE-REPL-ID",
    "    Accepted; there is no replication yet.",
    "COMPACT",
    "    Compact the whole tree into its bottom level.",
    "DIGEST",
    "    A signature of all data: equal for equal data.",
    "DIGEST-VALUE key [key ...]",
    "    A signature of each value.",
    "DICT-RESIZING 0|1",
    "    Accepted; there is no hash table.",
    "ERROR message",
    "    Answer this error.",
    "HELP",
    "    Answer this help.",
    "HTSTATS-KEY key",
    "LISTPACK key",
    "QUICKLIST key",
    "    Of keys that are kept so; there are none.",
    "LOADAOF",
    "    Close the data directory, open it again and replay the log.",
    "LOG message",
    "    Write a line to the log.",
    "OBJECT key",
    "    Tell what is known of a key.",
    "PAUSE-CRON 0|1",
    "    Leave what is done ten times a second undone.",
    "POPULATE count [prefix] [size]",
    "    Make keys prefix:0 and so on that hold value:0, padded with zeros to this size.",
    "    Keys that exist stay as they are.",
    "PROTOCOL type",
    "    Answer an example: string, integer, double, bignum, null, array, set, map, attrib,",
    "    push, verbatim, true, false.",
    "QUICKLIST-PACKED-THRESHOLD size",
    "    Accepted; an element of any size is a record.",
    "RELOAD [option ...]",
    "    Write the memtables to tables, close the data directory, open it again.",
    "REPLICATE word ...",
    "    Accepted; there are no replicas yet.",
    "SET-ACTIVE-EXPIRE 0|1",
    "    Whether expired keys are removed before somebody asks for them.",
    "SET-DISABLE-DENY-SCRIPTS 0|1",
    "    Whether scripts may call commands that are not for them.",
    "SLEEP seconds",
    "    Let this connection wait.",
    "STRINGMATCH-LEN length pattern",
    "    Whether a text of so many letters 'a' matches.",
];

fn debug<'a>(
    session: &'a mut Session,
    state: &'a Arc<ServerState>,
    words: &'a [Bytes],
) -> ServerFuture<'a> {
    Box::pin(async move {
        check_allowed(session, state)?;
        let mut args = Args::new(words, 1);
        let name = args.next_bytes()?;
        match (name.to_ascii_uppercase().as_slice(), args.rest()) {
            (b"HELP", []) => Ok(help::lines_reply(HELP.iter().map(|line| (*line).to_owned()))),
            (b"SLEEP", [seconds]) => sleep(session, state, seconds).await,
            (b"SET-ACTIVE-EXPIRE", [on]) => {
                let on = crate::data::parse_int(on).is_some_and(|number| number != 0);
                state.active_expire.store(on, Ordering::Relaxed);
                Ok(Reply::OK)
            }
            (b"PAUSE-CRON", [on]) => {
                let on = crate::data::parse_int(on).is_some_and(|number| number != 0);
                state.pauses_cron.store(on, Ordering::Relaxed);
                Ok(Reply::OK)
            }
            (b"SET-DISABLE-DENY-SCRIPTS", [on]) => {
                let on = crate::data::parse_int(on).is_some_and(|number| number != 0);
                state.scripts.allows_all.store(on, Ordering::Relaxed);
                Ok(Reply::OK)
            }
            (b"DIGEST", []) => on_snapshot(state, digest::all).await,
            (b"DIGEST-VALUE", keys) => {
                let (keys, db) = (keys.to_vec(), session.db);
                on_snapshot(state, move |snapshot, state| {
                    digest::values(&View::new(snapshot, state.context(db, false))?, &keys)
                })
                .await
            }
            (b"OBJECT", [key]) => {
                let (key, db) = (key.clone(), session.db);
                on_snapshot(state, move |snapshot, state| {
                    object(&View::new(snapshot, state.context(db, false))?, &key)
                })
                .await
            }
            (b"RELOAD", options) => {
                check_reload(options)?;
                state.ask(Control::Flush).await?;
                state.ask(Control::Reopen).await?;
                Ok(Reply::OK)
            }
            (b"LOADAOF", []) => {
                state.ask(Control::Reopen).await?;
                Ok(Reply::OK)
            }
            (b"COMPACT", []) => {
                state.ask(Control::Compact).await?;
                Ok(Reply::OK)
            }
            (b"STRINGMATCH-LEN", [length, pattern]) => stringmatch(length, pattern).await,
            (b"PROTOCOL", [kind]) => protocol::example(kind, session.version),
            (b"POPULATE", [_] | [_, _] | [_, _, _]) => {
                populate::populate(state, session.db, args.rest()).await
            }
            (b"LISTPACK", [key]) => {
                no_such_form(state, session.db, key, "Not a listpack encoded object.").await
            }
            (b"QUICKLIST", [key] | [key, _]) => {
                no_such_form(state, session.db, key, "Not a quicklist encoded object.").await
            }
            (b"HTSTATS-KEY", [key]) => {
                let why = "The value stored at the specified key is not represented using an hash \
                           table";
                no_such_form(state, session.db, key, why).await
            }
            (b"ERROR", [message]) => Err(Error::quoting("{}", &[message])),
            (b"LOG", [message]) => {
                tracing::warn!(message = %String::from_utf8_lossy(message), "DEBUG LOG");
                Ok(Reply::OK)
            }
            (b"QUICKLIST-PACKED-THRESHOLD", [size]) => check_threshold(size),
            (b"CHANGE-REPL-ID", []) | (b"REPLICATE", [_, ..]) | (b"DICT-RESIZING", [_]) => {
                Ok(Reply::OK)
            }
            _ => Err(Error::subcommand_syntax(words)),
        }
    })
}

fn check_allowed(session: &Session, state: &ServerState) -> Result<(), Error> {
    let client = &session.client;
    let addr = &client.addr;
    let local = client.has(ClientFlag::UNIX)
        || addr.starts_with("127.")
        || addr.starts_with("[::1]:")
        || addr.starts_with("::1:");
    match state.config.load().enable_debug_command {
        Protection::Yes => Ok(()),
        Protection::Local if local => Ok(()),
        Protection::No | Protection::Local => Err(Error::Text(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", \
             you can run it from a local connection, otherwise you need to set this option in the \
             configuration file, and then restart the server."
                .to_owned(),
        )),
    }
}

/// Waits for as many seconds as `seconds` begins with: what stands behind the number does not matter,
/// and what is none, or less than 0, is 0.
async fn sleep(session: &Session, state: &ServerState, seconds: &[u8]) -> CommandResult {
    let text = String::from_utf8_lossy(seconds);
    let number = |end| text.get(..end).and_then(|start| start.trim_start().parse::<f64>().ok());
    let seconds = (1..=text.len()).rev().find_map(number).unwrap_or(0.0).max(0.0);
    if seconds > SLEEP_SECONDS_MAX {
        return Err(Error::NotAFloat);
    }
    let duration = Duration::from_secs_f64(seconds);
    if session.answers_at_once {
        state.clock.pause(duration);
    } else {
        tokio::time::sleep(duration).await;
    }
    Ok(Reply::OK)
}

/// Subcommands about a form that no value has here: a key that exists is another one's.
async fn no_such_form(
    state: &Arc<ServerState>,
    db: u16,
    key: &Bytes,
    why: &'static str,
) -> CommandResult {
    let key = key.clone();
    on_snapshot(state, move |snapshot, state| {
        let view = View::new(snapshot, state.context(db, false))?;
        view.inspect(&key)?.ok_or(Error::NoSuchKey)?;
        Err(Error::Text(format!("ERR {why}")))
    })
    .await
}

/// As far as Redis lets it go.
fn check_threshold(size: &[u8]) -> CommandResult {
    const SIZE_MAX: u64 = (1 << 32) - (1 << 20);
    match std::str::from_utf8(size).ok().and_then(parse_memory).filter(|size| *size <= SIZE_MAX) {
        Some(_) => Ok(Reply::OK),
        None => Err(Error::Text(
            "ERR argument must be a memory value bigger than 1 and smaller than 4gb".to_owned(),
        )),
    }
}

/// The options of Redis; here the whole store is opened again in each case.
fn check_reload(options: &[Bytes]) -> Result<(), Error> {
    let known = |option: &Bytes| {
        ["NOSAVE", "MERGE", "NOFLUSH"].iter().any(|o| option.eq_ignore_ascii_case(o.as_bytes()))
    };
    if options.iter().all(known) {
        return Ok(());
    }
    Err(Error::Text(
        "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.".to_owned(),
    ))
}

/// Runs a read that may take long on the blocking pool.
async fn on_snapshot(
    state: &Arc<ServerState>,
    read: impl FnOnce(&Snapshot, &ServerState) -> CommandResult + Send + 'static,
) -> CommandResult {
    let snapshot = state.engine()?.snapshot(ReadMode::Blocking);
    let state = Arc::clone(state);
    let answer = tokio::task::spawn_blocking(move || read(&snapshot, &state)).await;
    answer.map_err(|_| Error::Engine(engine::Error::Closed))?
}

fn object(view: &View<'_>, key: &Bytes) -> CommandResult {
    let meta = view.inspect(key)?.ok_or(Error::NoSuchKey)?;
    let context = view.context();
    let idle_s = context.access.idle_seconds(view.keyspace(), key, context.now_ms);
    let len = value_bytes(view, key, &meta, SAMPLES)?;
    let encoding = encoding_name(&meta);
    let lru = (context.now_ms / 1000).saturating_sub(idle_s) & 0x00ff_ffff;
    Ok(Reply::Simple(
        format!(
            "Value at:disk refcount:1 encoding:{encoding} serializedlength:{len} lru:{lru} \
             lru_seconds_idle:{idle_s}"
        )
        .into(),
    ))
}

/// On the blocking pool: a long text takes long.
async fn stringmatch(length: &Bytes, pattern: &Bytes) -> CommandResult {
    const LENGTH_MAX: i64 = 512 << 20;
    let length = crate::data::parse_int(length).filter(|len| (0..=LENGTH_MAX).contains(len));
    let length = length.and_then(|len| usize::try_from(len).ok()).ok_or(Error::NotAnInteger)?;
    let pattern = pattern.clone();
    let matching = tokio::task::spawn_blocking(move || {
        crate::data::glob_matches(&pattern, &vec![b'a'; length], false)
    });
    let matches = matching.await.map_err(|_| Error::Engine(engine::Error::Closed))?;
    Ok(Reply::Integer(i64::from(matches)))
}

#[cfg(test)]
mod tests;
