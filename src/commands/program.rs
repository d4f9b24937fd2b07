//! Several calls as one: what `EXEC` and scripts share.
//!
//! A [`Program`] makes calls through [`Calls`], over one transaction of the writer or, where it only
//! reads, over one view. Each call is a transaction of its own on top of that: what a failing call
//! has changed is dropped, what the others have changed becomes one transaction of the engine.
//!
//! A run may meet something that would wait on the disk. Then all of it is dropped, what it needs is
//! read in a dry run elsewhere, and it runs again. So nothing a run does may have an effect outside of
//! its `Calls` before its end; what cannot be taken back waits for the run that cannot be stopped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::acl::{Context as DeniedIn, Denial};
use super::gates::{self, Refusal};
use super::table::Command;
use super::tracking::{Noted, Trail};
use super::{
    Answer, Args, Attempt, CommandResult, Error, Flags, Message, ProgramHandler, Run,
    ServerHandler, ServerState, Session, event_messages,
};
use crate::data::{Context, Edit, EditOutcome, Event, EventClasses, ReadOutcome, Ready, View};
use crate::engine::{self, Changes, Read, Txn, Writer};
use crate::env::{OwnedRoom, Purpose};
use crate::protocol::{Reply, Version};

/// Calls of a run that are kept one by one for the statistics; a script may make any number.
const RAN_MAX: usize = 16 << 10;
/// Codes of errors that are told apart in a run.
const ERROR_CODES_MAX: usize = 1000;

/// Refusals of a run that are told apart.
const DENIALS_MAX: usize = 128;

/// Several calls that run as one.
pub trait Program: Send {
    /// Makes the calls, and answers the reply of all. May be run several times, with all changes
    /// undone between: it must start from the beginning then.
    fn run(&mut self, calls: &mut Calls<'_>) -> CommandResult;

    /// Whether it may change data; what may not runs over a view and never goes to the writer.
    fn may_write(&self) -> bool;

    /// Whether `CLIENT PAUSE WRITE` holds it back.
    fn is_held_by_pause(&self) -> bool {
        self.may_write()
    }

    /// Whether part of it has run: then no pause holds the rest back, least of all its own.
    fn has_begun(&self) -> bool {
        false
    }

    /// Whether it takes so long that others must not wait for it, where it only reads.
    fn is_heavy(&self) -> bool {
        false
    }

    /// Whether what its calls do to the session (`SELECT`, `CLIENT REPLY`) stays behind it.
    fn keeps_session(&self) -> bool {
        false
    }

    /// A call that no transaction can make, because it is asynchronous. What ran so far is committed
    /// by then; the program runs on behind it, in a further transaction, once it has got the
    /// reply through [`Program::resume`].
    fn outside(&mut self) -> Option<(&'static Command, Vec<Bytes>)> {
        None
    }

    /// Takes the reply of the call of [`Program::outside`].
    fn resume(&mut self, _reply: Reply) {}
}

/// How a run may go about what it cannot take back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// It ends where a read would wait on the disk, and runs again later.
    Resident,
    /// It waits for every read; its end is final.
    Final,
    /// It waits for every read, and nothing comes of it.
    Dry,
}

/// Why a run has to be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// A read would have waited on the disk.
    WouldBlock,
    /// A call cannot be taken back: it waits for the run that is final.
    NeedsFinal,
    /// It takes longer than it may here.
    Time,
}

/// A call that ran, for the statistics.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) command: &'static Command,
    pub(crate) elapsed_ns: u64,
    /// The text of its error.
    pub(crate) error: Option<Box<str>>,
    /// Its words, where it was slow or somebody monitors.
    pub(crate) words: Option<Box<[Bytes]>>,
    /// The database of the call.
    pub(crate) db: u16,
    /// Whether a script has made it.
    pub(crate) in_script: bool,
}

/// Calls of one command, in sum.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) calls: u64,
    pub(crate) failed: u64,
    pub(crate) rejected: u64,
    pub(crate) elapsed_ns: u64,
}

