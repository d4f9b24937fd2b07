//! What takes long: programs, and calls that change a great deal. It runs on a thread of its own, over
//! what is published. Until its end the writer takes no message, but goes on with the log, and
//! everybody reads.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::chain::Chain;
use super::group::Group;
use super::made::{Failed, Made, make};
use super::program::{LongRun, Running, run_long};
use super::writer::{WriterTask, must_ask_again};
use crate::commands::{Answer, Error, Flags, ServerState};
use crate::data::{Context, EXPIRY_LAG_MS, Edit};
use crate::engine::{self, ReadMode, Txn};

/// Stack of the thread.
const STACK_BYTES: usize = 16 << 20;

/// Expiries that are older than this when they are published may be passed over by walks of their index:
/// the rest of the lag is for the log.
const VERY_LONG_NS: u64 = EXPIRY_LAG_MS * 1_000_000 * 2 / 5;

/// What runs on a thread, or will.
pub(super) enum Long {
    /// It begins as soon as everything before it is published.
    Waits(Work),
    /// It runs.
    Runs(oneshot::Receiver<Ended>, Run),
}

/// What is known of it while it runs.
pub(super) struct Run {
    /// In monotonic nanoseconds.
    since_ns: u64,
    what: &'static str,
    chain: Option<Chain>,
}

/// What is to be run, and who waits for it.
pub(super) enum Work {
    /// A program.
    Program(Box<Running>, oneshot::Sender<Box<Running>>),
    /// The next call of a group.
    Call(Box<Group>, oneshot::Sender<Box<Group>>),
}

/// What has come to its end on its thread.
pub(super) enum Ended {
    /// A program.
    Program(Box<LongRun>, oneshot::Sender<Box<Running>>),
    /// A call, what it has made, and how long it ran, in nanoseconds.
    Call(Box<Group>, oneshot::Sender<Box<Group>>, Box<Result<Made, Error>>, u64),
}

impl WriterTask {
    /// Starts what waits for what was written before it, if that is published.
    pub(super) fn start_long(&mut self) {
        if self.state.shutdown.is_time_up() {
            self.give_up_long();
        }
        if !self.is_idle() {
            return;
        }
        match self.long.take() {
            Some(Long::Waits(work)) => {
                let (end, ended) = oneshot::channel();
                let state = Arc::clone(&self.state);
                let notes = !self.waiters.is_empty();
                let (what, chain) = (work.what(), work.chain());
                let name = match &work {
                    Work::Program(..) => "siltdb-script",
                    Work::Call(..) => "siltdb-long",
                };
                let thread =
                    std::thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
                // Where there is no thread the channel is closed, which tells.
                drop(thread.spawn(move || drop(end.send(work.run(&state, notes)))));
                let since_ns = self.state.clock.monotonic_ns();
                self.long = Some(Long::Runs(ended, Run { since_ns, what, chain }));
            }
            other => self.long = other,
        }
    }

    /// Gives up what runs on a thread, or is to: the server ends, and its time is up. Nobody is answered,
    /// nothing of it is written, and what its client has sent behind it does not run. The thread ends
    /// with the process.
    pub(super) fn give_up_long(&mut self) {
        let (what, chain, since_ns) = match self.long.take() {
            None => return,
            Some(Long::Waits(work)) => (work.what(), work.chain(), None),
            Some(Long::Runs(_, run)) => (run.what, run.chain, Some(run.since_ns)),
        };
        let elapsed_ns = since_ns.map_or(0, |since_ns| self.state.clock.monotonic_ns() - since_ns);
        tracing::warn!(
            running_ms = elapsed_ns / 1_000_000,
            "given up by the shutdown: {what} was not done in time; it has no effect, and nobody was \
             told that it has"
        );
        chain.iter().for_each(Chain::sever);
    }

