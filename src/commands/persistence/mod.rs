//! Durability and the end: `SAVE`, `BGSAVE`, `BGREWRITEAOF`, `LASTSAVE`, `WAIT`, `WAITAOF`,
//! `SHUTDOWN`.
//!
//! What was acknowledged is durable by itself (by `appendfsync`); saving here means to write the
//! memtables to SSTables, so that a restart has no log to replay.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::client::{CALLABLE_ANYTIME, deadline_ms};
use super::spec::{ServerFuture, ServerHandler};
use super::{
    Arg, Args, Arity, CommandResult, CommandSpec, Control, Error, Flags, Group, Run, ServerState,
    Session, ShutdownPhase, ShutdownRequest, Unblock, acl,
};
use crate::config::AppendFsync;
use crate::protocol::Reply;

const SAVING: Flags = Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::NO_ASYNC_LOADING);
const CONNECTION: &[acl::Category] = &[acl::Category::Connection];

/// A command that waits until writes are safe.
const fn waiting(name: &'static str, arity: Arity, run: ServerHandler) -> CommandSpec {
    CommandSpec::new(name, arity, Run::Server(run))
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .flags(Flags::BLOCKING)
        .acl(CONNECTION)
}

/// A command that writes the memtables to tables.
const fn saving(name: &'static str, arity: Arity, run: ServerHandler) -> CommandSpec {
    CommandSpec::new(name, arity, Run::Server(run)).group(Group::Server).flags(SAVING)
}

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    saving("save", Arity::Exactly(1), save)
        .complexity("O(N) with N bytes in the memtables")
        .summary("Writes the memtables to tables and waits for it.")
        .differs("Writes the memtables to SSTables; nobody else waits.")
        .flags(Flags::NO_MULTI),
    saving("bgsave", Arity::AtLeast(1), bgsave)
        .summary("Starts to write the memtables to tables.")
        .history(&[("3.2.2", "Option SCHEDULE.")])
        .differs("Writes the memtables to SSTables; SCHEDULE changes nothing.")
        .args(&[Arg::token("schedule", "SCHEDULE").optional().since("3.2.2")]),
    saving("bgrewriteaof", Arity::Exactly(1), bgrewriteaof)
        .summary("Starts to write the memtables to tables, which empties the log.")
        .differs("Writes the memtables to SSTables, so that the log before them can be recycled."),
    CommandSpec::new("lastsave", Arity::Exactly(1), Run::Session(lastsave))
        .group(Group::Server)
        .summary("Answers when SAVE or BGSAVE last ended well, in Unix seconds.")
        .tips(&["nondeterministic_output"])
        .flags(Flags::LOADING.or(Flags::STALE).or(Flags::FAST))
        .acl(&[acl::Category::Admin, acl::Category::Dangerous]),
    waiting("wait", Arity::Exactly(3), wait)
        .since("3.0.0")
        .summary("Waits until replicas have the writes of this connection.")
        .differs("There is no replication yet: answers 0 when the timeout has passed.")
        .args(&[Arg::integer("numreplicas"), Arg::integer("timeout")]),
    waiting("waitaof", Arity::Exactly(4), waitaof)
        .since("7.2.0")
        .summary("Waits until the writes of this connection are on disk.")
        .differs("Syncs the log by itself. There is no replication yet: 0 for the replicas.")
        .args(&[Arg::integer("numlocal"), Arg::integer("numreplicas"), Arg::integer("timeout")]),
    CommandSpec::new("shutdown", Arity::AtLeast(1), Run::Server(shutdown))
        .group(Group::Server)
        .complexity("O(N) with N bytes in the memtables")
        .summary("Ends the server. Whatever was acknowledged stays.")
        .history(&[("7.0.0", "Options NOW, FORCE and ABORT.")])
        .differs(
            "SAVE writes the memtables to SSTables, and FORCE goes on where that fails. Without SAVE \
             nothing is saved, whatever `save` is set to: the log is synced and replayed at the next \
             start. NOW does not wait for running commands. ABORT reaches only a SAVE under way.",
        )
        .flags(CALLABLE_ANYTIME.or(Flags::ADMIN).or(Flags::NO_MULTI).or(Flags::SENTINEL))
        .flags(Flags::ALLOW_BUSY)
        .args(&[Arg::one_of(
            "abort-selector",
            &[
                Arg::block(
                    "save-selector-block",
                    &[
                        Arg::one_of(
                            "save-selector",
                            &[Arg::token("nosave", "NOSAVE"), Arg::token("save", "SAVE")],
                        )
                        .optional(),
                        Arg::token("now", "NOW").optional().since("7.0.0"),
                        Arg::token("force", "FORCE").optional().since("7.0.0"),
                    ],
                ),
                Arg::token("abort", "ABORT").since("7.0.0"),
            ],
        )
        .optional()]),
];

