//! What the writer task is asked to do, and how it answers.

use tokio::sync::oneshot;

use super::group::Group;
use crate::commands::{Done, Error};
use crate::data::{ExpiryMarks, ReadOutcome};
use crate::engine;

/// Messages that may wait for the writer; a full channel slows its senders down.
pub(crate) const QUEUE_MAX: usize = 1024;

/// What the writer is asked to do.
#[derive(Debug)]
pub(crate) enum Message {
    /// Run the calls of a connection.
    Group(Box<Group>, oneshot::Sender<Box<Group>>),
    /// Delete what has expired by now, at most `limit` keys; answers whether more has.
    Expire {
        /// At most so many keys.
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
    /// Everything that has expired is gone.
    All,
    /// The limit was reached: more may have expired.
    More,
    /// The writer would have had to wait on the disk: read what the round needs, from these marks,
    /// and ask again.
    Warm(ExpiryMarks),
}

/// Who waits for the open batch, or for the one under way.
pub(super) enum Waiting {
    Group(Box<Group>, oneshot::Sender<Box<Group>>),
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
            Self::Expire(expired, to) => {
                drop(to.send(if result.is_ok() { expired } else { Expired::All }));
            }
            Self::Reap(to) => drop(to.send(())),
            Self::Change(to) => drop(to.send(result.clone())),
        }
    }
}
