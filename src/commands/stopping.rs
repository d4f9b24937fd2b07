//! What `SHUTDOWN` and signals ask of the server, and how far it is.

use tokio::sync::watch;

/// A wish to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShutdownRequest {
    /// `SAVE` or `NOSAVE`. `Some(true)` has the memtables flushed before the end, so that the next
    /// start has next to no log to replay; otherwise they are not. The log is synced in each case.
    pub save: Option<bool>,
    /// Do not wait for running commands and their replies.
    pub now: bool,
    /// Go on where the flush of `SAVE` fails.
    pub force: bool,
}

/// How far a shutdown is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ShutdownPhase {
    /// Not asked for.
    #[default]
    Running,
    /// Asked for, and the flush of `SAVE` may be running; can still be aborted.
    Requested(ShutdownRequest),
    /// Cannot be aborted any more; connections close.
    Closing,
}

/// Shared state of the shutdown.
#[derive(Debug)]
pub struct Shutdown {
    phase: watch::Sender<ShutdownPhase>,
    time_is_up: watch::Sender<bool>,
}

impl Default for Shutdown {
    fn default() -> Self {
        let phase = watch::Sender::new(ShutdownPhase::Running);
        Self { phase, time_is_up: watch::Sender::new(false) }
    }
}

impl Shutdown {
    /// Asks for a shutdown; a later request replaces an earlier one that has not begun.
    pub fn request(&self, request: ShutdownRequest) {
        self.phase.send_if_modified(|phase| {
            let modify = *phase != ShutdownPhase::Closing;
            if modify {
                *phase = ShutdownPhase::Requested(request);
            }
            modify
        });
    }

    /// Takes a request back (`SHUTDOWN ABORT`, or a flush that failed); false where there is none.
    pub fn abort(&self) -> bool {
        self.phase.send_if_modified(|phase| {
            let modify = matches!(phase, ShutdownPhase::Requested(_));
            if modify {
                *phase = ShutdownPhase::Running;
            }
            modify
        })
    }

    /// The server has begun to close; called by the server only.
    pub fn begin_closing(&self) {
        self.phase.send_replace(ShutdownPhase::Closing);
    }

    /// Whether the server closes, which cannot be taken back.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        *self.phase.borrow() == ShutdownPhase::Closing
    }

    /// What still runs gets no more time; called by the server only.
    pub fn end_time(&self) {
        self.time_is_up.send_replace(true);
    }

    /// Whether what still runs gets no more time.
    #[must_use]
    pub fn is_time_up(&self) -> bool {
        *self.time_is_up.borrow()
    }

    /// Waits until what still runs gets no more time.
    pub async fn time_up(&self) {
        // It fails where the sender is gone, which is this.
        drop(self.time_is_up.subscribe().wait_for(|is_up| *is_up).await);
    }

    /// Sees every change of the phase.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<ShutdownPhase> {
        self.phase.subscribe()
    }
}