/// Owns the mark that a save runs.
struct Saving(Arc<ServerState>);

impl Saving {
    fn begin(state: &Arc<ServerState>) -> Result<Self, Error> {
        if state.saving.swap(true, Ordering::AcqRel) {
            return Err(Error::Text("ERR Background save already in progress".to_owned()));
        }
        Ok(Self(Arc::clone(state)))
    }

    async fn run(self) -> Result<(), Error> {
        let state = &self.0;
        let changes = state.changes.load(Ordering::Relaxed);
        state.ask(Control::Flush).await?;
        // What was written meanwhile still counts.
        state.changes.fetch_sub(changes, Ordering::Relaxed);
        state.last_save_s.store(state.clock.unix_ms() / 1000, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Saving {
    fn drop(&mut self) {
        self.0.saving.store(false, Ordering::Release);
    }
}

fn save<'a>(_: &'a mut Session, state: &'a Arc<ServerState>, _: &'a [Bytes]) -> ServerFuture<'a> {
    Box::pin(async move {
        Saving::begin(state)?.run().await?;
        Ok(Reply::OK)
    })
}

fn bgsave<'a>(
    _: &'a mut Session,
    state: &'a Arc<ServerState>,
    words: &'a [Bytes],
) -> ServerFuture<'a> {
    Box::pin(async move {
        let mut args = Args::new(words, 1);
        args.eat("SCHEDULE");
        args.finish()?;
        in_background(state)?;
        Ok(Reply::Simple("Background saving started".into()))
    })
}

fn bgrewriteaof<'a>(
    _: &'a mut Session,
    state: &'a Arc<ServerState>,
    _: &'a [Bytes],
) -> ServerFuture<'a> {
    Box::pin(async move {
        // While a save runs there is nothing to add: it empties the log as well.
        if in_background(state).is_err() {
            return Ok(Reply::Simple("Background append only file rewriting scheduled".into()));
        }
        Ok(Reply::Simple("Background append only file rewriting started".into()))
    })
}

fn in_background(state: &Arc<ServerState>) -> Result<(), Error> {
    let saving = Saving::begin(state)?;
    tokio::spawn(async move {
        if let Err(error) = saving.run().await {
            tracing::error!(%error, "background save failed");
        }
    });
    Ok(())
}

fn lastsave(_: &mut Session, state: &ServerState, _: &mut Args<'_>) -> CommandResult {
    let last_s = state.last_save_s.load(Ordering::Relaxed);
    Ok(Reply::Integer(i64::try_from(last_s).unwrap_or(i64::MAX)))
}

/// What `waiting` came to; `None` where the time (`None`: for ever) was up before.
async fn at_most<T>(left: Option<Duration>, waiting: impl Future<Output = T>) -> Option<T> {
    match left {
        Some(left) => tokio::time::timeout(left, waiting).await.ok(),
        None => Some(waiting.await),
    }
}

/// `CLIENT UNBLOCK` ends a wait like its timeout, or with an error.
fn unless_unblocked<T>(outcome: Result<Option<T>, Unblock>) -> Result<Option<T>, Error> {
    match outcome {
        Err(Unblock::Error) => {
            Err(Error::Text("UNBLOCKED client unblocked via CLIENT UNBLOCK".to_owned()))
        }
        Err(Unblock::Timeout) => Ok(None),
        Ok(done) => Ok(done),
    }
}

/// The time that is left of a timeout in milliseconds; `None` for 0, which never passes.
fn time_left(timeout: &[u8], state: &ServerState) -> Result<Option<Duration>, Error> {
    let now_ms = state.clock.unix_ms();
    let left = deadline_ms(timeout, now_ms)? - now_ms;
    Ok((left > 0).then(|| Duration::from_millis(left)))
}

