//! The slow log: the latest commands that took long.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

/// Most words of a call that are kept; the last one then says how many are left out.
const WORDS_MAX: usize = 32;
/// Most bytes of a word that are kept.
const WORD_BYTES_MAX: usize = 128;

/// One slow command.
#[derive(Debug, Clone)]
pub struct SlowLogEntry {
    /// Unique, increasing from 0.
    pub id: u64,
    /// When it ended, in Unix seconds.
    pub unix_s: u64,
    /// How long it ran, in microseconds.
    pub duration_us: u64,
    /// Its words, shortened.
    pub words: Vec<Bytes>,
    /// Address of the client.
    pub addr: Box<str>,
    /// Name of the client.
    pub name: Box<[u8]>,
}

/// The slow log; the newest entry comes first. The lock is held for a push or a copy.
#[derive(Debug, Default)]
pub struct SlowLog {
    entries: Mutex<VecDeque<SlowLogEntry>>,
    next_id: AtomicU64,
}

impl SlowLog {
    /// Adds a command and drops the oldest beyond `len_max`. Where none may be kept, no id is used.
    pub fn push(
        &self,
        len_max: usize,
        unix_s: u64,
        duration_us: u64,
        words: &[Bytes],
        addr: &str,
        name: &[u8],
    ) {
        if len_max == 0 {
            return self.reset();
        }
        let entry = SlowLogEntry {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            unix_s,
            duration_us,
            words: shorten(words),
            addr: addr.into(),
            name: name.into(),
        };
        let mut entries = self.entries.lock();
        entries.push_front(entry);
        entries.truncate(len_max);
    }

    /// The newest `count` entries, newest first.
    #[must_use]
    pub fn latest(&self, count: usize) -> Vec<SlowLogEntry> {
        self.entries.lock().iter().take(count).cloned().collect()
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.lock().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all entries; ids go on.
    pub fn reset(&self) {
        self.entries.lock().clear();
    }
}

/// Copies, so that a long-lived entry does not pin the read buffer it came in.
fn shorten(words: &[Bytes]) -> Vec<Bytes> {
    let kept = if words.len() > WORDS_MAX { WORDS_MAX - 1 } else { words.len() };
    let mut short: Vec<Bytes> = words
        .iter()
        .take(kept)
        .map(|word| match word.get(..WORD_BYTES_MAX) {
            Some(start) if word.len() > WORD_BYTES_MAX => {
                let more = format!("... ({} more bytes)", word.len() - WORD_BYTES_MAX);
                Bytes::from([start, more.as_bytes()].concat())
            }
            _ => Bytes::copy_from_slice(word),
        })
        .collect();
    if kept < words.len() {
        short.push(format!("... ({} more arguments)", words.len() - kept).into());
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_calls_are_shortened() {
        let words: Vec<Bytes> = (0..40).map(|_| Bytes::from(vec![b'x'; 130])).collect();
        let log = SlowLog::default();
        log.push(2, 1, 2, &words, "a", b"n");
        let entry = &log.latest(1)[0];
        assert_eq!(entry.words.len(), 32);
        assert_eq!(entry.words[31], "... (9 more arguments)");
        assert!(entry.words[0].ends_with(b"x... (2 more bytes)"));
    }

    #[test]
    fn the_oldest_go_and_ids_go_on() {
        let log = SlowLog::default();
        for us in 0..5 {
            log.push(3, 1, us, &[], "", b"");
        }
        let ids: Vec<u64> = log.latest(10).iter().map(|entry| entry.id).collect();
        assert_eq!(ids, [4, 3, 2]);
        log.reset();
        log.push(3, 1, 0, &[], "", b"");
        assert_eq!((log.len(), log.latest(1)[0].id), (1, 5));
        log.push(0, 1, 0, &[], "", b"");
        assert!(log.is_empty());
        log.push(3, 1, 0, &[], "", b"");
        assert_eq!(log.latest(1)[0].id, 6);
    }
}
