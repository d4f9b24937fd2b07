//! The calls of groups, on the side of the writer.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::account;
use super::announce::Announcements;
use super::group::{self, Call, Group};
use super::long::{Long, Work};
use super::made::{Failed, Made, attempt, begin_run, check_begin};
use super::message::{Message, Waiting};
use super::prefetch::{is_futile, prefetch};
use super::writer::{WriterTask, must_ask_again, open_batch_max};
use crate::commands::tracking::Cause;
use crate::commands::{Answer, Error, Run, ServerState};
use crate::config::Settings;
use crate::data::{Edit, Ready};
use crate::engine::{self, Writer};
use crate::protocol::Reply;

/// A group whose replies hold more than this is answered before it goes on.
const REPLY_BYTES_MAX: usize = 1 << 20;
const NS_PER_MS: u64 = 1_000_000;

/// A run of transactions, one for each call: what all of them need is looked up once.
struct CallRun<'w> {
    state: &'w Arc<ServerState>,
    settings: &'w Settings,
    edit: Edit<'w>,
    batch_max: usize,
    /// When it began, and when the last call has ended: the end of one is the start of the next, so one
    /// look at the clock for each.
    begun_ms: u64,
    begun_ns: u64,
    ended_ns: u64,
    /// Whether a root record was met that cannot be read: nothing may be made of it.
    is_damaged: bool,
}

impl<'w> CallRun<'w> {
    /// A run that begins with calls of `group`. `notes` asks for what others may wait for.
    fn begin(
        (state, settings): (&'w Arc<ServerState>, &'w Settings),
        writer: &'w mut Writer,
        group: &Group,
        notes: bool,
    ) -> engine::Result<Self> {
        let begun_ns = state.clock.monotonic_ns();
        let begun_ms = state.clock.unix_ms();
        let batch_max = open_batch_max(state);
        let context = state.context_by(settings, group.db, !group.no_touch, begun_ms);
        let edit = begin_run(writer, context, notes)?;
        let (ended_ns, is_damaged) = (begun_ns, false);
        Ok(Self { state, settings, edit, batch_max, begun_ms, begun_ns, ended_ns, is_damaged })
    }

    /// Whether the open batch is large.
    fn is_laden(&self) -> bool {
        self.edit.open_bytes() >= self.batch_max
    }

    /// Runs calls up to one for the changes of which others wait: what these are, where the group may go
    /// on. `holds_back` says that no more of the group is to run than one call.
    fn calls(
        &mut self,
        group: &mut Group,
        reply_bytes: &mut usize,
        holds_back: bool,
        announcements: &mut Announcements,
    ) -> Option<Vec<Ready>> {
        let state = self.state;
        let mut prefetched = group.done.len();
        while let Some(call) = group.calls.get(group.done.len()) {
            if group.done.len() == prefetched {
                prefetched += self.prefetch(&group.calls[prefetched..]);
            }
            let laden = *reply_bytes >= REPLY_BYTES_MAX || self.is_laden() || holds_back;
            if laden && !group.done.is_empty() {
                break;
            }
            let edit = &mut self.edit;
            let started_ns = self.ended_ns;
            let now_ms = self.begun_ms + (started_ns - self.begun_ns) / NS_PER_MS;
            edit.begin(group.db, now_ms, state.event_classes(self.settings));
            let made = check_begin(edit, call, group.mode).and_then(|()| {
                let reply = attempt(edit, call, Answer::in_place(&state.memory))?;
                edit.commit()?;
                Ok(reply)
            });
            let result = match made {
                Ok(reply) => Ok(reply),
                Err(failed) => match (edit.undo(), failed) {
                    (_, Failed::TakesLong) => {
                        group.takes_long = true;
                        self.note_undone(group);
                        break;
                    }
                    (
                        _,
                        Failed::With(Error::Engine(engine::Error::WouldBlock) | Error::TooLong(_)),
                    ) => {
                        group.blocked = true;
                        self.note_undone(group);
                        break;
                    }
                    (Ok(()), Failed::With(error)) => Err(error),
                    (Err(damaged), _) => {
                        self.is_damaged = true;
                        let result = Err(Error::Engine(damaged));
                        group.done.push(group::Done { result, elapsed_ns: 0 });
                        break;
                    }
                },
            };
            let (cause, remembers) = group.next_cause();
            if edit.has_told() {
                announcements.note(state, &edit.take_events(), edit.take_modified(), cause);
            }
            if remembers {
                announcements.remember(cause, call.command.keys_read(&call.request.args));
            }
            *reply_bytes += result.as_ref().map_or(0, Reply::weight);
            self.ended_ns = state.clock.monotonic_ns();
            let elapsed_ns = self.ended_ns - started_ns;
            group.done.push(group::Done { result, elapsed_ns });
            let come = edit.take_ready();
            if !come.is_empty() {
                return Some(come);
            }
        }
        None
    }

