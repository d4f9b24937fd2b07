//! Consecutive writes of one pipeline, and the cheap reads between them: one message to the writer.

use super::chain::Chain;
use super::dispatch::may_write;
use crate::commands::table::Command;
use crate::commands::tracking::Cause;
use crate::commands::{Answer, Args, CommandResult, Error, Prepared, Session};
use crate::engine::ReadMode;
use crate::protocol::{Reply, Request};

/// One call of a command.
#[derive(Debug)]
pub(crate) struct Call {
    /// What is called.
    pub(crate) command: &'static Command,
    /// With which words.
    pub(crate) request: Request,
    /// What was done for it before its transaction.
    pub(crate) prepared: Option<Box<Prepared>>,
    /// How long it has run without an end, in nanoseconds: prepared, warmed, or undone.
    pub(crate) spent_ns: u64,
}

impl Call {
    /// A call of these words.
    pub(crate) fn new(command: &'static Command, request: Request) -> Self {
        Self { command, request, prepared: None, spent_ns: 0 }
    }

    /// The arguments, behind the words of the name, for a call that answers so.
    pub(crate) fn args<'a>(&'a self, answer: Answer<'a>) -> Args<'a> {
        Args::new(&self.request.args, self.command.name_words).answering(answer)
    }
}

/// The end of a call.
#[derive(Debug)]
pub(crate) struct Done {
    /// What it answers.
    pub(crate) result: CommandResult,
    /// How long the handler ran, in nanoseconds.
    pub(crate) elapsed_ns: u64,
}

/// The message. It travels to the writer and back, so that its vectors are used again.
#[derive(Debug)]
pub(crate) struct Group {
    /// Selected database of the connection.
    pub(crate) db: u16,
    /// `CLIENT NO-TOUCH`.
    pub(crate) no_touch: bool,
    /// Who calls, and the number of the reply to the first call.
    pub(crate) first: Cause,
    /// The version of the users by which the calls were allowed.
    pub(crate) users_version: u64,
    /// Whether the client is remembered with what the first call reads, and the others.
    pub(crate) remembers: [bool; 2],
    /// How far the writer may go for a block; resident unless warming has failed repeatedly.
    pub(crate) mode: ReadMode,
    /// What is to be run, in order.
    pub(crate) calls: Vec<Call>,
    /// What has been run: the first `done.len()` of `calls`.
    pub(crate) done: Vec<Done>,
    /// Whether the next call would have had to wait on the disk (else the group has stopped early
    /// because it grew large, and simply goes on).
    pub(crate) blocked: bool,
    /// Whether the next call is to be run on a thread of its own.
    pub(crate) takes_long: bool,
    /// Bytes of the arguments, for the limit on what one message holds.
    pub(crate) bytes: usize,
    /// What it must not overtake.
    pub(crate) chain: Option<Chain>,
}

impl Group {
    /// Calls of one message.
    pub(crate) const CALLS_MAX: usize = 512;
    /// Bytes of the arguments of one message, beyond which no further call is added.
    pub(crate) const BYTES_MAX: usize = 1 << 20;

    /// An empty message of a connection for about `calls` calls.
    pub(crate) fn new(session: &Session, calls: usize) -> Self {
        let calls = calls.min(Self::CALLS_MAX);
        Self {
            db: session.db,
            no_touch: session.no_touch,
            first: Cause { client: session.client.id, reply: 0 },
            users_version: session.users_version(),
            remembers: [false; 2],
            mode: ReadMode::Resident,
            calls: Vec::with_capacity(calls),
            done: Vec::with_capacity(calls),
            blocked: false,
            takes_long: false,
            bytes: 0,
            chain: None,
        }
    }

    /// The connection stands before the reply to the first call.
    pub(crate) fn stands_at(&mut self, session: &Session) {
        self.first.reply = session.replies + 1;
        self.users_version = session.users_version();
        let tracker = session.tracking.as_ref();
        self.remembers = [session.caching, false]
            .map(|caching| tracker.is_some_and(|tracker| tracker.remembers(caching)));
    }

    /// Who makes the next call to be run, and whether the client is remembered with what it reads.
    pub(crate) fn next_cause(&self) -> (Cause, bool) {
        let [first, others] = self.remembers;
        let number = self.done.len() as u64;
        let cause = Cause { reply: self.first.reply + number, ..self.first };
        (cause, if number == 0 { first } else { others })
    }

    /// The call that is run next.
    pub(crate) fn next_call(&self) -> Option<&Call> {
        self.calls.get(self.done.len())
    }

    /// The next call to be run has run for so many nanoseconds, and nothing of that holds.
    pub(crate) fn note_undone(&mut self, ns: u64) {
        if let Some(call) = self.calls.get_mut(self.done.len()) {
            call.spent_ns += ns;
        }
    }

    /// Whether a further call still fits.
    pub(crate) fn has_room(&self) -> bool {
        self.calls.len() < Self::CALLS_MAX && self.bytes < Self::BYTES_MAX
    }

    /// Adds a call.
    pub(crate) fn push(&mut self, call: Call) {
        self.bytes += call.request.wire_len;
        self.calls.push(call);
    }

    /// Whether `CLIENT PAUSE WRITE` holds one of its calls back.
    pub(crate) fn may_write(&self) -> bool {
        self.calls.iter().any(|call| may_write(call.command))
    }

    /// Whether a message before it has to be sent again, so that it must not run.
    pub(crate) fn is_held_up(&self) -> bool {
        self.chain.as_ref().is_some_and(Chain::is_broken)
    }

    /// Lets nothing behind it run where it has not come to its end, or where replies are many by now.
    pub(crate) fn hold_up_others(&self) {
        let Some(chain) = &self.chain else { return };
        if self.done.len() < self.calls.len() {
            chain.sever();
        }
        chain.answered(
            self.done.iter().filter_map(|done| done.result.as_ref().ok()).map(Reply::weight).sum(),
        );
    }

    /// Nothing of what the group wrote holds: every call answers `error`.
    pub(crate) fn fail(&mut self, error: &Error) {
        self.done.clear();
        let failed = || Done { result: Err(error.clone()), elapsed_ns: 0 };
        self.done.extend(self.calls.iter().map(|_| failed()));
    }
}
