//! Approximate access times and frequencies of keys, in memory only.
//!
//! A fixed array of slots, indexed by the hash of the key: what is written is one relaxed store per
//! access, and the memory is bounded. Two keys of one slot share it, so the later access of the
//! two counts. A key that was not touched since the start is idle since the start.
//!
//! Slots are spread over memory, so that each access costs a wait for memory. Accesses are therefore
//! gathered per thread, and noted together when a pipeline ends ([`Access::settle`]): then
//! the waits overlap.
//!
//! A slot holds the time of the last access in seconds (24 bits, high) and a logarithmic counter
//! (8 bits, low), which grows by chance, the less the larger it is, and decays with idle time.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Counter of a key that was just made, so that it is not the first to be called rare.
const COUNTER_START: u8 = 5;
const CLOCK_MASK: u64 = 0xff_ffff;
/// Accesses that a thread gathers at most.
const GATHERED_MAX: usize = 64;

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static GATHERED: RefCell<Gathered> = const { RefCell::new(Gathered { owner: 0, accesses: Vec::new() }) };
}

/// Accesses that were not noted yet.
#[derive(Debug)]
struct Gathered {
    /// Whose slots they are.
    owner: u64,
    accesses: Vec<OneAccess>,
}

#[derive(Debug, Clone, Copy)]
struct OneAccess {
    slot: usize,
    now_ms: u64,
    /// What the counter is from now on; `None` where it grows by chance.
    counter: Option<u8>,
}

/// Access times and frequencies. Shared by all threads; relaxed atomics only.
#[derive(Debug)]
pub struct Access {
    id: u64,
    slots: Box<[AtomicU32]>,
    /// What a slot that was never written stands for.
    start: u32,
    log_factor: AtomicU32,
    decay_minutes: AtomicU32,
    prefers_frequency: AtomicBool,
}

impl Access {
    /// At most `budget_bytes` of slots; keys are idle since `now_ms`.
    #[must_use]
    pub fn new(budget_bytes: usize, now_ms: u64) -> Self {
        let count = (budget_bytes / size_of::<AtomicU32>()).max(1);
        // A power of two, so that the hash is masked.
        let count = if count.is_power_of_two() { count } else { count.next_power_of_two() / 2 };
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed) + 1,
            slots: (0..count).map(|_| AtomicU32::new(0)).collect(),
            start: pack(now_ms, COUNTER_START),
            log_factor: AtomicU32::new(10),
            decay_minutes: AtomicU32::new(1),
            prefers_frequency: AtomicBool::new(false),
        }
    }

    /// `lfu-log-factor` and `lfu-decay-time` (minutes; 0 never decays).
    pub fn set_lfu(&self, log_factor: u32, decay_minutes: u32) {
        self.log_factor.store(log_factor, Ordering::Relaxed);
        self.decay_minutes.store(decay_minutes, Ordering::Relaxed);
    }

    /// Whether `maxmemory-policy` is one of the LFU family: then `OBJECT FREQ` answers and
    /// `OBJECT IDLETIME` does not.
    pub fn set_prefers_frequency(&self, yes: bool) {
        self.prefers_frequency.store(yes, Ordering::Relaxed);
    }

    /// See [`Self::set_prefers_frequency`].
    #[must_use]
    pub fn prefers_frequency(&self) -> bool {
        self.prefers_frequency.load(Ordering::Relaxed)
    }

    /// Bytes in use.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.slots.len() * size_of::<AtomicU32>()
    }

    /// The key was read or written. Noted at [`Self::settle`].
    pub(super) fn touch(&self, keyspace: u32, key: &[u8], now_ms: u64) {
        self.gather(OneAccess { slot: self.slot_number(keyspace, key), now_ms, counter: None });
    }

    /// The key was made. Noted at [`Self::settle`].
    pub(super) fn create(&self, keyspace: u32, key: &[u8], now_ms: u64) {
        self.set_frequency(keyspace, key, now_ms, COUNTER_START);
    }

    /// The key was used last so many seconds ago. Noted at [`Self::settle`].
    pub(super) fn set_idle(&self, keyspace: u32, key: &[u8], now_ms: u64, seconds: u64) {
        // A slot knows no longer time; as in Redis it wraps.
        let idle_ms = (seconds & CLOCK_MASK) * 1000;
        self.create(keyspace, key, now_ms.saturating_sub(idle_ms));
    }

    /// The logarithmic counter of the key is this. Noted at [`Self::settle`].
    pub(super) fn set_frequency(&self, keyspace: u32, key: &[u8], now_ms: u64, counter: u8) {
        let slot = self.slot_number(keyspace, key);
        self.gather(OneAccess { slot, now_ms, counter: Some(counter) });
    }

    fn gather(&self, access: OneAccess) {
        let is_full = GATHERED.with_borrow_mut(|gathered| {
            if gathered.owner != self.id {
                gathered.owner = self.id;
                gathered.accesses.clear();
            }
            gathered.accesses.push(access);
            gathered.accesses.len() >= GATHERED_MAX
        });
        if is_full {
            self.settle();
        }
    }

    /// Notes the accesses that this thread has gathered. To be called when a run of commands ends,
    /// before others could miss them.
    pub fn settle(&self) {
        GATHERED.with_borrow_mut(|gathered| {
            if gathered.owner == self.id {
                gathered.accesses.drain(..).for_each(|access| self.note(access));
            }
        });
    }

    fn note(&self, OneAccess { slot, now_ms, counter }: OneAccess) {
        let slot = &self.slots[slot];
        let counter = counter.unwrap_or_else(|| self.grown(self.decayed(self.load(slot), now_ms)));
        slot.store(pack(now_ms, counter), Ordering::Relaxed);
    }

    /// Seconds since the last access.
    #[must_use]
    pub fn idle_seconds(&self, keyspace: u32, key: &[u8], now_ms: u64) -> u64 {
        self.settle();
        idle_seconds(self.load(self.slot(keyspace, key)), now_ms)
    }

    /// The logarithmic counter, decayed to now.
    #[must_use]
    pub fn frequency(&self, keyspace: u32, key: &[u8], now_ms: u64) -> u8 {
        self.settle();
        self.decayed(self.load(self.slot(keyspace, key)), now_ms)
    }

    fn slot(&self, keyspace: u32, key: &[u8]) -> &AtomicU32 {
        &self.slots[self.slot_number(keyspace, key)]
    }

    fn slot_number(&self, keyspace: u32, key: &[u8]) -> usize {
        let hash = xxh3_64_with_seed(key, u64::from(keyspace));
        usize::try_from(hash).unwrap_or(0) & (self.slots.len() - 1)
    }

    fn load(&self, slot: &AtomicU32) -> u32 {
        match slot.load(Ordering::Relaxed) {
            0 => self.start,
            packed => packed,
        }
    }

    fn decayed(&self, packed: u32, now_ms: u64) -> u8 {
        let minutes = idle_seconds(packed, now_ms) / 60;
        let steps = match self.decay_minutes.load(Ordering::Relaxed) {
            0 => 0,
            decay => minutes / u64::from(decay),
        };
        let [counter, ..] = packed.to_le_bytes();
        counter.saturating_sub(u8::try_from(steps).unwrap_or(u8::MAX))
    }

    fn grown(&self, counter: u8) -> u8 {
        let above = f64::from(counter.saturating_sub(COUNTER_START));
        let factor = f64::from(self.log_factor.load(Ordering::Relaxed));
        if fastrand::f64() < 1.0 / (above * factor + 1.0) {
            counter.saturating_add(1)
        } else {
            counter
        }
    }
}