    /// Has what the first of these calls need at hand; of how many calls.
    fn prefetch(&self, calls: &[Call]) -> usize {
        if let [call] = calls
            && is_futile(&call.request, 0)
        {
            return 1;
        }
        prefetch(calls.iter().map(|call| &call.request), |keys, elements| {
            self.edit.prefetch(keys.iter().copied());
            self.edit.prefetch_elements(elements)
        })
    }

    /// The next call of the group has run until now, and nothing of that holds.
    fn note_undone(&mut self, group: &mut Group) {
        let ended_ns = self.state.clock.monotonic_ns();
        group.note_undone(ended_ns - self.ended_ns);
        self.ended_ns = ended_ns;
    }

    /// The run is over; whether it has dropped a keyspace.
    fn end(self) -> bool {
        let committed = self.edit.committed();
        account::edit(self.state, committed);
        committed.dropped
    }
}

impl WriterTask {
    /// Runs calls until the end of the group, or until one would have to wait on the disk, or until
    /// the batch or the replies are large; at least one, or `blocked` or `takes_long` is set.
    pub(super) fn run_group(&mut self, group: &mut Group) {
        group.blocked = false;
        self.run_rest(group, &mut 0);
    }

    fn run_rest(&mut self, group: &mut Group, reply_bytes: &mut usize) {
        while let Some(ready) = self.run_calls(group, reply_bytes) {
            self.serve(ready);
        }
    }

    /// As [`Self::run_group`], up to a call for the changes of which others wait: what these are, where
    /// the group may go on.
    fn run_calls(&mut self, group: &mut Group, reply_bytes: &mut usize) -> Option<Vec<Ready>> {
        let Self { state, writer, waiters, deferred, announcements, drops, .. } = self;
        let settings = state.config.load();
        let mut run = match CallRun::begin((state, &settings), writer, group, !waiters.is_empty()) {
            Ok(run) => run,
            Err(error) => return refuse_next(group, error),
        };
        let ready = run.calls(group, reply_bytes, !deferred.is_empty(), announcements);
        *drops |= run.end();
        ready
    }

