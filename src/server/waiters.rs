//! The calls that wait for keys, on the side of the writer.
//!
//! They wait in line by database and key, in the order in which they came. After each transaction
//! the writer looks whether it has made something that somebody waits for, and runs the calls of
//! that line again, each as a transaction of its own, until one finds nothing. What such a call makes
//! may be what another waits for.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::account;
use super::blocking::{Asked, Waits};
use super::group::Done;
use super::message::Waiting;
use super::writer::WriterTask;
use crate::commands::{Answer, Args, Attempt, CommandResult, Error, Run, Wait};
use crate::data::{Edit, KeyType, Ready};
use crate::engine::{self, ReadMode, Writer};

/// Database and key.
type Place = (u16, Bytes);

/// A call that waits.
#[derive(Debug)]
struct Waiter {
    asked: Arc<Asked>,
    keys: Vec<Bytes>,
    kind: KeyType,
    /// With which words it is run again, where that are not its own.
    words: Option<Vec<Bytes>>,
    /// Whether it ends when one of its keys goes.
    needs_keys: bool,
    done: oneshot::Sender<Done>,
}

/// All calls that wait.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    /// By number; numbers ascend in the order in which the calls came.
    by_number: BTreeMap<u64, Waiter>,
    lines: HashMap<Place, BTreeSet<u64>>,
    /// How many calls end when this place is left.
    needed: HashMap<Place, usize>,
    last_number: u64,
}

impl Waiters {
    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// Forgets those that were withdrawn.
    fn sweep(&mut self) {
        let withdrawn: Vec<u64> = self
            .by_number
            .iter()
            .filter(|(_, waiter)| waiter.asked.ticket.is_withdrawn())
            .map(|(number, _)| *number)
            .collect();
        for number in withdrawn {
            self.remove(number);
        }
    }

    fn add(&mut self, waiter: Waiter) {
        self.last_number += 1;
        for key in &waiter.keys {
            let line = self.lines.entry((waiter.asked.db, key.clone())).or_default();
            line.insert(self.last_number);
            if waiter.needs_keys {
                *self.needed.entry((waiter.asked.db, key.clone())).or_default() += 1;
            }
        }
        self.by_number.insert(self.last_number, waiter);
    }

    fn remove(&mut self, number: u64) -> Option<Waiter> {
        let waiter = self.by_number.remove(&number)?;
        for key in &waiter.keys {
            let place = (waiter.asked.db, key.clone());
            if waiter.needs_keys
                && let Some(calls) = self.needed.get_mut(&place)
            {
                *calls -= 1;
                if *calls == 0 {
                    self.needed.remove(&place);
                }
            }
            if let Some(line) = self.lines.get_mut(&place) {
                line.remove(&number);
                if line.is_empty() {
                    self.lines.remove(&place);
                }
            }
        }
        Some(waiter)
    }

    /// The first in the line with this number or a later one.
    fn next(&self, place: &Place, from: u64) -> Option<(u64, &Waiter)> {
        let number = *self.lines.get(place)?.range(from..).next()?;
        Some((number, self.by_number.get(&number)?))
    }

    /// The keys of a database that somebody waits for; the one that was waited for first comes first.
    fn keys_of(&self, db: u16) -> Vec<Bytes> {
        let lines = self.lines.iter().filter(|((line_db, _), _)| *line_db == db);
        let mut keys: Vec<_> = lines.map(|((_, key), line)| (line.first(), key.clone())).collect();
        keys.sort_unstable();
        keys.into_iter().map(|(_, key)| key).collect()
    }
}

/// How far the calls of a line were served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Served {
    /// All for whom there was something.
    All,
    /// The open batch is so large that the others come behind it.
    Laden,
}

/// How an attempt went.
enum Tried {
    /// The call is done, and has made these places ready.
    Done(CommandResult, Vec<Ready>),
    /// There is nothing yet; these places were found to have expired.
    Nothing(Wait, Vec<Ready>),
    /// It would have had to wait on the disk, or it walks further than a resident transaction may.
    WouldBlock { is_exhausted: bool },
    /// Nobody asks any more.
    Withdrawn,
}