    /// Takes over what has come to its end on its thread.
    pub(super) fn end_long(&mut self, ended: Result<Ended, oneshot::error::RecvError>) {
        let Some(Long::Runs(_, run)) = self.long.take() else { return };
        if self.state.clock.monotonic_ns() - run.since_ns > VERY_LONG_NS {
            self.expires_anew = true;
        }
        match ended {
            // Nobody answers: the connection ends, and nothing behind it may run.
            Err(_) => {
                tracing::error!("the thread of a long command or script has failed");
                run.chain.iter().for_each(Chain::sever);
            }
            Ok(Ended::Program(run, answer)) => self.end_long_program(*run, answer),
            Ok(Ended::Call(mut group, answer, made, elapsed_ns)) => {
                match (*made).and_then(|made| self.still_writable(&group).map(|()| made)) {
                    Err(Error::Engine(engine::Error::WouldBlock)) => {
                        group.blocked = true;
                        group.note_undone(elapsed_ns);
                    }
                    made => {
                        self.conclude(&mut group, made, elapsed_ns);
                        group.mode = ReadMode::Resident;
                        // Meanwhile the client may have been closed, or its user changed.
                        if !group.is_held_up() && !must_ask_again(&self.state, &group) {
                            self.run_group(&mut group);
                        }
                    }
                }
                self.answer_group(group, answer);
            }
        }
    }

    /// Whether writes are still taken.
    fn still_writable(&self, group: &Group) -> Result<(), Error> {
        let frees = group.next_call().is_some_and(|call| call.command.flags.has(Flags::FREES));
        let begun = if frees {
            self.writer.begin_freeing(ReadMode::Resident)
        } else {
            self.writer.begin(ReadMode::Resident)
        };
        // What an attempt that was dropped has left behind of orders goes.
        let edit = begun.and_then(|txn| Edit::new(txn, self.state.context(group.db, false)));
        edit.map(drop).map_err(Error::Engine)
    }
}

/// Waits for what runs on a thread; for ever where nothing does.
pub(super) async fn long_ended(
    long: &mut Option<Long>,
) -> Result<Ended, oneshot::error::RecvError> {
    match long {
        Some(Long::Runs(ended, _)) => ended.await,
        _ => std::future::pending().await,
    }
}

impl Work {
    /// What it is, for the log.
    fn what(&self) -> &'static str {
        match self {
            Self::Program(..) => "a script or transaction",
            Self::Call(group, _) => {
                group.next_call().map_or("a command", |call| call.command.spec.name)
            }
        }
    }

    /// What it must not overtake, and what must not overtake it.
    fn chain(&self) -> Option<Chain> {
        match self {
            Self::Program(running, _) => running.chain().cloned(),
            Self::Call(group, _) => group.chain.clone(),
        }
    }

    fn run(self, state: &Arc<ServerState>, notes: bool) -> Ended {
        match self {
            Self::Program(running, answer) => {
                Ended::Program(Box::new(run_long(state, running, notes)), answer)
            }
            Self::Call(group, answer) => {
                let started_ns = state.clock.monotonic_ns();
                let made = make_long(state, &group, notes);
                state.access.settle();
                let elapsed_ns = state.clock.monotonic_ns() - started_ns;
                Ended::Call(group, answer, Box::new(made), elapsed_ns)
            }
        }
    }
}

/// Runs the next call of the group over what is published, for as long as it takes. It waits for the
/// disk only where warming did not help.
fn make_long(state: &ServerState, group: &Group, notes: bool) -> Result<Made, Error> {
    let call = group.next_call().ok_or(engine::Error::Closed)?;
    let snapshot = state.engine()?.snapshot(group.mode).without_bound();
    let txn = Txn::new(&snapshot, snapshot.seq() + 1);
    let context: Context<'_> = state.context(group.db, !group.no_touch);
    make(txn, context, call, Answer::gathered(&state.memory), notes).map_err(
        |failed| match failed {
            Failed::TakesLong => Error::Engine(engine::Error::WouldBlock),
            Failed::With(error) => error,
        },
    )
}
