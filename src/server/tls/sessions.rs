//! The sessions that clients may resume.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::server::StoresServerSessions;

use crate::env::Clock;

/// Keys of sessions that are gone that may stand in the line, beside as many as there are sessions.
const GONE_MAX: usize = 64;

/// Sessions in memory, bounded in number and time. The oldest goes where there is no room.
#[derive(Debug)]
pub(super) struct Sessions {
    len_max: usize,
    lifetime_ns: u64,
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_key: HashMap<Vec<u8>, Session>,
    /// In the order in which they were put; may name some that are gone.
    line: VecDeque<(u64, Vec<u8>)>,
}

struct Session {
    put_ns: u64,
    secrets: Vec<u8>,
}

impl std::fmt::Debug for Kept {
    /// Without the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("len", &self.by_key.len()).finish_non_exhaustive()
    }
}

impl Sessions {
    /// Room for `len_max` sessions (0: any number), each for so many seconds.
    pub(super) fn new(len_max: usize, lifetime_s: u64, clock: Arc<dyn Clock>) -> Self {
        Self {
            len_max: if len_max == 0 { usize::MAX } else { len_max },
            lifetime_ns: lifetime_s.saturating_mul(1_000_000_000),
            clock,
            kept: Mutex::default(),
        }
    }

    fn is_live(&self, session: &Session) -> bool {
        self.clock.monotonic_ns().saturating_sub(session.put_ns) < self.lifetime_ns
    }
}

impl Kept {
    /// Drops the oldest ones beyond `len_max`, and those that were put before `oldest_ns`.
    fn trim(&mut self, len_max: usize, oldest_ns: u64) {
        while let Some((put_ns, key)) = self.line.front() {
            let is_there = self.by_key.get(key).is_some_and(|session| session.put_ns == *put_ns);
            if is_there && *put_ns >= oldest_ns && self.by_key.len() <= len_max {
                break;
            }
            if is_there {
                self.by_key.remove(key);
            }
            self.line.pop_front();
        }
        if self.line.len() > 2 * self.by_key.len() + GONE_MAX {
            let by_key = &self.by_key;
            self.line.retain(|(put_ns, key)| {
                by_key.get(key).is_some_and(|session| session.put_ns == *put_ns)
            });
        }
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let put_ns = self.clock.monotonic_ns();
        let mut kept = self.kept.lock();
        kept.line.push_back((put_ns, key.clone()));
        kept.by_key.insert(key, Session { put_ns, secrets: value });
        kept.trim(self.len_max, put_ns.saturating_sub(self.lifetime_ns));
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let kept = self.kept.lock();
        kept.by_key.get(key).filter(|session| self.is_live(session)).map(|s| s.secrets.clone())
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let session = self.kept.lock().by_key.remove(key)?;
        self.is_live(&session).then_some(session.secrets)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SimClock;

    fn key(number: u64) -> Vec<u8> {
        number.to_be_bytes().to_vec()
    }

    #[test]
    fn the_oldest_go_first_and_all_go_in_time() {
        let clock = Arc::new(SimClock::at_ms(1));
        let sessions = Sessions::new(3, 10, Arc::clone(&clock) as Arc<dyn Clock>);
        for number in 0..4 {
            assert!(sessions.put(key(number), vec![7]));
            clock.advance_ms(1000);
        }
        assert_eq!(sessions.get(&key(0)), None);
        assert_eq!(sessions.get(&key(1)), Some(vec![7]));
        assert_eq!(sessions.take(&key(1)), Some(vec![7]));
        assert_eq!(sessions.take(&key(1)), None);
        clock.advance_ms(8000);
        assert_eq!((sessions.get(&key(2)), sessions.take(&key(3))), (None, Some(vec![7])));
    }

    #[test]
    fn what_is_taken_leaves_nothing_behind() {
        let clock = Arc::new(SimClock::at_ms(1));
        let sessions = Sessions::new(0, 1000, clock);
        for number in 0..10_000 {
            sessions.put(key(number), vec![1]);
            sessions.take(&key(number));
        }
        let kept = sessions.kept.lock();
        assert!(kept.by_key.is_empty() && kept.line.len() <= 2 * GONE_MAX, "{}", kept.line.len());
    }
}