/// What a run has gathered beside its changes. It takes effect when these are committed.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// What the calls have done, in sum.
    pub(crate) edit: EditOutcome,
    /// The places that others may wait for.
    pub(crate) ready: Vec<Ready>,
    /// The calls, in order.
    pub(crate) ran: Vec<Ran>,
    /// Calls by the id of their command, where they are so many that each alone would fill the
    /// memory, and refused ones.
    pub(crate) sums: BTreeMap<u16, Sum>,
    /// How often an error of a code was met in these.
    pub(crate) errors: BTreeMap<Box<str>, u64>,
    /// What the user may not do, and how often it was met; as many as the log looks through.
    pub(crate) denials: Vec<(Denial, u64)>,
    /// What was published, and what is told of keys, in order.
    pub(crate) messages: Vec<Message>,
    /// What was read for a client that keeps copies, and what was modified.
    pub(crate) trail: Trail,
    /// What a view has found out, by database.
    pub(crate) reads: Vec<(u16, ReadOutcome)>,
}

impl Gathered {
    fn deny(&mut self, denial: Denial) {
        if let Some((_, times)) = self.denials.iter_mut().find(|(known, _)| *known == denial) {
            *times += 1;
        } else if self.denials.len() < DENIALS_MAX {
            self.denials.push((denial, 1));
        }
    }

    fn count_error(&mut self, text: &str) {
        let code = text.split(' ').next().unwrap_or_default();
        if let Some(count) = self.errors.get_mut(code) {
            *count += 1;
        } else if self.errors.len() < ERROR_CODES_MAX {
            self.errors.insert(code.into(), 1);
        }
    }
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) changes: Changes,
    pub(crate) gathered: Gathered,
    pub(crate) session: Session,
    /// Why it has to be made again; then nothing of the above counts.
    pub(crate) stopped: Option<Stopped>,
}

/// What the calls stand on.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, on the stack")]
enum Ground<'a> {
    /// A transaction.
    Txn(Txn<'a>),
    /// A view; every change is refused.
    View(&'a dyn Read),
}

/// What a program makes its calls through.
pub struct Calls<'a> {
    state: Arc<ServerState>,
    ground: Ground<'a>,
    pace: Pace,
    session: Session,
    now_ms: u64,
    /// Whether to note what others may wait for.
    notes_ready: bool,
    /// When a script has to be at its end here, in monotonic nanoseconds.
    deadline_ns: Option<u64>,
    /// Whether the changes are dropped in the end.
    undone: bool,
    /// Whether a script makes the calls.
    in_script: bool,
    stopped: Option<Stopped>,
    gathered: Gathered,
    replies: OwnedRoom,
}

impl<'a> Calls<'a> {
    /// Calls over a transaction. `session` is [`Session::for_program`] of who runs it; `notes_ready`
    /// asks for what others may wait for.
    pub(crate) fn over_txn(
        state: &Arc<ServerState>,
        txn: Txn<'a>,
        session: Session,
        pace: Pace,
        notes_ready: bool,
    ) -> Self {
        Self::new(state, Ground::Txn(txn), session, pace, notes_ready)
    }

    /// Calls over a view, none of which changes anything.
    pub(crate) fn over_view(
        state: &Arc<ServerState>,
        view: &'a dyn Read,
        session: Session,
        pace: Pace,
    ) -> Self {
        Self::new(state, Ground::View(view), session, pace, false)
    }

    fn new(
        state: &Arc<ServerState>,
        ground: Ground<'a>,
        mut session: Session,
        pace: Pace,
        notes_ready: bool,
    ) -> Self {
        let now_us = state.clock.unix_us();
        session.stands_at_us = Some(now_us);
        Self {
            now_ms: now_us / 1000,
            state: Arc::clone(state),
            ground,
            pace,
            session,
            notes_ready,
            deadline_ns: None,
            undone: false,
            in_script: false,
            stopped: None,
            gathered: Gathered::default(),
            replies: OwnedRoom::new(Arc::clone(&state.memory), Purpose::Reply),
        }
    }

