//! Time: wall clock in Unix milliseconds, and a monotonic clock in nanoseconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

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

/// The clock of the operating system. It is looked at several times for each call, so seconds and
/// nanoseconds are taken as they come.
#[derive(Debug, Clone)]
pub struct SystemClock {
    start_ns: u64,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start_ns: count(ClockId::Monotonic, NS_PER_S) }
    }
}

const NS_PER_S: u64 = 1_000_000_000;

/// What a clock shows, in parts of a second of which there are `per_second`; a time before its
/// beginning counts as that.
#[inline]
fn count(clock: ClockId, per_second: u64) -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
    let seconds = u64::try_from(tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(tv_nsec).unwrap_or(0);
    seconds * per_second + nanoseconds / (NS_PER_S / per_second)
}

impl Clock for SystemClock {
    fn unix_ms(&self) -> u64 {
        count(ClockId::Realtime, 1000)
    }

    fn unix_us(&self) -> u64 {
        count(ClockId::Realtime, 1_000_000)
    }

    fn monotonic_ns(&self) -> u64 {
        count(ClockId::Monotonic, NS_PER_S) - self.start_ns
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "held against the clocks of the standard library"
    )]
    fn it_shows_what_the_system_shows() {
        let clock = SystemClock::default();
        let started = std::time::Instant::now();
        let unix = || std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
        let before = unix();
        let (ms, us) = (u128::from(clock.unix_ms()), u128::from(clock.unix_us()));
        let after = unix();
        assert!((before.as_millis()..=after.as_millis()).contains(&ms));
        assert!((before.as_micros()..=after.as_micros()).contains(&us));
        let at_ns = clock.monotonic_ns();
        clock.pause(Duration::from_millis(2));
        let passed_ns = clock.monotonic_ns() - at_ns;
        assert!(passed_ns >= 2_000_000);
        assert!(u128::from(at_ns + passed_ns) <= started.elapsed().as_nanos() + 1_000_000_000);
    }
}