impl WriterTask {
    /// Runs a call that may wait for the first time.
    pub(super) fn run_blocking(
        &mut self,
        asked: Arc<Asked>,
        mode: ReadMode,
        waits: oneshot::Sender<Waits>,
        done: oneshot::Sender<Done>,
    ) {
        let started_ns = self.state.clock.monotonic_ns();
        let tried = match self.is_still_allowed(&asked) {
            Err(denied) if asked.ticket.serve() => Tried::Done(Err(denied), Vec::new()),
            Err(_) => Tried::Withdrawn,
            Ok(()) => self.attempt(&asked, None, mode),
        };
        match tried {
            Tried::Done(result, ready) => {
                self.serve(ready);
                self.done(result, started_ns, done);
            }
            Tried::Nothing(
                Wait { keys, kind, timeout_ms, on_timeout, again, needs_keys, .. },
                ready,
            ) => {
                if waits.send(Waits { timeout_ms, on_timeout }).is_ok() {
                    let words = again;
                    self.waiters.add(Waiter { asked, keys, kind, words, needs_keys, done });
                    self.tell_awaited();
                }
                self.serve(ready);
            }
            Tried::WouldBlock { is_exhausted } => {
                let blocked = Error::Engine(engine::Error::WouldBlock);
                let result = Err(if is_exhausted { Error::TooLong(0) } else { blocked });
                drop(done.send(Done { result, elapsed_ns: 0 }));
            }
            Tried::Withdrawn => {}
        }
        self.state.access.settle();
    }

    /// Runs the calls that wait for what has become ready, in the order in which they came.
    pub(super) fn serve(&mut self, ready: Vec<Ready>) {
        if ready.is_empty() {
            return;
        }
        if !self.deferred.is_empty() {
            return self.deferred.extend(ready);
        }
        let mut ready = VecDeque::from(ready);
        while let Some(Ready { db, key, kind }) = ready.pop_front() {
            match key {
                Some(key) => {
                    let place = (db, key);
                    let Some(kind) = kind else {
                        for kind in self.kinds_at(&place) {
                            let key = Some(place.1.clone());
                            ready.push_front(Ready { db, key, kind: Some(kind) });
                        }
                        continue;
                    };
                    if self.serve_line(&place, kind, &mut ready) == Served::Laden {
                        ready.push_front(Ready { db, key: Some(place.1), kind: Some(kind) });
                        self.deferred = ready;
                        break;
                    }
                }
                None => {
                    let keys = self.waiters.keys_of(db).into_iter();
                    ready.extend(keys.map(|key| Ready { db, key: Some(key), kind: None }));
                }
            }
        }
        self.tell_awaited();
    }

    /// Goes on where the open batch was laden, if it is not any more; whether there was something to
    /// go on with.
    pub(super) fn serve_deferred(&mut self) -> bool {
        if self.deferred.is_empty() || self.is_batch_laden() || self.writer.must_wait() {
            return false;
        }
        let ready = std::mem::take(&mut self.deferred);
        self.serve(ready.into());
        true
    }

    /// Tells all who wait that nothing will come: writes are refused from now on.
    pub(super) fn fail_waiters(&mut self, error: &engine::Error) {
        let waiters = std::mem::take(&mut self.waiters.by_number);
        self.waiters.lines.clear();
        self.waiters.needed.clear();
        for waiter in waiters.into_values().filter(|waiter| waiter.asked.ticket.serve()) {
            let result = Err(Error::Engine(error.clone()));
            drop(waiter.done.send(Done { result, elapsed_ns: 0 }));
        }
        self.tell_awaited();
    }

    /// Forgets the calls that were withdrawn.
    pub(super) fn sweep_waiters(&mut self) {
        self.waiters.sweep();
        self.tell_awaited();
    }

    fn tell_awaited(&self) {
        let Waiters { lines, needed, .. } = &self.waiters;
        self.state.awaited_keys.store(lines.len(), Ordering::Relaxed);
        self.state.needed_keys.store(needed.len(), Ordering::Relaxed);
    }

    /// What has come at a place. Where that is no stream, those who read one are told that it has
    /// gone.
    fn kinds_at(&self, (db, key): &Place) -> impl Iterator<Item = KeyType> + use<> {
        let find = || {
            let txn = self.writer.begin_freeing(ReadMode::Blocking)?;
            Edit::new(txn, self.state.context(*db, false))?.find(key)
        };
        let kind = find().ok().flatten().map(|meta| meta.kind);
        let other = kind.filter(|kind| kind.is_awaited() && *kind != KeyType::Stream);
        [KeyType::Stream].into_iter().chain(other)
    }

