//! What is counted and logged behind each call.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::commands::acl::{Context, Denial, Denied, User};
use crate::commands::program::Gathered;
use crate::commands::table::Command;
use crate::commands::{Client, CommandResult, Error, Flags, ServerState, Session, monitor_source};
use crate::data::{EditOutcome, ReadOutcome};
use crate::engine;
use crate::protocol::Reply;

/// Counts a call that ran, and notes it where it was slow.
pub(crate) fn ran(
    state: &ServerState,
    session: &Session,
    command: &Command,
    words: &[Bytes],
    failed: bool,
    elapsed_ns: u64,
) {
    if !state.monitors.is_idle() {
        let source = monitor_source(&session.client);
        state.monitors.show(state, command, session.db, &source, words);
    }
    counted(state, session, command, words, failed, elapsed_ns);
}

/// As [`ran`], of a call that those who monitor have seen.
pub(crate) fn counted(
    state: &ServerState,
    session: &Session,
    command: &Command,
    words: &[Bytes],
    failed: bool,
    elapsed_ns: u64,
) {
    state.metrics.commands_processed.add(1);
    if let Some(stats) = state.metrics.command(command.id) {
        stats.ran(elapsed_ns, failed);
    }
    session.client.last_command.store(command.id, Ordering::Relaxed);
    let settings = state.config.load();
    let elapsed_us = elapsed_ns / 1000;
    let is_slow = settings.is_slow(elapsed_us);
    if is_slow && !command.flags.has(Flags::SKIP_SLOWLOG) {
        let names = session.client.names();
        state.slowlog.push(
            usize::try_from(settings.slowlog_max_len).unwrap_or(usize::MAX),
            state.clock.unix_ms() / 1000,
            elapsed_us,
            &command.shown_words(words),
            &session.client.addr,
            &names.name,
        );
    }
    let threshold_ms = settings.latency_monitor_threshold;
    let elapsed_ms = elapsed_us / 1000;
    if threshold_ms != 0 && elapsed_ms >= threshold_ms {
        let event = if command.flags.has(Flags::FAST) { "fast-command" } else { "command" };
        state.latency.record(event, state.clock.unix_ms() / 1000, elapsed_ms);
    }
}

/// Counts the calls of a program, and what they have found out.
pub(crate) fn gathered(state: &ServerState, session: &Session, gathered: &Gathered) {
    for call in &gathered.ran {
        let words = call.words.as_deref().unwrap_or_default();
        if call.words.is_some() && !state.monitors.is_idle() {
            let client = monitor_source(&session.client);
            let source = if call.in_script { "lua" } else { &client };
            state.monitors.show(state, call.command, call.db, source, words);
        }
        counted(state, session, call.command, words, call.error.is_some(), call.elapsed_ns);
        if let Some(text) = &call.error {
            state.metrics.error(text);
        }
    }
    for (id, sum) in &gathered.sums {
        state.metrics.commands_processed.add(sum.calls);
        if let Some(stats) = state.metrics.command(*id) {
            stats.ran_many(sum.calls, sum.failed, sum.elapsed_ns);
            stats.rejected.add(sum.rejected);
        }
    }
    for (code, count) in &gathered.errors {
        state.metrics.error_many(code, *count);
    }
    for (denial, times) in &gathered.denials {
        state.note_denial(&session.client, denial, *times);
    }
    for (_, outcome) in &gathered.reads {
        read(state, outcome);
    }
}

/// Whether a call has failed.
pub(crate) fn has_failed(result: &CommandResult) -> bool {
    matches!(result, Err(_) | Ok(Reply::Error(_) | Reply::RawError(_)))
}

/// Counts a call that the user may not make, and logs it.
pub(crate) fn denied(
    state: &ServerState,
    session: &Session,
    denied: Denied,
    command: &Command,
    words: &[Bytes],
) {
    let context = if session.queue.is_some() { Context::Multi } else { Context::Toplevel };
    let denial = Denial::of(denied, context, session.user(), command, words);
    state.note_denial(&session.client, &denial, 1);
}

/// Whether the user of `client` may still make a call that was allowed when it came; a refusal is
/// counted and logged.
///
/// # Errors
/// With Redis's text, where it may not.
pub(crate) fn allowed_later(
    state: &ServerState,
    client: &Client,
    command: &Command,
    words: &[Bytes],
) -> Result<(), Error> {
    let name = client.user_name();
    // Where the user is gone the connection is about to end.
    let user = state.users.get(&name).unwrap_or_else(|| User::without_rights(&name).into());
    user.check(command, words).map_err(|denied| {
        let denial = Denial::of(denied, Context::Toplevel, &user, command, words);
        state.note_denial(client, &denial, 1);
        Error::quoting("NOPERM {}", &[&denied.text(&user, command)])
    })
}

/// Counts a call that did not pass the gates.
pub(crate) fn rejected(state: &ServerState, command: Option<&Command>) {
    if let Some(stats) = command.and_then(|command| state.metrics.command(command.id)) {
        stats.rejected.add(1);
    }
}

/// Counts what a read found out.
pub(crate) fn read(state: &ServerState, outcome: &ReadOutcome) {
    state.metrics.keyspace_hits.add(outcome.hits);
    state.metrics.keyspace_misses.add(outcome.misses);
}

/// Counts what a committed transaction did.
pub(crate) fn edit(state: &ServerState, outcome: &EditOutcome) {
    state.metrics.keyspace_hits.add(outcome.hits);
    state.metrics.keyspace_misses.add(outcome.misses);
    state.metrics.expired_keys.add(outcome.expired);
    state.metrics.expired_fields.add(outcome.expired_fields);
    state.changes.fetch_add(outcome.dirty, Ordering::Relaxed);
}

/// The one place where an error becomes a reply; engine failures are logged here, but for the
/// refusals after a failure of the log or on a full disk, which was logged itself, and those of a
/// command that is too large, of which a client could send any number.
pub(crate) fn error_reply(state: &ServerState, error: &Error) -> Reply {
    match error {
        Error::Engine(engine::Error::Poisoned(_) | engine::Error::NoSpace(_)) => {}
        Error::Engine(what @ (engine::Error::Limit(_) | engine::Error::NoRoom)) => {
            tracing::debug!(%what, "a command was refused");
        }
        Error::Engine(failure) => {
            tracing::warn!(error = %failure, "a command failed in the engine")
        }
        _ => {}
    }
    let text = error.to_string();
    state.metrics.error(&text);
    error.raw_text().map_or_else(|| Reply::Error(text.into()), Reply::error_of)
}
