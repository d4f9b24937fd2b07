//! Where running scans continue.
//!
//! Keys are walked in their own order, so a scan continues behind the last key that it has
//! examined; but a cursor is a 64-bit number, and a key is longer. A cursor is therefore
//!
//! ```text
//! bit 63       0 (some clients read cursors as signed)
//! bits 39-62   first three bytes of that key, zeros where it is shorter
//! bits 0-38    hash of the keyspace and the key, never 0
//! ```
//!
//! and a bounded table, shared by all connections, says which key it stands for. What holds:
//!
//! - A cursor that the table knows continues exactly behind its key, whether or not the key still
//!   exists. Nothing that stays is missed, nothing comes twice.
//! - One that the table does not know (after a restart, or after 16,384 newer ones) continues
//!   at its three bytes, which do not lie behind the key: nothing that stays is missed, and what
//!   comes again may do so by the promise that `SCAN` gives. The next cursor of that scan is in
//!   the table, so it makes progress.
//! - Two keys get the same cursor only where 39 bits of hash collide. A collision with a cursor
//!   in the table is seen, and the later one takes another hash; so a wrong place needs a
//!   collision with a cursor that was forgotten and then used (about 10^-12 per scan call).
//! - The cursor of a key is a function of the key, so running a call again changes nothing.

use std::collections::{HashMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Cursors that are remembered. Each running scan has one.
const CURSORS_MAX: usize = 16 * 1024;
/// Bytes of keys that are remembered; the newest cursor is kept whatever its length.
const KEY_BYTES_MAX: usize = 4 * 1024 * 1024;
const HASH_BITS: u32 = 39;
const PREFIX_LEN: usize = 3;

/// Cursors and the keys they stand for. The lock is held for one look-up or insertion, never
/// across a read.
#[derive(Debug, Default)]
pub struct Cursors {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    keys: HashMap<u64, Remembered>,
    /// Oldest first; an entry whose stamp is not that of the table was issued again later.
    order: VecDeque<(u64, u64)>,
    next_stamp: u64,
    key_bytes: usize,
}

#[derive(Debug)]
struct Remembered {
    keyspace: u32,
    key: Bytes,
    stamp: u64,
}

impl Cursors {
    /// The cursor of a scan of `keyspace` that goes on behind `key`. Never 0.
    pub fn remember(&self, keyspace: u32, key: &[u8]) -> u64 {
        let mut table = self.table.lock();
        let mut salt = u64::from(keyspace);
        loop {
            let cursor = cursor_of(key, salt);
            match table.keys.get(&cursor) {
                Some(other) if other.keyspace != keyspace || other.key != key => {
                    salt = salt.wrapping_add(1 << 32);
                }
                _ => {
                    table.insert(cursor, keyspace, key);
                    return cursor;
                }
            }
        }
    }

    /// Where the scan of `keyspace` with this cursor goes on.
    #[must_use]
    pub fn resume(&self, keyspace: u32, cursor: u64) -> Bound<Bytes> {
        if cursor == 0 {
            return Bound::Unbounded;
        }
        if let Some(found) = self.table.lock().keys.get(&cursor)
            && found.keyspace == keyspace
        {
            return Bound::Excluded(found.key.clone());
        }
        let prefix = (cursor >> HASH_BITS).to_be_bytes();
        let prefix = &prefix[prefix.len() - PREFIX_LEN..];
        // Zeros at the end may be padding; without them the place lies before or at the key.
        let len = prefix.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        // Bit 63 is never set in a cursor of ours: such a number is past all of them.
        Bound::Included(Bytes::copy_from_slice(&prefix[..len]))
    }
}

impl Table {
    fn insert(&mut self, cursor: u64, keyspace: u32, key: &[u8]) {
        let stamp = self.next_stamp;
        self.next_stamp += 1;
        self.order.push_back((cursor, stamp));
        match self.keys.get_mut(&cursor) {
            Some(known) => known.stamp = stamp,
            None => {
                self.key_bytes += key.len();
                let key = Bytes::copy_from_slice(key);
                self.keys.insert(cursor, Remembered { keyspace, key, stamp });
            }
        }
        while self.order.len() > CURSORS_MAX
            || self.key_bytes > KEY_BYTES_MAX && self.order.len() > 1
        {
            let Some((oldest, stamp)) = self.order.pop_front() else { break };
            if self.keys.get(&oldest).is_some_and(|known| known.stamp == stamp)
                && let Some(forgotten) = self.keys.remove(&oldest)
            {
                self.key_bytes -= forgotten.key.len();
            }
        }
    }
}

fn cursor_of(key: &[u8], salt: u64) -> u64 {
    let mut prefix = [0; 8];
    for (to, from) in prefix[8 - PREFIX_LEN..].iter_mut().zip(key) {
        *to = *from;
    }
    let hash = xxh3_64_with_seed(key, salt) & ((1 << HASH_BITS) - 1);
    u64::from_be_bytes(prefix) << HASH_BITS | hash.max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_known_cursor_continues_behind_its_key() {
        let cursors = Cursors::default();
        let cursor = cursors.remember(1, b"user:17");
        assert_eq!(cursor, cursors.remember(1, b"user:17"));
        assert_eq!(cursors.resume(1, cursor), Bound::Excluded(Bytes::from("user:17")));
        assert_eq!(cursors.resume(2, cursor), Bound::Included(Bytes::from("use")));
        assert_eq!(cursors.resume(1, 0), Bound::Unbounded);
    }

    #[test]
    fn the_table_is_bounded() {
        let cursors = Cursors::default();
        let first = cursors.remember(0, b"first");
        let again = cursors.remember(0, b"again");
        for n in 0..CURSORS_MAX - 1 {
            if n % 1000 == 0 {
                cursors.remember(0, b"again");
            }
            cursors.remember(0, format!("key:{n}").as_bytes());
        }
        assert!(cursors.table.lock().keys.len() <= CURSORS_MAX);
        assert_eq!(cursors.resume(0, first), Bound::Included(Bytes::from("fir")));
        assert_eq!(cursors.resume(0, again), Bound::Excluded(Bytes::from("again")));
        for _ in 0..3 {
            let long = vec![b'x'; KEY_BYTES_MAX];
            let cursor = cursors.remember(0, &long);
            assert_eq!(cursors.resume(0, cursor), Bound::Excluded(long.into()));
        }
        assert!(cursors.table.lock().key_bytes <= KEY_BYTES_MAX + 16);
    }

    proptest! {
        #[test]
        fn an_unknown_cursor_does_not_skip(key in proptest::collection::vec(any::<u8>(), 0..6)) {
            let cursor = cursor_of(&key, 0);
            prop_assert!(cursor > 0 && cursor < 1 << 63);
            match Cursors::default().resume(0, cursor) {
                Bound::Included(start) => prop_assert!(start[..] <= key[..]),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
