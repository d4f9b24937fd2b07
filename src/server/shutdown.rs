//! The way to the end: who asks for it, and how connections are brought to theirs.

use std::io;
use std::net::Shutdown;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::commands::{Client, Control, ServerState, ShutdownPhase, ShutdownRequest};

/// How often the number of connections is looked at while they end.
const POLL: Duration = Duration::from_millis(5);
/// A peer that has taken none of the replies that wait for it for so long is not waited for.
const STALLED_MS: u64 = 1000;
/// How long scripts that were ended may take to tell their clients.
const SCRIPTS_ANSWER_MAX: Duration = Duration::from_millis(100);
/// How long the flush of what was written during a shutdown may take.
const SAVE_REST_MAX: Duration = Duration::from_secs(10);
/// How long the writer may take for the last batch and the last sync at least.
const DRAIN_MIN: Duration = Duration::from_secs(5);
/// Exit status after a second signal, as shells report SIGINT.
const IMPATIENT_STATUS: i32 = 130;

/// Waits for SIGTERM, SIGINT or `SHUTDOWN`, and for the flush that `SHUTDOWN SAVE` asks for; the
/// shutdown cannot be aborted from then on.
///
/// # Errors
/// Where no thread can be started that receives signals.
pub(crate) async fn requested(state: &Arc<ServerState>) -> io::Result<ShutdownRequest> {
    let signalled = watch_signals(Arc::downgrade(state))?;
    let request = tokio::select! {
        Ok(()) = signalled => ShutdownRequest::default(),
        request = asked(state) => request,
    };
    state.shutdown.begin_closing();
    Ok(request)
}

/// Tells of the first signal; ends the process at the second one, and at one that comes while the
/// server closes, whatever its other threads do.
fn watch_signals(state: Weak<ServerState>) -> io::Result<oneshot::Receiver<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (tell, signalled) = oneshot::channel();
    let mut signals = {
        let _context = runtime.enter();
        Signals::new()
    };
    let watch = async move {
        signals.any().await;
        if state.upgrade().is_some_and(|state| !state.shutdown.is_closing()) {
            tracing::info!("signal received, shutting down; a second one exits at once");
            let _ = tell.send(());
            signals.any().await;
        }
        tracing::warn!(
            "exiting at once upon a further signal; everything acknowledged is in the log"
        );
        std::process::exit(IMPATIENT_STATUS);
    };
    let thread = std::thread::Builder::new().name("siltdb-signals".to_owned());
    thread.spawn(move || runtime.block_on(watch))?;
    Ok(signalled)
}

/// Has the end of the terminal ignored from now on, with a line in the log: who means to end the
/// server sends SIGTERM. Within the runtime only.
///
/// # Errors
/// Where the signal cannot be caught.
pub(crate) fn ignore_hangups() -> io::Result<()> {
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            tracing::info!("SIGHUP received and ignored; CONFIG SET changes settings at run time");
        }
    });
    Ok(())
}

/// Waits for a `SHUTDOWN` that was not taken back, nor given up because its flush failed.
async fn asked(state: &ServerState) -> ShutdownRequest {
    let mut phases = state.shutdown.subscribe();
    loop {
        let phase = phases.borrow_and_update().clone();
        if let ShutdownPhase::Requested(request) = phase {
            let goes_on = tokio::select! {
                biased;
                // Taken back, or replaced by another one.
                _ = phases.changed() => continue,
                goes_on = save(state, request) => goes_on,
            };
            if goes_on {
                return request;
            }
            state.shutdown.abort();
        } else if phases.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Flushes for `SHUTDOWN SAVE`; whether the shutdown goes on.
async fn save(state: &ServerState, request: ShutdownRequest) -> bool {
    if request.save != Some(true) {
        return true;
    }
    match state.ask(Control::Flush).await {
        Ok(()) => true,
        Err(error) if request.force => {
            tracing::warn!(%error, "the memtables could not be flushed; shutting down all the same");
            true
        }
        Err(error) => {
            tracing::error!(%error, "the memtables could not be flushed; not shutting down");
            false
        }
    }
}

/// Flushes what was written since [`save`], for a limited time: the log has it in any case.
pub(crate) async fn save_rest(state: &ServerState, request: ShutdownRequest) {
    if request.save != Some(true) {
        return;
    }
    match tokio::time::timeout(SAVE_REST_MAX, state.ask(Control::Flush)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the last flush failed; the log has everything"),
        Err(_) => tracing::warn!("the last flush took too long; the log has everything"),
    }
}

/// Lets running commands and scripts and their replies finish, for at most `shutdown-timeout` seconds,
/// then ends them. What waits for a time or an event is not waited for longer than that either; a client that
/// does not read what it was answered, for a second only. A script that keeps the server busy has its end with
/// `SHUTDOWN NOSAVE`, which is the way to that.
pub(crate) async fn drain_connections(state: &ServerState, request: ShutdownRequest) {
    let settings = state.config.load();
    let threshold_ms = || settings.busy_reply_threshold;
    let is_busy = state.scripts.runs.busy(&*state.clock, threshold_ms).is_some();
    if request.now || request.save == Some(false) && is_busy {
        state.scripts.runs.end();
    }
    let how = if request.now { Shutdown::Both } else { Shutdown::Read };
    for client in state.clients.all() {
        client.end(how);
    }
    if !request.now {
        await_clients(state, Duration::from_secs(settings.shutdown_timeout)).await;
        state.scripts.runs.end();
        await_clients(state, SCRIPTS_ANSWER_MAX).await;
    }
    for client in state.clients.all() {
        tracing::info!(client = client.id, "ended, a command was still running");
        client.end(Shutdown::Both);
    }
    state.shutdown.end_time();
}

/// Waits until all connections have ended, but for those whose peers do not read, for at most `patience`.
async fn await_clients(state: &ServerState, patience: Duration) {
    let deadline = tokio::time::Instant::now() + patience;
    while tokio::time::Instant::now() < deadline {
        let now_ms = state.clock.unix_ms();
        if state.clients.all().iter().all(|client| has_stalled(client, now_ms)) {
            return;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Whether replies wait for the peer of this client, which has taken nothing for [`STALLED_MS`].
fn has_stalled(client: &Client, now_ms: u64) -> bool {
    client.output_bytes.load(Ordering::Relaxed) > 0 && client.idle_ms(now_ms) >= STALLED_MS
}

/// How long the writer may take for the last batch and the last sync: `shutdown-timeout`, but no less
/// than [`DRAIN_MIN`].
pub(crate) fn drain_patience(state: &ServerState) -> Duration {
    Duration::from_secs(state.config.load().shutdown_timeout).max(DRAIN_MIN)
}

/// Lets the writer write and sync what it has, for at most `patience`.
///
/// # Errors
/// Where the disk takes longer, or the writer has failed. What `appendfsync always` has acknowledged
/// is durable all the same.
pub(crate) async fn drain_writer(writer: JoinHandle<()>, patience: Duration) -> io::Result<()> {
    let abort = writer.abort_handle();
    match tokio::time::timeout(patience, writer).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(io::Error::other(format!("the writer task failed: {error}"))),
        Err(_) => {
            abort.abort();
            Err(io::Error::other("the disk did not take the rest of the log in time"))
        }
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

impl Signals {
    fn new() -> Self {
        Self {
            terminate: signal(SignalKind::terminate()).ok(),
            interrupt: signal(SignalKind::interrupt()).ok(),
        }
    }

    async fn any(&mut self) {
        tokio::select! {
            () = next(&mut self.terminate) => {}
            () = next(&mut self.interrupt) => {}
        }
    }
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