    /// As [`Self::run_group`], and answers the group. Those that stand behind it in the channel belong to
    /// the same run as long as each comes to its end. At most `room` messages are taken out of the
    /// channel, which is counted down; the last of them is to be run now where it is no such group.
    pub(super) fn run_groups(
        &mut self,
        mut group: Box<Group>,
        mut answer: oneshot::Sender<Box<Group>>,
        room: &mut usize,
    ) -> Option<Message> {
        let Self { state, writer, waiters, deferred, announcements, drops, .. } = self;
        let (inbox, open, under_way) = (&mut self.inbox, &mut self.open, &self.under_way);
        let settings = state.config.load();
        let no_touch = group.no_touch;
        let mut reply_bytes = 0;
        group.blocked = false;
        let notes = !waiters.is_empty();
        let (last, ready, next) = match CallRun::begin((state, &settings), writer, &group, notes) {
            Err(error) => {
                let ready = refuse_next(&mut group, error);
                (Some((group, answer)), ready, None)
            }
            Ok(mut run) => {
                let end = loop {
                    let holds_back = !deferred.is_empty();
                    let ready = run.calls(&mut group, &mut reply_bytes, holds_back, announcements);
                    let is_through = ready.is_none() && group.next_call().is_none();
                    let waits =
                        run.edit.open_bytes() > 0 || !open.is_empty() || under_way.is_some();
                    let is_last = *room == 0 || holds_back || run.is_laden() || run.is_damaged;
                    if is_last || !is_through || !waits {
                        break (Some((group, answer)), ready, None);
                    }
                    group.hold_up_others();
                    open.push(Waiting::Group(group, answer));
                    match inbox.try_recv() {
                        Ok(Message::Group(behind, to))
                            if behind.no_touch == no_touch
                                && !behind.is_held_up()
                                && Arc::ptr_eq(&settings, &state.config.load())
                                && !must_ask_again(state, &behind) =>
                        {
                            *room -= 1;
                            (group, answer) = (behind, to);
                            group.blocked = false;
                            reply_bytes = 0;
                        }
                        other => break (None, None, other.ok()),
                    }
                };
                *drops |= run.end();
                end
            }
        };
        drop(settings);
        match last {
            Some((mut group, answer)) => {
                if let Some(ready) = ready {
                    self.serve(ready);
                    self.run_rest(&mut group, &mut reply_bytes);
                }
                self.answer_group(group, answer);
            }
            None => self.state.access.settle(),
        }
        next
    }

    /// Commits what the next call of the group has made, and notes how it has ended.
    pub(super) fn conclude(
        &mut self,
        group: &mut Group,
        made: Result<Made, Error>,
        elapsed_ns: u64,
    ) {
        let (cause, remembers) = group.next_cause();
        let committed = made.and_then(|made| self.commit(made, cause));
        let (result, ready) = match committed {
            Ok((reply, ready)) => (Ok(reply), ready),
            Err(error) => (Err(error), Vec::new()),
        };
        if remembers && let Some(call) = group.next_call() {
            let keys = call.command.keys_read(&call.request.args);
            self.announcements.remember(cause, keys);
        }
        self.serve(ready);
        group.done.push(group::Done { result, elapsed_ns });
    }

    /// Commits what a call has made.
    fn commit(&mut self, made: Made, cause: Cause) -> Result<(Reply, Vec<Ready>), Error> {
        let Made { reply, changes, outcome, ready, events, modified } = made;
        if !changes.is_empty() {
            Writer::check_limits(&changes)?;
            self.writer.commit(changes);
        }
        account::edit(&self.state, &outcome);
        self.drops |= outcome.dropped;
        self.announcements.note(&self.state, &events, modified, cause);
        Ok((reply, ready))
    }

    /// Answers a group that has come to its end or cannot go on, or has its next call run on a thread.
    pub(super) fn answer_group(
        &mut self,
        mut group: Box<Group>,
        answer: oneshot::Sender<Box<Group>>,
    ) {
        if std::mem::take(&mut group.takes_long) {
            self.long = Some(Long::Waits(Work::Call(group, answer)));
            return;
        }
        group.hold_up_others();
        self.state.access.settle();
        self.answer_later(Waiting::Group(group, answer));
    }
}

/// The next call of a group ends because no transaction can begin: what has become ready, which is nothing.
fn refuse_next(group: &mut Group, error: engine::Error) -> Option<Vec<Ready>> {
    let call = group.next_call()?;
    if matches!(call.command.spec.run, Run::Read(_)) {
        // It reads what is published.
        group.blocked = true;
        return None;
    }
    group.done.push(group::Done { result: Err(Error::Engine(error)), elapsed_ns: 0 });
    Some(Vec::new())
}
