//! The threads that wait for the disk on behalf of the writer task: one for batches, and one for
//! syncs without a batch, so that the sync of every second holds up no batch.
//!
//! Batches are carried out and answered in the order they were sent; so are syncs. A sync covers what
//! was written before it was sent. The queues are bounded; the writer has at most one batch and one
//! sync under way, so they never fill.
//!
//! A batch that finds the disk full is kept and tried again until there is space: whoever waits for
//! it is answered then, and new writes are refused meanwhile. Only the end of the server ends that.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use tokio::sync::{mpsc, watch};

use crate::commands::ShutdownPhase;
use crate::engine::{Batch, Error, Result, Syncer};
use crate::env::Clock;

/// Operations that may be queued; the writer never has more than one of a kind under way.
const QUEUE_MAX: usize = 4;

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
    /// How long its sync took, in nanoseconds, if it had one.
    pub(crate) sync_ns: Option<u64>,
}

/// Handle of the threads; they end when the handle is dropped.
#[derive(Debug)]
pub(crate) struct LogThreads {
    batches: SyncSender<Operation>,
    syncs: SyncSender<Operation>,
}

impl LogThreads {
    /// Starts the threads. They wait for no space once `phase` is closing.
    pub(crate) fn start(
        phase: &watch::Receiver<ShutdownPhase>,
        clock: &Arc<dyn Clock>,
    ) -> std::io::Result<(Self, mpsc::Receiver<Completion>)> {
        let (done, completions) = mpsc::channel(2 * QUEUE_MAX);
        let batches = start("siltdb-log", done.clone(), phase.clone(), Arc::clone(clock))?;
        let syncs = start("siltdb-sync", done, phase.clone(), Arc::clone(clock))?;
        Ok((Self { batches, syncs }, completions))
    }

    /// Queues an operation.
    pub(crate) fn send(&self, operation: Operation) -> Result<()> {
        let queue = match operation.kind() {
            Kind::Batch => &self.batches,
            Kind::Sync => &self.syncs,
        };
        queue.try_send(operation).map_err(|refused| {
            assert!(!matches!(refused, TrySendError::Full(_)), "one of a kind at a time");
            Error::Closed
        })
    }
}

/// Starts a thread that carries out what it is sent.
fn start(
    name: &str,
    done: mpsc::Sender<Completion>,
    phase: watch::Receiver<ShutdownPhase>,
    clock: Arc<dyn Clock>,
) -> std::io::Result<SyncSender<Operation>> {
    let (operations, queue) = sync_channel::<Operation>(QUEUE_MAX);
    std::thread::Builder::new().name(name.into()).spawn(move || {
        while let Ok(operation) = queue.recv() {
            if done.blocking_send(carry_out(operation, &phase, &*clock)).is_err() {
                return;
            }
        }
    })?;
    Ok(operations)
}

fn carry_out(
    operation: Operation,
    phase: &watch::Receiver<ShutdownPhase>,
    clock: &dyn Clock,
) -> Completion {
    let kind = operation.kind();
    let mut sync_ns = None;
    let mut sync = |syncer: Syncer| {
        let started_ns = clock.monotonic_ns();
        let result = syncer.sync();
        sync_ns = Some(clock.monotonic_ns().saturating_sub(started_ns));
        result
    };
    let result = match operation {
        Operation::Write(batch) => write(batch, phase),
        Operation::WriteSync(batch, syncer) => write(batch, phase).and_then(|()| sync(syncer)),
        Operation::Sync(syncer) => sync(syncer),
    };
    Completion { kind, result, sync_ns }
}

/// Writes the batch, as soon as there is space for it.
fn write(mut batch: Batch, phase: &watch::Receiver<ShutdownPhase>) -> Result<()> {
    loop {
        match batch.try_write() {
            Err(Error::NoSpace(_)) if *phase.borrow() != ShutdownPhase::Closing => {
                batch.wait_for_space()?;
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;

    use super::*;
    use crate::engine::{Engine, KeepAll, Options, Read, ReadMode, Writer};
    use crate::env::{SimClock, SimFs};

    fn open(fs: &SimFs) -> (Engine, Writer) {
        let options = Options {
            background_threads: 0,
            space_reserve_bytes: 0,
            ..Options::for_budget(Path::new("/db"), 8 << 20)
        };
        let clock = Arc::new(SimClock::at_ms(1));
        Engine::open(fs.shared(), clock, options, Arc::new(KeepAll)).unwrap()
    }

    fn batch(writer: &mut Writer) -> Batch {
        let mut txn = writer.begin(ReadMode::Blocking).unwrap();
        txn.put(Bytes::from_static(b"key"), Bytes::from_static(b"value"));
        let changes = txn.into_changes();
        writer.commit(changes);
        writer.take_batch().unwrap()
    }

    /// A full disk, and a batch on its thread that waits for space.
    fn waiting(
        fs: &SimFs,
    ) -> (Engine, Writer, watch::Sender<ShutdownPhase>, LogThreads, Completions) {
        let (engine, mut writer) = open(fs);
        fs.set_capacity(Some(fs.used_bytes()));
        let phase = watch::Sender::new(ShutdownPhase::Running);
        let clock: Arc<dyn Clock> = Arc::new(SimClock::at_ms(1));
        let (thread, mut completions) = LogThreads::start(&phase.subscribe(), &clock).unwrap();
        let batch = batch(&mut writer);
        thread.send(Operation::WriteSync(batch, writer.syncer())).unwrap();
        while engine.check_writable().is_ok() {
            std::thread::yield_now();
        }
        assert!(completions.try_recv().is_err());
        (engine, writer, phase, thread, completions)
    }

    type Completions = mpsc::Receiver<Completion>;

    #[test]
    fn a_batch_waits_for_space_and_is_then_written() {
        let fs = SimFs::new(1);
        let (engine, mut writer, _phase, _thread, mut completions) = waiting(&fs);
        fs.set_capacity(None);
        completions.blocking_recv().unwrap().result.unwrap();
        engine.check_writable().unwrap();
        writer.publish(1);
        drop((engine, writer));
        let found = open(&fs.crash(1)).0.snapshot(ReadMode::Blocking).get(b"key").unwrap();
        assert_eq!(found.unwrap(), "value");
    }

    #[test]
    fn the_end_of_the_server_ends_the_wait_for_space() {
        let fs = SimFs::new(1);
        let (_engine, _writer, phase, _thread, mut completions) = waiting(&fs);
        phase.send_replace(ShutdownPhase::Closing);
        let result = completions.blocking_recv().unwrap().result;
        assert!(matches!(result, Err(Error::NoSpace(_))));
    }
}