    /// Scripts end the run where they take longer than `limit` from now.
    pub(crate) fn limit_time(&mut self, limit: Duration) {
        let limit_ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        self.deadline_ns = Some(self.state.clock.monotonic_ns().saturating_add(limit_ns));
    }

    /// Says that a script makes the calls from now on, or that it is at its end.
    pub(crate) fn set_in_script(&mut self, in_script: bool) {
        self.in_script = in_script;
    }

    /// When a script has to be at its end here, in monotonic nanoseconds.
    pub(crate) fn deadline_ns(&self) -> Option<u64> {
        self.deadline_ns
    }

    /// Ends the run because a script is not at its end in time.
    pub(crate) fn stop_for_time(&mut self) {
        self.stopped.get_or_insert(Stopped::Time);
    }

    /// Whether these are the calls of a transaction that will be committed.
    pub(crate) fn is_on_writer(&self) -> bool {
        matches!(self.ground, Ground::Txn(_)) && self.pace != Pace::Dry
    }

    /// Whether nothing else is written until the end of the run, however long that takes.
    pub(crate) fn holds_writer(&self) -> bool {
        self.is_on_writer() && self.deadline_ns.is_none()
    }

    /// Nothing of what is changed holds.
    pub(crate) fn undo(&mut self) {
        self.undone = true;
    }

    /// The server.
    #[must_use]
    pub fn state(&self) -> &Arc<ServerState> {
        &self.state
    }

    /// Who calls: the selected database, the protocol version. Ends with the run unless the program
    /// keeps it.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// The selected database.
    #[must_use]
    pub fn db(&self) -> u16 {
        self.session.db
    }

    /// The protocol version that the calls answer in.
    #[must_use]
    pub fn version(&self) -> Version {
        self.session.version
    }

    /// The time of all calls, in Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Whether the run has to be made again. Every further call fails at once; the program should
    /// come to its end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Whether nothing comes of this run.
    #[must_use]
    pub fn is_dry(&self) -> bool {
        self.pace == Pace::Dry
    }

    /// Whether anything was changed so far.
    #[must_use]
    pub fn has_written(&self) -> bool {
        matches!(&self.ground, Ground::Txn(txn) if !txn.is_empty())
    }

    /// The messages that calls have published so far; they are sent when the run is committed.
    pub fn messages(&mut self) -> &mut Vec<Message> {
        self.session.held_messages.get_or_insert_default()
    }

    /// Reads from what the calls stand on.
    ///
    /// # Errors
    /// As the read; where that would wait on the disk the run ends.
    pub fn look<T>(
        &mut self,
        read: impl FnOnce(&dyn Read) -> engine::Result<T>,
    ) -> Result<T, Error> {
        let found = match &self.ground {
            Ground::Txn(txn) => read(txn),
            Ground::View(view) => read(*view),
        };
        found.map_err(|error| self.noted(Error::Engine(error)))
    }

