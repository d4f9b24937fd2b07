//! Messages of one pipeline that are under way to the writer together.
//!
//! A connection does not wait for the end of one message before it sends the next: consecutive
//! groups and programs travel behind one another, and one sync serves all of them. They run in their
//! order or not at all: where one has to be sent again, because it would have waited on the disk, the
//! chain is *broken*, and what comes behind it in the same chain is returned as it is. Their replies
//! are taken in order as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::buffers;
use super::dispatch::Dispatcher;
use super::group::{Call, Group};
use super::output::Output;
use super::program::Running;
use crate::commands::{Client, CommandResult, Flags, Run};

/// Messages of a chain.
const MESSAGES_MAX: usize = 256;
/// Bytes of the requests of a chain, beyond which nothing is added.
const BYTES_MAX: usize = 4 << 20;

/// Bytes of the replies of a chain that wait to be taken, beyond which nothing more of it runs.
const REPLY_BYTES_MAX: usize = 16 << 20;

/// What the messages of a chain share.
#[derive(Debug, Clone)]
pub(crate) struct Chain(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Whose messages these are.
    client: Arc<Client>,
    is_broken: AtomicBool,
    reply_bytes: AtomicUsize,
}

impl Chain {
    /// Nothing behind the message that says this may run.
    pub(super) fn sever(&self) {
        // Only the writer reads it while messages are under way.
        self.0.is_broken.store(true, Ordering::Relaxed);
    }

    /// A message has answered so many bytes; where all together are many, the others wait until
    /// these are taken.
    pub(super) fn answered(&self, bytes: usize) {
        let before = self.0.reply_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) >= REPLY_BYTES_MAX {
            self.sever();
        }
    }

    /// Whether a message before has to be sent again, or the client was closed: what it had sent and
    /// has not begun does not run any more.
    pub(super) fn is_broken(&self) -> bool {
        self.0.is_broken.load(Ordering::Relaxed) || self.0.client.is_killed()
    }

    /// A new chain begins; no message of the old one is under way.
    fn mend(&self) {
        self.0.is_broken.store(false, Ordering::Relaxed);
        self.0.reply_bytes.store(0, Ordering::Relaxed);
    }
}

/// What is answered in its turn.
enum InFlight {
    /// The reply of a call that ran beside the writer.
    Reply(CommandResult),
    /// A group.
    Group(oneshot::Receiver<Box<Group>>),
    /// A program, and the call that made it.
    Program(Box<Call>, oneshot::Receiver<Box<Running>>),
}

/// The messages under way, oldest first.
pub(crate) struct UnderWay {
    /// In place where it is one, as without a pipeline.
    items: SmallVec<[InFlight; 1]>,
    bytes: usize,
    chain: Chain,
}

impl UnderWay {
    /// Nothing of this client's is under way.
    pub(crate) fn new(client: &Arc<Client>) -> Self {
        let shared = Shared {
            client: Arc::clone(client),
            is_broken: AtomicBool::new(false),
            reply_bytes: AtomicUsize::new(0),
        };
        Self { items: SmallVec::new(), bytes: 0, chain: Chain(Arc::new(shared)) }
    }

    /// Whether nothing is.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The chain of a further message.
    pub(super) fn chain(&self) -> Chain {
        self.chain.clone()
    }

    /// Adds a group that was sent.
    pub(super) fn add_group(&mut self, bytes: usize, answered: oneshot::Receiver<Box<Group>>) {
        self.bytes += bytes;
        self.items.push(InFlight::Group(answered));
    }

    /// Adds a program that was sent.
    pub(super) fn add_program(&mut self, call: Call, answered: oneshot::Receiver<Box<Running>>) {
        self.bytes += call.request.wire_len;
        self.items.push(InFlight::Program(Box::new(call), answered));
    }

    /// Adds a reply behind them.
    pub(super) fn add_reply(&mut self, result: CommandResult) {
        self.items.push(InFlight::Reply(result));
    }

    fn is_long(&self) -> bool {
        self.items.len() >= MESSAGES_MAX || self.bytes >= BYTES_MAX
    }
}

impl Dispatcher {
    /// Whether a call may go behind the messages that are under way: it goes to the writer as well, or
    /// has nothing to do with them.
    pub(super) fn joins(&self, call: &Call) -> bool {
        let flags = call.command.flags;
        // What is told to a client that keeps copies has its place among the replies.
        let counts_replies = self.session.tracking.is_some();
        if self.under_way.is_long() || self.state.pause.is_set() || counts_replies {
            return false;
        }
        if self.session.queue.is_some() && !flags.has(Flags::NOT_QUEUED) {
            return true;
        }
        match call.command.spec.run {
            Run::Write(_) | Run::Program(_) => true,
            Run::Read(_) => !super::dispatch::is_heavy(call.command, &call.request),
            _ => flags.has(Flags::JOINS),
        }
    }

    /// Waits for everything that is under way and answers it.
    ///
    /// # Errors
    /// Where the peer is gone.
    pub(super) async fn settle(&mut self, output: &mut Output) -> std::io::Result<()> {
        if self.under_way.is_empty() {
            return Ok(());
        }
        self.last_ended_ns = None;
        self.has_waited = true;
        buffers::put(std::mem::take(&mut self.idle_input));
        let items = std::mem::take(&mut self.under_way.items);
        self.under_way.bytes = 0;
        for item in items {
            let went_on = match item {
                InFlight::Reply(result) => {
                    self.reply(output, result, true);
                    true
                }
                InFlight::Group(answered) => match answered.await {
                    Ok(group) => self.finish_group(group, output).await?,
                    Err(_) => false,
                },
                InFlight::Program(call, answered) => match answered.await {
                    Ok(running) => Box::pin(self.finish_program(&call, running, output)).await,
                    Err(_) => false,
                },
            };
            if !went_on {
                // The server is ending, and so does the conversation.
                self.session.close();
                break;
            }
            self.flush_large(output).await?;
        }
        self.under_way.chain.mend();
        Ok(())
    }
}
