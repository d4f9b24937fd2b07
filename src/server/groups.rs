//! Groups, on the side of their connection: gathered from its pipeline, sent to the writer, and answered.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::dispatch::{Dispatcher, WARMINGS_MAX, is_heavy};
use super::group::{Call, Done, Group};
use super::message::Message;
use super::output::Output;
use super::prepare;
use crate::commands::gates;
use crate::commands::{Answer, Error, Flags, Run, ServerState};
use crate::data::{Context, Edit};
use crate::engine::{self, ReadMode};
use crate::protocol::Request;

impl Dispatcher {
    /// Takes the writes and cheap reads that follow `first` off the pipeline.
    pub(super) fn gather(&self, first: Call, pipeline: &mut VecDeque<Request>) -> Box<Group> {
        let mut group = Box::new(Group::new(&self.session, pipeline.len() + 1));
        group.push(first);
        while group.has_room() {
            let Some(next) = pipeline.front() else { break };
            let passed = match group.calls.last() {
                Some(Call { command, request, .. }) => {
                    let before = (*command, &request.args[..]);
                    gates::pass_behind(&self.state, &self.session, &next.args, before)
                }
                None => gates::pass(&self.state, &self.session, &next.args),
            };
            let Ok(command) = passed else { break };
            let joins = match command.spec.run {
                Run::Write(_) => true,
                Run::Read(_) => !is_heavy(command, next),
                Run::Blocking(_)
                | Run::ReadOrBlock(..)
                | Run::Session(_)
                | Run::Server(_)
                | Run::Program(_)
                | Run::Container => false,
            };
            if !joins || self.may_lead_elsewhere(command) || self.state.pause.is_set() {
                break;
            }
            let Some(request) = pipeline.pop_front() else { break };
            group.push(Call::new(command, request));
        }
        group
    }

    /// Sends a group to the writer, behind what is under way.
    pub(super) async fn begin_group(&mut self, mut group: Box<Group>) {
        self.last_ended_ns = None;
        self.state.access.settle();
        if group.calls.iter().any(|call| prepare::work(call).is_some()) {
            Box::pin(prepare::prepare(&self.state, &mut group)).await;
        }
        group.stands_at(&self.session);
        group.chain = Some(self.under_way.chain());
        let bytes = group.bytes;
        let (answer, answered) = oneshot::channel();
        if self.hand_over(group, answer).await.is_none() {
            return self.session.close();
        }
        self.under_way.add_group(bytes, answered);
    }

    /// Answers a group that comes from the writer, and sends it there again until all of it has run,
    /// warming what it would wait for; whether there still is a writer.
    ///
    /// # Errors
    /// Where the peer is gone.
    pub(super) async fn finish_group(
        &mut self,
        mut group: Box<Group>,
        output: &mut Output,
    ) -> std::io::Result<bool> {
        group.chain = None;
        let ran = self.answer(&mut group, output);
        self.flush_large(output).await?;
        if group.calls.is_empty() {
            return Ok(true);
        }
        // Boxed, since most groups have come to their end.
        Box::pin(self.finish_rest(group, ran, output)).await
    }

    /// Answers the calls of a group that have run, and takes them out of it; how many these were.
    fn answer(&mut self, group: &mut Group, output: &mut Output) -> usize {
        let done = std::mem::take(&mut group.done);
        let ran = done.len();
        for (number, (call, done)) in group.calls.iter().zip(done).enumerate() {
            let Done { result, elapsed_ns } = done;
            let took_ns = call.spent_ns + elapsed_ns;
            self.finished_in_group(call, result, took_ns, (output, number + 1 == ran));
        }
        group.calls.drain(..ran);
        ran
    }

