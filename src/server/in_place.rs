//! Reads that need not wait: they run where their connection is.

use super::account;
use super::dispatch::{Dispatcher, is_heavy, run_read};
use super::group::Call;
use super::output::Output;
use crate::commands::table::Command;
use crate::commands::{Answer, Error, Run};
use crate::engine::{self, ReadMode};

/// What came of the attempt to run a call in place.
pub(super) enum InPlace {
    /// It is answered.
    Done,
    /// It is none that can be run so.
    Not,
    /// It would have to wait on the disk.
    Waits,
}

impl Dispatcher {
    /// Runs and answers a read that need not wait for anything. Most calls are such, and a call that
    /// stays where it is costs less than one that moves from task to task.
    pub(super) fn read_in_place(&mut self, call: &Call, output: &mut Output) -> InPlace {
        let is_plain = matches!(call.command.spec.run, Run::Read(_))
            && !is_heavy(call.command, &call.request)
            && !self.session.is_behind(&self.state.users)
            && self.session.queue.is_none()
            && self.under_way.is_empty()
            && !self.may_lead_elsewhere(call.command)
            && !self.state.pause.is_set();
        if !is_plain {
            return InPlace::Not;
        }
        let Ok(engine) = self.state.engine() else { return InPlace::Not };
        let started_ns = match self.last_ended_ns {
            Some(ended_ns) => ended_ns,
            None => self.state.clock.monotonic_ns(),
        };
        self.remember(call.command, &call.request.args);
        let snapshot = engine.snapshot(ReadMode::Resident);
        let context = self.state.context(self.session.db, !self.session.no_touch);
        let answer = Answer::in_place(&self.state.memory);
        let (result, outcome) = run_read(&self.state, &snapshot, context, call, answer);
        if matches!(result, Err(Error::Engine(engine::Error::WouldBlock))) {
            return InPlace::Waits;
        }
        if matches!(result, Err(Error::TooLong(_))) {
            return InPlace::Not;
        }
        if !outcome.expired.is_empty() || !outcome.missed.is_empty() {
            return InPlace::Not;
        }
        account::read(&self.state, &outcome);
        self.done(call, result, started_ns, output);
        InPlace::Done
    }

    /// Whether a call may lead to keys that it does not name, which its user may not read: to be
    /// asked when it runs.
    pub(super) fn may_lead_elsewhere(&self, command: &Command) -> bool {
        command.spec.follows.is_some() && !self.session.user().is_unrestricted()
    }
}
