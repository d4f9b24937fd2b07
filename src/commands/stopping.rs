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
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { phase: watch::Sender::new(ShutdownPhase::Running) }
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

    /// Sees every change of the phase.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<ShutdownPhase> {
        self.phase.subscribe()
    }
}
