//! What the writer task is asked to do, and how it answers.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::blocking::{Asked, Waits};
use super::group::{self, Group};
use super::program::Running;
use crate::commands::{Done, Error};
use crate::data::{DueRecords, ReadOutcome};
use crate::engine::{self, ReadMode};

/// Messages that may wait for the writer; a full channel slows its senders down.
pub(crate) const QUEUE_MAX: usize = 1024;

/// What the writer is asked to do.
#[derive(Debug)]
pub(crate) enum Message {
    /// Run the calls of a connection.
    Group(Box<Group>, oneshot::Sender<Box<Group>>),
    /// Run a call that may wait for keys.
    Blocking {
        /// The call.
        asked: Arc<Asked>,
        /// How far the writer may go for a block in the first attempt.
        mode: ReadMode,
        /// Told if the call waits; dropped if it does not.
        waits: oneshot::Sender<Waits>,
        /// Told when it is done.
        done: oneshot::Sender<group::Done>,
    },
    /// Run a program.
    Program(Box<Running>, oneshot::Sender<Box<Running>>),
    /// Delete what has expired.
    Expire {
        /// What was found.
        found: Arc<DueRecords>,
        /// The first of these records that is left.
        from: usize,
        /// At most so many keys and fields.
        limit: usize,
        /// Told how it went.
        answer: oneshot::Sender<Expired>,
    },
    /// Delete the expired keys of a database that a read has met.
    Reap {
        /// The database.
        db: u16,
        /// What the read has met.
        outcome: ReadOutcome,
        /// Told when they are gone.
        answer: oneshot::Sender<()>,
    },
}

/// How a round of active expiry went.
#[derive(Debug)]
pub(crate) enum Expired {
    /// Something was deleted, or is no longer to be: so many further records are done with.
    Done(usize),
    /// The writer would have had to wait on the disk: read what the round needs, and ask again.
    Blocked,
    /// Nothing goes at present.
    Refused,
}

/// Who waits for the open batch, or for the one under way.
pub(super) enum Waiting {
    Group(Box<Group>, oneshot::Sender<Box<Group>>),
    Program(Box<Running>, oneshot::Sender<Box<Running>>),
    Call(group::Done, oneshot::Sender<group::Done>),
    Expire(Expired, oneshot::Sender<Expired>),
    Reap(oneshot::Sender<()>),
    Change(Done),
}

impl Waiting {
    /// Tells who waits that the batch is published, or that it failed.
    pub(super) fn answer(self, result: &Result<(), engine::Error>) {
        match self {
            Self::Group(mut group, to) => {
                if let Err(error) = result {
                    group.fail(&Error::Engine(error.clone()));
                }
                drop(to.send(group));
            }
            Self::Program(mut running, to) => {
                if let Err(error) = result {
                    running.fail(&Error::Engine(error.clone()));
                }
                drop(to.send(running));
            }
            Self::Call(mut done, to) => {
                if let Err(error) = result {
                    done.result = Err(Error::Engine(error.clone()));
                }
                drop(to.send(done));
            }
            Self::Expire(expired, to) => {
                drop(to.send(if result.is_ok() { expired } else { Expired::Refused }));
            }
            Self::Reap(to) => drop(to.send(())),
            Self::Change(to) => drop(to.send(result.clone())),
        }
    }
}