    /// As [`Self::finish_group`], behind the first `ran` calls, which are answered.
    async fn finish_rest(
        &mut self,
        mut group: Box<Group>,
        mut ran: usize,
        output: &mut Output,
    ) -> std::io::Result<bool> {
        let mut warmings = 0;
        // What stands behind a call that is not allowed any more.
        let mut later = Vec::new();
        loop {
            if ran > 0 {
                warmings = 0;
                group.mode = ReadMode::Resident;
            }
            if group.blocked && !group.calls.is_empty() {
                let first = group.calls.first();
                if first.is_some_and(|call| matches!(call.command.spec.run, Run::Read(_))) {
                    // What it was to see is published by now.
                    let call = group.calls.remove(0);
                    self.read(call, ReadMode::Resident, output).await?;
                    self.flush_large(output).await?;
                } else {
                    warmings += 1;
                    if warmings > WARMINGS_MAX {
                        group.mode = ReadMode::Blocking;
                    } else {
                        group = self.warm(group).await;
                    }
                }
            }
            // The first of these was refused a moment ago, or would have been.
            let is_refused = group.calls.is_empty() && !later.is_empty();
            if is_refused {
                std::mem::swap(&mut group.calls, &mut later);
            }
            if group.calls.is_empty() {
                return Ok(true);
            }
            self.await_pause(group.may_write()).await;
            group.blocked = false;
            if is_refused || group.users_version != self.state.users.version() {
                // They stand before the `MULTI` that the connection has come to meanwhile.
                let queue = self.session.queue.take();
                later = self.allow_again(&mut group.calls, later, output);
                self.session.queue = queue;
                group.users_version = self.session.users_version();
                if self.session.close_after_reply {
                    return Ok(false);
                }
                ran = 0;
                continue;
            }
            group.stands_at(&self.session);
            let Some(returned) = self.send(group).await else { return Ok(false) };
            group = returned;
            ran = self.answer(&mut group, output);
            self.flush_large(output).await?;
        }
    }

    /// Asks again whether the user may make these calls, those of `later` behind them. Refuses what it
    /// may not at their head, leaves what it may up to the next such call, and hands out the rest.
    fn allow_again(
        &mut self,
        calls: &mut Vec<Call>,
        later: Vec<Call>,
        output: &mut Output,
    ) -> Vec<Call> {
        self.session.follow_users(&self.state.users);
        let mut waiting = std::mem::take(calls).into_iter().chain(later);
        for call in waiting.by_ref() {
            match gates::pass(&self.state, &self.session, &call.request.args) {
                Err(refusal) if calls.is_empty() => self.refuse(refusal, &call.request, output),
                Ok(_) => calls.push(call),
                Err(_) => return std::iter::once(call).chain(waiting).collect(),
            }
        }
        Vec::new()
    }

    /// Sends a group to the writer and waits for its return; `None` when there is no writer any more.
    async fn send(&self, group: Box<Group>) -> Option<Box<Group>> {
        let (answer, answered) = oneshot::channel();
        self.hand_over(group, answer).await?;
        answered.await.ok()
    }

    /// Sends a group to the writer; `None` when there is no writer any more.
    async fn hand_over(
        &self,
        group: Box<Group>,
        answer: oneshot::Sender<Box<Group>>,
    ) -> Option<()> {
        match self.writer.try_send(Message::Group(group, answer)) {
            Ok(()) => Some(()),
            Err(TrySendError::Full(message)) => {
                self.state.metrics.writer_queue_full.add(1);
                Box::pin(self.writer.send(message)).await.ok()
            }
            Err(TrySendError::Closed(_)) => None,
        }
    }

    /// Runs the calls of the group on the blocking pool, over transactions that are thrown away, so
    /// that the blocks that they need are in memory when the writer runs them.
    async fn warm(&self, mut group: Box<Group>) -> Box<Group> {
        let state = Arc::clone(&self.state);
        self.state.metrics.writes_warmed.add(1);
        let warmed = tokio::task::spawn_blocking(move || {
            let db = group.db;
            for (number, call) in group.calls.iter_mut().enumerate() {
                let started_ns = state.clock.monotonic_ns();
                let warmed = dry_run(&state, db, call);
                if number == 0 && matches!(warmed, Err(Error::Engine(engine::Error::WouldBlock))) {
                    group.mode = ReadMode::Blocking; // The writer would come no further.
                }
                call.spent_ns += state.clock.monotonic_ns() - started_ns;
            }
            group
        });
        match warmed.await {
            Ok(group) => group,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// Runs a call over a transaction that is thrown away, waiting for every block that it reads; one that stores
/// ends with [`engine::Error::WouldBlock`] where it walks more than the writer would.
fn dry_run(state: &ServerState, db: u16, call: &Call) -> Result<(), Error> {
    let snapshot = state.engine()?.snapshot(ReadMode::Blocking);
    let stores = call.command.flags.has(Flags::STORES);
    let snapshot = if stores { snapshot.within_steps_of_writer() } else { snapshot };
    let txn = engine::Txn::new(&snapshot, snapshot.seq() + 1);
    let context = Context { warms: true, ..state.context(db, false) };
    let mut edit = Edit::new(txn, context)?;
    super::made::run_in(&mut edit, call, Answer::gathered(&state.memory), None).map(drop)
}
