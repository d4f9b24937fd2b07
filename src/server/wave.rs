//! When the replies of a connection leave: together with those of the others that are being served.
//!
//! A write to a socket wakes its peer. Where one program holds many connections, as a load balancer
//! does or a benchmark, it sleeps again before the next connection has been answered, and every write
//! pays for a wake-up: a third of the cost of a pipeline. So while several connections are being
//! served, each has its requests run first, and all write behind one another, once the reactor has
//! nothing else that is ready. A connection alone writes at once, and so does one whose turn has waited
//! for the writer: those of its batch are answered behind one another anyway.

use std::cell::Cell;

/// Turns that wait to write at most: each holds its replies.
const WAITING_MAX: u32 = 64;
/// A connection alone looks every so many turns whether it still is.
const PROBED_EVERY: u32 = 32;

/// The turns of a thread's connections.
#[derive(Debug, Clone, Copy, Default)]
struct Wave {
    /// Turns that wait to write.
    waiting: u32,
    /// Turns that wrote together the last time.
    before: u32,
    /// Turns that wrote alone since.
    alone: u32,
}

thread_local! {
    static WAVE: Cell<Wave> = const { Cell::new(Wave { waiting: 0, before: 0, alone: 0 }) };
}

/// Waits until the other connections that are ready have run as well, where there are any.
pub(crate) async fn gather() {
    let mut wave = WAVE.get();
    if wave.waiting >= WAITING_MAX {
        return;
    }
    let probes = wave.alone >= PROBED_EVERY;
    if wave.before < 2 && wave.waiting == 0 && !probes {
        wave.alone += 1;
        return WAVE.set(wave);
    }
    wave.alone = 0;
    wave.waiting += 1;
    WAVE.set(wave);
    // Tokio resumes who yields behind everything that is ready, and behind a look at the sockets.
    tokio::task::yield_now().await;
    let mut wave = WAVE.get();
    if wave.waiting > 0 {
        wave.before = wave.waiting;
        wave.waiting = 0;
        WAVE.set(wave);
    }
}
