//! The replies of a connection, and what is pushed among them.

use bytes::Bytes;

use super::account;
use super::dispatch::Dispatcher;
use super::output::Output;
use super::pushes;
use crate::commands::table::Command;
use crate::commands::{CommandResult, Portion};
use crate::protocol::Reply;

impl Dispatcher {
    /// Forgets keys that clients have read where they are too many. A client whose own copies that
    /// concerns is told before its call runs.
    pub(super) fn bound_tracking(&self, output: &mut Output) {
        if self.state.tracking.evict(&self.state)
            && let Some(pushes) = self.session.pushes.as_deref()
        {
            pushes::append(&pushes.outbox, output, Portion::all(self.session.replies));
        }
    }

    /// Puts what waits to be pushed before the replies of the calls that follow. Whoever sees what another
    /// call has done, and then sends one of its own, finds what was pushed for the first before the
    /// reply of the second.
    pub(super) fn push_first(&mut self, output: &mut Output) {
        self.session.adopt_outbox(&self.state);
        if let Some(pushes) = self.session.pushes.as_deref() {
            pushes::append(&pushes.outbox, output, Portion::all(self.session.replies));
        }
    }

    /// Notes that the connection reads these keys, where it keeps copies: before it looks at them.
    pub(super) fn remember(&self, command: &Command, words: &[Bytes]) {
        if self.session.remembered().is_some() {
            for key in command.keys_read(words) {
                self.state.tracking.remember(self.session.client.id, 0, key);
            }
        }
    }

    /// `CLIENT CACHING` holds for the call behind it, or for the transaction.
    pub(super) fn end_caching(&mut self, command: Option<&Command>) {
        if self.session.caching && self.session.queue.is_none() {
            self.session.caching = command.is_some_and(Command::is_about_client);
        }
    }

    /// Answers, behind what is under way. `is_last` says that no other reply of the same group follows.
    pub(super) fn reply(&mut self, output: &mut Output, result: CommandResult, is_last: bool) {
        if !self.under_way.is_empty() {
            return self.under_way.add_reply(result);
        }
        let reply = match result {
            Ok(reply) => reply,
            Err(error) => account::error_reply(&self.state, &error),
        };
        let sends = self.session.sends_reply() || matches!(reply, Reply::Pushes(_));
        let before = Portion::all(self.session.replies);
        if let Some(pushes) = self.session.pushes.as_deref_mut()
            && let most = std::mem::take(&mut pushes.come_first)
            && most > 0
        {
            pushes::append(&pushes.outbox, output, Portion { most, ..before });
        }
        self.session.replies += 1;
        output.set_stranger(!self.session.is_let_in(&self.state.users));
        if sends {
            output.push(reply, self.session.version);
        }
        if let Some(pushes) = self.session.pushes.as_deref() {
            let portion = Portion::all(self.session.replies);
            pushes::append(&pushes.outbox, output, Portion { within_group: !is_last, ..portion });
        }
    }
}