    /// The command of a call that a script makes, where that is allowed; a refusal is counted.
    ///
    /// # Errors
    /// With Redis's text.
    pub fn find_for_script(
        &mut self,
        words: &[Bytes],
        may_write: bool,
    ) -> Result<&'static Command, Error> {
        let may_write = may_write && matches!(self.ground, Ground::Txn(_));
        self.session.follow_users(&self.state.users);
        let user = self.session.user();
        gates::pass_in_script(&self.state, user, words, may_write).map_err(|refusal| {
            let Refusal { error, command, denied } = refusal;
            if let Some((denied, command)) = denied.zip(command) {
                self.gathered.deny(Denial::of(denied, DeniedIn::Lua, user, command, words));
            }
            if let Some(command) = command {
                self.gathered.sums.entry(command.id).or_default().rejected += 1;
            }
            self.gathered.count_error(&error.to_string());
            error
        })
    }

    /// Whether the user may still make a call that was queued.
    ///
    /// # Errors
    /// With Redis's text, where it may not; that is counted.
    pub fn check_queued(
        &mut self,
        command: &'static Command,
        words: &[Bytes],
    ) -> Result<(), Error> {
        self.session.follow_users(&self.state.users);
        let user = self.session.user();
        user.check(command, words).map_err(|denied| {
            self.gathered.deny(Denial::of(denied, DeniedIn::Multi, user, command, words));
            let text = format!(
                "NOPERM ACLs rules changed between the moment the transaction was accumulated and \
                 the EXEC call. This command is no longer allowed for the following reason: {}",
                denied.text_at_exec()
            );
            self.gathered.count_error(&text);
            Error::Text(text)
        })
    }

    /// Whether the user of a script may make a call.
    #[must_use]
    pub fn may_call(&self, command: &Command, words: &[Bytes]) -> bool {
        self.session.user().check(command, words).is_ok()
    }

    /// Makes one call, whose words have the right number. What it has changed is dropped where it
    /// fails. A command that may wait for keys does not wait.
    ///
    /// # Errors
    /// As the command; with `WouldBlock` where the run has ended.
    pub fn call(&mut self, command: &'static Command, words: &[Bytes]) -> CommandResult {
        if self.stopped.is_some() {
            return Err(Error::Engine(engine::Error::WouldBlock));
        }
        let started_ns = self.state.clock.monotonic_ns();
        let claimed = self.claim_trail(command, words)?;
        let result = self.run(command, words).map_err(|error| self.noted(error));
        let before = self.gathered.trail.bytes();
        if self.session.remembered().is_some() {
            let db = self.session.db;
            for key in command.keys_read(words) {
                self.gathered.trail.note(Noted::Read(db, key.clone()));
            }
        }
        if claimed > 0 {
            let noted = self.gathered.trail.bytes() - before;
            self.replies.give_back(claimed.saturating_sub(noted));
        }
        let result = self.bounded(result);
        if self.stopped.is_none() {
            let elapsed_ns = self.state.clock.monotonic_ns() - started_ns;
            self.note_ran(command, words, elapsed_ns, &result);
        }
        result
    }

    /// Changes the store as part of the program; nothing of it stays where it fails.
    ///
    /// # Errors
    /// As the change; where that would wait on the disk the run ends.
    pub(crate) fn change<T>(
        &mut self,
        run: impl FnOnce(&mut Edit<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.edit(run).map_err(|error| self.noted(error))
    }

    /// Ends the run.
    pub(crate) fn finish(self) -> Ended {
        let changes = match self.ground {
            Ground::Txn(txn) if !self.undone => txn.into_changes(),
            _ => Changes::default(),
        };
        let Self { mut gathered, mut session, stopped, .. } = self;
        session.stands_at_us = None;
        gathered.messages = session.held_messages.take().unwrap_or_default();
        session.held_denials.drain(..).for_each(|denial| gathered.deny(denial));
        Ended { changes, gathered, session, stopped }
    }

    fn run(&mut self, command: &'static Command, words: &[Bytes]) -> CommandResult {
        let state = Arc::clone(&self.state);
        let answer = Answer::gathered(&state.memory);
        let mut args = Args::new(words, command.name_words).answering(answer);
        self.session.user().check_followed(command, words).map_err(Error::Text)?;
        match command.spec.run {
            Run::Session(handler) => {
                if command.flags.has(Flags::ADMIN) && self.pace != Pace::Final {
                    return self.put_off();
                }
                handler(&mut self.session, &self.state, &mut args)
            }
            Run::Read(handler) => match &self.ground {
                Ground::Txn(_) => self.edit(|edit| edit.read(|view| handler(view, &mut args))?),
                Ground::View(_) => self.view(|view| handler(view, &mut args)),
            },
            Run::ReadOrBlock(read, handler) => {
                let found = match &self.ground {
                    Ground::Txn(_) => self.edit(|edit| edit.read(|view| read(view, &mut args))?),
                    Ground::View(_) => self.view(|view| read(view, &mut args)),
                };
                match found {
                    Err(Error::NothingYet) => {
                        let mut args = Args::new(words, command.name_words).answering(answer);
                        self.try_once(|edit| handler(edit, &mut args))
                    }
                    found => found,
                }
            }
            Run::Write(handler) => self.edit(|edit| handler(edit, &mut args)),
            Run::Blocking(handler) => self.try_once(|edit| handler(edit, &mut args)),
            Run::Program(handler) => self.program(handler, words),
            Run::Server(handler) if self.in_script => self.at_once(command, handler, words),
            Run::Server(_) | Run::Container => {
                Err(Error::Text("ERR this command cannot be part of a transaction".to_owned()))
            }
        }
    }

    /// Runs an asynchronous command as far as it comes without waiting. But for `WAIT` and `WAITAOF`
    /// only `DEBUG SET-DISABLE-DENY-SCRIPTS` lets a script come here.
    fn at_once(
        &mut self,
        command: &Command,
        handler: ServerHandler,
        words: &[Bytes],
    ) -> CommandResult {
        if command.flags.has(Flags::ADMIN) && self.deadline_ns.is_some() {
            // It may hold its thread, so it has to be one that does nothing else.
            self.stop_for_time();
            return Err(Error::Engine(engine::Error::WouldBlock));
        }
        let denied = self.session.denies_waiting;
        (self.session.denies_waiting, self.session.answers_at_once) = (true, true);
        let mut answer = handler(&mut self.session, &self.state, words);
        let polled = answer.as_mut().poll(&mut TaskContext::from_waker(Waker::noop()));
        drop(answer);
        (self.session.denies_waiting, self.session.answers_at_once) = (denied, false);
        match polled {
            Poll::Ready(result) => result,
            Poll::Pending => Err(Error::Text("ERR a script cannot wait".to_owned())),
        }
    }

    /// Runs a program within this one.
    fn program(&mut self, handler: ProgramHandler, words: &[Bytes]) -> CommandResult {
        let mut program = handler(&mut self.session, &self.state, words)?;
        let mut before = self.session.for_program();
        let result = program.run(self);
        if !program.keeps_session() {
            before.held_messages = self.session.held_messages.take();
            before.held_denials = std::mem::take(&mut self.session.held_denials);
            self.session = before;
        }
        result
    }

    /// A call whose effects reach further than the transaction waits for the run that is final.
    fn put_off(&mut self) -> CommandResult {
        if self.pace == Pace::Dry {
            return Ok(Reply::Null);
        }
        self.stopped = Some(Stopped::NeedsFinal);
        Err(Error::Engine(engine::Error::WouldBlock))
    }

    fn try_once(
        &mut self,
        run: impl FnOnce(&mut Edit<'_>) -> Result<Attempt, Error>,
    ) -> CommandResult {
        self.edit(run).map(|attempt| match attempt {
            Attempt::Done(reply) => reply,
            Attempt::Wait(wait) => wait.at_once,
        })
    }

    /// What surrounds a call that runs now.
    fn context(&self) -> Context<'_> {
        let context = self.state.context(self.session.db, !self.session.no_touch);
        let warms = self.pace == Pace::Dry;
        Context { now_ms: self.now_ms, in_script: self.in_script, warms, ..context }
    }

    /// Runs a change as an inner transaction; what it has changed stays if it succeeds. Over a view
    /// nothing stays.
    fn edit<T>(&mut self, run: impl FnOnce(&mut Edit<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let context = self.context();
        let inner = match &self.ground {
            Ground::Txn(outer) => outer.inner(),
            Ground::View(view) => Txn::new(*view, 0),
        };
        let mut edit = Edit::new(inner, context)?;
        if self.notes_ready {
            edit.note_ready();
        }
        let answer = match run(&mut edit) {
            Err(error) if error.is_blocked() => {
                // Where it does too much, to warm it would not help.
                let is_exhausted = edit.is_exhausted()
                    || matches!(&self.ground, Ground::Txn(outer) if outer.is_exhausted());
                drop(edit);
                self.stopped = self.stopped.or(is_exhausted.then_some(Stopped::Time));
                return Err(error);
            }
            answer => answer?,
        };
        let (ready, events) = (edit.take_ready(), edit.take_events());
        let modified = edit.take_modified();
        let (changes, outcome) = edit.finish()?;
        Writer::check_limits(&changes)?;
        if let Ground::Txn(outer) = &mut self.ground {
            // From the call on with which it changes too much the run finds no more room.
            outer.absorb(changes);
            self.gathered.edit.add(&outcome);
            self.gathered.ready.extend(ready);
            let modified = modified.into_iter().map(Noted::Modified);
            modified.for_each(|noted| self.gathered.trail.note(noted));
            if !events.is_empty() {
                let classes = self.state.config.load().notify_keyspace_events.clone();
                let classes = EventClasses::parse(&classes);
                let told = events.iter().flat_map(|event| event_messages(event, classes));
                let told: Vec<Message> = told.collect();
                self.messages().extend(told);
            }
        }
        Ok(answer)
    }

    fn view(&mut self, read: impl FnOnce(&View<'_>) -> CommandResult) -> CommandResult {
        let Ground::View(ground) = self.ground else { return Err(Error::Syntax) };
        let view = View::new(ground, self.context())?;
        let result = read(&view);
        let mut outcome = view.outcome();
        let db = self.session.db;
        let missed = std::mem::take(&mut outcome.missed);
        if !missed.is_empty() {
            let classes = EventClasses::parse(&self.state.config.load().notify_keyspace_events);
            let events = missed.into_iter().map(|key| Event { db, name: "keymiss", key });
            let told = events.flat_map(|event| event_messages(&event, classes).collect::<Vec<_>>());
            self.session.held_messages.get_or_insert_default().extend(told);
        }
        match self.gathered.reads.last_mut().filter(|(db, _)| *db == self.session.db) {
            Some((_, sum)) => sum.add(outcome),
            None => self.gathered.reads.push((self.session.db, outcome)),
        }
        result
    }

    /// Takes room for what is noted of the keys that a call reads, where that is.
    fn claim_trail(&mut self, command: &Command, words: &[Bytes]) -> Result<usize, Error> {
        if self.session.remembered().is_none() {
            return Ok(0);
        }
        let bytes = command.keys_read(words).iter().map(|key| Trail::bytes_with(key)).sum();
        self.replies.take(bytes)?;
        Ok(bytes)
    }

    /// An error in place of a reply with which those of the run would be too large together. A script
    /// need not keep them.
    fn bounded(&mut self, result: CommandResult) -> CommandResult {
        if self.in_script {
            return result;
        }
        self.replies.take(result.as_ref().map_or(0, Reply::weight))?;
        result
    }

    fn noted(&mut self, error: Error) -> Error {
        if error.is_blocked() {
            self.stopped.get_or_insert(Stopped::WouldBlock);
        }
        error
    }

    fn note_ran(
        &mut self,
        command: &'static Command,
        words: &[Bytes],
        elapsed_ns: u64,
        result: &CommandResult,
    ) {
        let error = super::error::text_of(result);
        if self.gathered.ran.len() >= RAN_MAX {
            if let Some(text) = &error {
                self.gathered.count_error(text);
            }
            let sum = self.gathered.sums.entry(command.id).or_default();
            sum.calls += 1;
            sum.failed += u64::from(error.is_some());
            sum.elapsed_ns += elapsed_ns;
            return;
        }
        let shown = self.state.is_slow(elapsed_ns) || !self.state.monitors.is_idle();
        let words = shown.then(|| words.iter().map(|word| Bytes::copy_from_slice(word)).collect());
        let (db, in_script) = (self.session.db, self.in_script);
        self.gathered.ran.push(Ran { command, elapsed_ns, error, words, db, in_script });
    }
}

impl std::fmt::Debug for Calls<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls")
            .field("pace", &self.pace)
            .field("stopped", &self.stopped)
            .field("gathered", &self.gathered)
            .finish_non_exhaustive()
    }
}
