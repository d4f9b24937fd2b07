//! The calls of groups, on the side of the writer.

use tokio::sync::oneshot;

use super::account;
use super::group::{self, Group};
use super::long::{Long, Work};
use super::made::{Failed, Made, attempt, begin_run, check_begin};
use super::message::Waiting;
use super::prefetch::prefetch;
use super::writer::{WriterTask, open_batch_max};
use crate::commands::tracking::Cause;
use crate::commands::{Answer, Error, Run};
use crate::data::Ready;
use crate::engine::{self, Writer};
use crate::protocol::Reply;

/// A group whose replies hold more than this is answered before it goes on.
const REPLY_BYTES_MAX: usize = 1 << 20;
const NS_PER_MS: u64 = 1_000_000;

impl WriterTask {
    /// Runs calls until the end of the group, or until one would have to wait on the disk, or until
    /// the batch or the replies are large; at least one, or `blocked` or `takes_long` is set.
    pub(super) fn run_group(&mut self, group: &mut Group) {
        group.blocked = false;
        let mut reply_bytes = 0;
        while let Some(ready) = self.run_calls(group, &mut reply_bytes) {
            self.serve(ready);
        }
    }

    /// As [`Self::run_group`], up to a call for the changes of which others wait: what these are, where
    /// the group may go on. One run of transactions, and what all calls need is looked up once.
    fn run_calls(&mut self, group: &mut Group, reply_bytes: &mut usize) -> Option<Vec<Ready>> {
        let Self { state, writer, waiters, deferred, announcements, drops, .. } = self;
        // The end of one call is the start of the next: one look at the clock for each.
        let mut started_ns = state.clock.monotonic_ns();
        let (begun_ms, begun_ns) = (state.clock.unix_ms(), started_ns);
        let settings = state.config.load();
        let batch_max = open_batch_max(state);
        let context = state.context_by(&settings, group.db, !group.no_touch, begun_ms);
        let mut edit = match begin_run(writer, context, !waiters.is_empty()) {
            Ok(edit) => edit,
            Err(error) => return refuse_next(group, error),
        };
        let mut prefetched = group.done.len();
        let mut ready = None;
        while let Some(call) = group.calls.get(group.done.len()) {
            if group.done.len() == prefetched {
                let requests = group.calls[prefetched..].iter().map(|call| &call.request);
                prefetched += prefetch(requests, |keys, elements| {
                    edit.prefetch(keys.iter().copied());
                    edit.prefetch_elements(elements)
                });
            }
            let laden = *reply_bytes >= REPLY_BYTES_MAX
                || edit.open_bytes() >= batch_max
                || !deferred.is_empty();
            if laden && !group.done.is_empty() {
                break;
            }
            let now_ms = begun_ms + (started_ns - begun_ns) / NS_PER_MS;
            edit.begin(group.db, now_ms, state.event_classes(&settings));
            let made = check_begin(&edit, call, group.mode).and_then(|()| {
                let reply = attempt(&mut edit, call, Answer::in_place(&state.memory))?;
                edit.commit()?;
                Ok(reply)
            });
            let result = match made {
                Ok(reply) => Ok(reply),
                Err(failed) => match (edit.undo(), failed) {
                    (_, Failed::TakesLong) => {
                        group.takes_long = true;
                        group.note_undone(state.clock.monotonic_ns() - started_ns);
                        break;
                    }
                    (
                        _,
                        Failed::With(Error::Engine(engine::Error::WouldBlock) | Error::TooLong(_)),
                    ) => {
                        group.blocked = true;
                        group.note_undone(state.clock.monotonic_ns() - started_ns);
                        break;
                    }
                    (Ok(()), Failed::With(error)) => Err(error),
                    (Err(damaged), _) => {
                        // Nothing may be made of a root record that cannot be read.
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
            let ended_ns = state.clock.monotonic_ns();
            group.done.push(group::Done { result, elapsed_ns: ended_ns - started_ns });
            started_ns = ended_ns;
            let come = edit.take_ready();
            if !come.is_empty() {
                ready = Some(come);
                break;
            }
        }
        *drops |= edit.committed().dropped;
        account::edit(state, edit.committed());
        ready
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