fn pack(now_ms: u64, counter: u8) -> u32 {
    ((((now_ms / 1000) & CLOCK_MASK) as u32) << 8) | u32::from(counter)
}

fn idle_seconds(packed: u32, now_ms: u64) -> u64 {
    // The 24 bits wrap after 194 days; so does the difference.
    (now_ms / 1000).wrapping_sub(u64::from(packed >> 8)) & CLOCK_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_and_touch() {
        let access = Access::new(1024, 1_000_000_000);
        assert_eq!(access.idle_seconds(0, b"k", 1_000_000_000 + 7_000), 7);
        access.touch(0, b"k", 1_000_010_000);
        assert_eq!(access.idle_seconds(0, b"k", 1_000_012_500), 2);
    }

    #[test]
    fn the_counter_grows_slowly_and_decays() {
        let access = Access::new(1024, 1_000_000_000);
        assert_eq!(access.frequency(0, b"k", 1_000_000_000), COUNTER_START);
        access.create(0, b"k", 1_000_000_000);
        for _ in 0..10_000 {
            access.touch(0, b"k", 1_000_000_000);
        }
        let hot = access.frequency(0, b"k", 1_000_000_000);
        assert!((20..90).contains(&hot), "{hot}");
        assert_eq!(access.frequency(0, b"k", 1_000_000_000 + 10 * 60_000), hot - 10);
        access.set_lfu(10, 0);
        assert_eq!(access.frequency(0, b"k", 1_000_000_000 + 10 * 60_000), hot);
    }

    #[test]
    fn both_are_set_as_asked_for() {
        let now_ms = 1_700_000_000_000;
        let access = Access::new(1024, now_ms);
        access.set_idle(0, b"k", now_ms, 1000);
        assert_eq!(access.idle_seconds(0, b"k", now_ms + 5000), 1005);
        access.set_frequency(0, b"k", now_ms, 100);
        assert_eq!(access.frequency(0, b"k", now_ms), 100);
        assert_eq!(access.idle_seconds(0, b"k", now_ms), 0);
    }

    #[test]
    fn memory_stays_below_its_budget() {
        assert_eq!(Access::new(1000, 0).size_bytes(), 512);
        assert_eq!(Access::new(1024, 0).size_bytes(), 1024);
    }
}