fn wait<'a>(
    session: &'a mut Session,
    state: &'a Arc<ServerState>,
    words: &'a [Bytes],
) -> ServerFuture<'a> {
    Box::pin(async move {
        let mut args = Args::new(words, 1);
        let replicas = args.next_int()?;
        let left = time_left(args.next_bytes()?, state)?;
        if replicas > 0 && !session.denies_waiting {
            let waiting = at_most(left, std::future::pending::<()>());
            unless_unblocked(session.client.blocked_on(waiting).await)?;
        }
        Ok(Reply::Integer(0))
    })
}

fn waitaof<'a>(
    session: &'a mut Session,
    state: &'a Arc<ServerState>,
    words: &'a [Bytes],
) -> ServerFuture<'a> {
    Box::pin(async move {
        let mut args = Args::new(words, 1);
        let out_of_range = |why| Error::Text(format!("ERR value is out of range, {why}"));
        if !(0..=1).contains(&args.next_int()?) {
            return Err(out_of_range("value must between 0 and 1"));
        }
        let replicas = args.next_int().ok().filter(|replicas| *replicas >= 0);
        let replicas = replicas.ok_or_else(|| out_of_range("must be positive"))?;
        let left = time_left(args.next_bytes()?, state)?;
        if session.answers_at_once {
            // What came before is on disk where nothing is answered before that.
            let synced = state.config.load().appendfsync == AppendFsync::Always;
            return Ok(Reply::Array(vec![Reply::Integer(i64::from(synced)), Reply::Integer(0)]));
        }
        let mut synced = 0;
        let waits = !session.denies_waiting;
        let waiting = async {
            state.ask(Control::Sync).await?;
            synced = 1;
            if replicas > 0 && waits {
                std::future::pending::<()>().await;
            }
            Ok::<(), Error>(())
        };
        let outcome = session.client.blocked_on(at_most(left, waiting)).await;
        unless_unblocked(outcome)?.unwrap_or(Ok(()))?;
        Ok(Reply::Array(vec![Reply::Integer(synced), Reply::Integer(0)]))
    })
}

fn shutdown<'a>(
    session: &'a mut Session,
    state: &'a Arc<ServerState>,
    words: &'a [Bytes],
) -> ServerFuture<'a> {
    Box::pin(async move {
        let Some(request) = parse_shutdown(Args::new(words, 1))? else {
            return match state.shutdown.abort() {
                true => Ok(Reply::OK),
                false => Err(Error::Text("ERR No shutdown in progress.".to_owned())),
            };
        };
        if request.save != Some(false) {
            let threshold_ms = || state.config.load().busy_reply_threshold;
            let busy = state.scripts.runs.busy(&*state.clock, threshold_ms);
            busy.map_or(Ok(()), Err)?;
        }
        let mut phase = state.shutdown.subscribe();
        state.shutdown.request(request);
        let requested = |phase: &ShutdownPhase| matches!(phase, ShutdownPhase::Requested(_));
        let end = phase.wait_for(|phase| !requested(phase)).await.map(|phase| phase.clone());
        match end {
            Ok(ShutdownPhase::Running) => {
                Err(Error::Text("ERR Errors trying to SHUTDOWN. Check logs.".to_owned()))
            }
            // No reply: the end of the connection tells.
            _ => {
                session.close();
                Ok(Reply::Silent)
            }
        }
    })
}

/// `None` is `SHUTDOWN ABORT`.
fn parse_shutdown(mut args: Args<'_>) -> Result<Option<ShutdownRequest>, Error> {
    let mut request = ShutdownRequest::default();
    let mut abort = false;
    while !args.is_empty() {
        if args.eat("NOSAVE") && request.save.is_none() {
            request.save = Some(false);
        } else if args.eat("SAVE") && request.save.is_none() {
            request.save = Some(true);
        } else if args.eat("NOW") {
            request.now = true;
        } else if args.eat("FORCE") {
            request.force = true;
        } else if args.eat("ABORT") {
            abort = true;
        } else {
            return Err(Error::Syntax);
        }
    }
    if abort && request != ShutdownRequest::default() {
        return Err(Error::Syntax);
    }
    Ok(if abort { None } else { Some(request) })
}

#[cfg(test)]
mod tests;
