//! Time: wall clock in Unix milliseconds, and a monotonic clock in nanoseconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of time, shared by all threads.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Milliseconds since the Unix epoch. May jump when the system clock is set.
    fn unix_ms(&self) -> u64;
    /// Microseconds since the Unix epoch. May jump when the system clock is set.
    fn unix_us(&self) -> u64;
    /// Nanoseconds since an arbitrary start; never goes back.
    fn monotonic_ns(&self) -> u64;
    /// Has the calling thread wait until so much time has passed.
    fn pause(&self, duration: Duration);
}

/// The clock of the operating system.
#[derive(Debug, Clone)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the wrapper that the ban points to")]
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn unix_ms(&self) -> u64 {
        self.unix_us() / 1000
    }

    #[expect(clippy::disallowed_methods, reason = "this is the wrapper that the ban points to")]
    fn unix_us(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the wrapper that the ban points to")]
    fn pause(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// A clock that moves only when told to.
#[derive(Debug, Clone, Default)]
pub struct SimClock {
    now_us: Arc<AtomicU64>,
}

impl SimClock {
    /// A clock that stands at `unix_ms`.
    #[must_use]
    pub fn at_ms(unix_ms: u64) -> Self {
        Self { now_us: Arc::new(AtomicU64::new(unix_ms * 1000)) }
    }

    /// Moves the clock forward by `ms` milliseconds.
    pub fn advance_ms(&self, ms: u64) {
        self.now_us.fetch_add(ms * 1000, Ordering::SeqCst);
    }
}

impl Clock for SimClock {
    fn unix_ms(&self) -> u64 {
        self.unix_us() / 1000
    }

    fn unix_us(&self) -> u64 {
        self.now_us.load(Ordering::SeqCst)
    }

    fn monotonic_ns(&self) -> u64 {
        self.unix_us() * 1000
    }

    fn pause(&self, duration: Duration) {
        self.advance_ms(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    }
}
