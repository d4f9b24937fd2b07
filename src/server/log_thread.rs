//! The thread that waits for the disk on behalf of the writer task.
//!
//! Operations are carried out in the order they were sent, and answered in that order. The queue
//! is bounded; the writer has at most one batch and one sync under way, so it never fills.

use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use tokio::sync::mpsc;

use crate::engine::{Batch, Error, Result, Syncer};

/// Operations that may be queued; the writer never has more than two under way.
const QUEUE_MAX: usize = 8;

/// What the log thread is asked to do.
pub(crate) enum Operation {
    /// Write the batch to the page cache.
    Write(Batch),
    /// Write the batch and make it durable.
    WriteSync(Batch, Syncer),
    /// Make everything written so far durable.
    Sync(Syncer),
}

impl Operation {
    /// Which completion will answer it.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Write(_) | Self::WriteSync(..) => Kind::Batch,
            Self::Sync(_) => Kind::Sync,
        }
    }
}

/// Which operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A batch.
    Batch,
    /// A sync without a batch.
    Sync,
}

/// The end of an operation.
#[derive(Debug)]
pub(crate) struct Completion {
    /// Which.
    pub(crate) kind: Kind,
    /// Whether it was carried out.
    pub(crate) result: Result<()>,
}

/// Handle of the thread; it ends when the handle is dropped.
#[derive(Debug)]
pub(crate) struct LogThread {
    operations: SyncSender<Operation>,
}

impl LogThread {
    /// Starts the thread. Completions arrive in order.
    pub(crate) fn start() -> std::io::Result<(Self, mpsc::Receiver<Completion>)> {
        let (operations, queue) = sync_channel::<Operation>(QUEUE_MAX);
        let (done, completions) = mpsc::channel(QUEUE_MAX);
        std::thread::Builder::new().name("siltdb-log".into()).spawn(move || {
            while let Ok(operation) = queue.recv() {
                if done.blocking_send(carry_out(operation)).is_err() {
                    return;
                }
            }
        })?;
        Ok((Self { operations }, completions))
    }

    /// Queues an operation.
    pub(crate) fn send(&self, operation: Operation) -> Result<()> {
        self.operations.try_send(operation).map_err(|refused| {
            assert!(!matches!(refused, TrySendError::Full(_)), "two operations at a time at most");
            Error::Closed
        })
    }
}

fn carry_out(operation: Operation) -> Completion {
    match operation {
        Operation::Write(batch) => Completion { kind: Kind::Batch, result: batch.write() },
        Operation::WriteSync(batch, syncer) => {
            Completion { kind: Kind::Batch, result: batch.write().and_then(|()| syncer.sync()) }
        }
        Operation::Sync(syncer) => Completion { kind: Kind::Sync, result: syncer.sync() },
    }
}