    fn serve_line(&mut self, place: &Place, kind: KeyType, ready: &mut VecDeque<Ready>) -> Served {
        let mut from = 0;
        while let Some((number, waiter)) = self.waiters.next(place, from) {
            from = number + 1;
            if kind != waiter.kind {
                continue;
            }
            // Each call that moves an element writes it once more.
            if self.is_batch_laden() {
                return Served::Laden;
            }
            let started_ns = self.state.clock.monotonic_ns();
            let (asked, words) = (Arc::clone(&waiter.asked), waiter.words.clone());
            let tried = if is_gone(&asked) {
                Tried::Withdrawn
            } else if let Err(denied) = self.is_still_allowed(&asked) {
                if asked.ticket.serve() {
                    Tried::Done(Err(denied), Vec::new())
                } else {
                    Tried::Withdrawn
                }
            } else {
                // What it reads was written just now, but for what is known of another key.
                self.attempt(&asked, words.as_deref(), ReadMode::Blocking)
            };
            match tried {
                // A stream is read by all; of any other type there is nothing left.
                Tried::Nothing(_, made) => {
                    ready.extend(made);
                    if kind != KeyType::Stream {
                        return Served::All;
                    }
                }
                Tried::WouldBlock { .. } => {}
                Tried::Withdrawn => drop(self.waiters.remove(number)),
                Tried::Done(result, made) => {
                    ready.extend(made);
                    if let Some(waiter) = self.waiters.remove(number) {
                        self.done(result, started_ns, waiter.done);
                    }
                }
            }
        }
        Served::All
    }

    /// Whether the user of a call that has waited may still make it.
    fn is_still_allowed(&self, asked: &Asked) -> Result<(), Error> {
        let Asked { call, client, .. } = asked;
        if asked.users_version == self.state.users.version() {
            return Ok(());
        }
        let allowed = account::allowed_later(&self.state, client, call.command, &call.request.args);
        asked.is_refused.store(allowed.is_err(), Ordering::Release);
        allowed
    }

    fn done(&mut self, result: CommandResult, started_ns: u64, to: oneshot::Sender<Done>) {
        let elapsed_ns = self.state.clock.monotonic_ns() - started_ns;
        self.answer_later(Waiting::Call(Done { result, elapsed_ns }, to));
    }

    /// Runs a call once, as a transaction of its own, with its own words or with these.
    fn attempt(&mut self, asked: &Asked, words: Option<&[Bytes]>, mode: ReadMode) -> Tried {
        match self.try_once(asked, words, mode) {
            Ok(tried) => tried,
            Err(Error::Engine(engine::Error::WouldBlock)) => {
                Tried::WouldBlock { is_exhausted: false }
            }
            Err(error) if asked.ticket.serve() => Tried::Done(Err(error), Vec::new()),
            Err(_) => Tried::Withdrawn,
        }
    }

    fn try_once(
        &mut self,
        asked: &Asked,
        words: Option<&[Bytes]>,
        mode: ReadMode,
    ) -> Result<Tried, Error> {
        let Asked { call, db, no_touch, ticket, .. } = asked;
        let (Run::Blocking(handler) | Run::ReadOrBlock(_, handler)) = call.command.spec.run else {
            unreachable!("only calls that may wait are sent as such")
        };
        // Who takes from a queue frees space, and a deletion ends what others wait for.
        let txn = self.writer.begin_freeing(mode)?;
        let mut edit = Edit::new(txn, self.state.context(*db, !no_touch))?;
        if !self.waiters.is_empty() {
            edit.note_ready();
        }
        let words = words.unwrap_or(&call.request.args);
        let answering = Answer::gathered(&self.state.memory);
        let mut args = Args::new(words, call.command.name_words).answering(answering);
        let answer = match handler(&mut edit, &mut args) {
            Err(Error::Engine(engine::Error::WouldBlock)) => {
                return Ok(Tried::WouldBlock { is_exhausted: edit.is_exhausted() });
            }
            answer => answer?,
        };
        let (ready, events) = (edit.take_ready(), edit.take_events());
        let modified = edit.take_modified();
        let (changes, outcome) = edit.finish()?;
        Writer::check_limits(&changes)?;
        if matches!(answer, Attempt::Done(_)) && !ticket.serve() {
            return Ok(Tried::Withdrawn);
        }
        if !changes.is_empty() {
            self.writer.commit(changes);
        }
        account::edit(&self.state, &outcome);
        self.announcements.note(&self.state, &events, modified, asked.cause);
        if asked.remembers && matches!(answer, Attempt::Done(_)) {
            self.announcements.remember(asked.cause, call.command.keys_read(words));
        }
        Ok(match answer {
            Attempt::Done(reply) => Tried::Done(Ok(reply), ready),
            // That an expired key was deleted is all that can have happened.
            Attempt::Wait(wait) => Tried::Nothing(wait, ready),
        })
    }
}

/// Whether nobody is there any more who would get the answer.
fn is_gone(asked: &Asked) -> bool {
    asked.ticket.is_withdrawn() || asked.client.is_killed() || asked.client.is_hung_up()
}
