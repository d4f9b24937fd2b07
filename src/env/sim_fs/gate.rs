//! A disk that hangs: operations wait until it goes on.

use parking_lot::{Condvar, Mutex};

#[derive(Debug, Default)]
pub(super) struct Gate {
    closed: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    /// Closes or opens the gate.
    pub(super) fn close(&self, closed: bool) {
        *self.closed.lock() = closed;
        self.changed.notify_all();
    }

    /// Waits while the gate is closed.
    pub(super) fn pass(&self) {
        let mut closed = self.closed.lock();
        while *closed {
            self.changed.wait(&mut closed);
        }
    }
}
