//! Where running scans continue.
//!
//! Keys are walked in their own order, so a scan continues behind the last key that it has
//! examined; but a cursor is a 64-bit number, and a key is longer. A cursor is therefore
//!
//! ```text
//! bit 63       0 (some clients read cursors as signed)
//! bits 56-62   how many bytes all keys of the database begin with in common, 127 at most
//! bits 32-55   the three bytes of that key behind those, zeros where it is shorter
//! bits 0-31    hash of the keyspace and the key, never 0
//! ```
//!
//! and a bounded table, shared by all connections, says which key it stands for. The table is kept
//! in a file of the data directory (see [`CursorFile`]). What holds:
//!
//! - A cursor that the table knows continues exactly behind its key, whether or not the key still
//!   exists. Nothing that stays is missed, nothing comes twice.
//! - One that the table does not know (after 16,384 newer ones, or where the file was lost)
//!   continues at what all keys have in common by then and its three bytes. What stays was there
//!   when the cursor was made, so it begins with those bytes, as the key of the cursor did; the
//!   place does not lie behind that key, so nothing that stays is missed, and what comes again may
//!   do so by the promise that `SCAN` gives. Where the keys have less in common than the cursor
//!   says, because others came in the meantime, the scan continues at the first key.
//! - Two keys get the same cursor only where 32 bits of hash collide, and the bytes in front of
//!   them. A collision with a cursor in the table is seen, and the later one takes another hash; so
//!   a wrong place needs a collision with a cursor that was forgotten and then used (4 × 10^-6 for
//!   each use of such a one, at most).
//! - The cursor of a key is a function of the key and of the bytes in common, so running a call
//!   again changes nothing.

mod file;

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub use self::file::CursorFile;

/// Cursors that are remembered. Each running scan has one.
const CURSORS_MAX: usize = 16 * 1024;
/// Bytes of keys that are remembered; the newest cursor is kept whatever its length.
const KEY_BYTES_MAX: usize = 4 * 1024 * 1024;
const SHARED_BITS: u32 = 7;
const HASH_BITS: u32 = 32;
const PIECE_LEN: usize = 3;
const PIECE_BITS: u32 = 24;
const SHARED_AT: u32 = HASH_BITS + PIECE_BITS;
const SHARED_MAX: usize = (1 << SHARED_BITS) - 1;

/// Cursors and the keys they stand for. The lock is held for one look-up or insertion, or for a
/// copy of the table, never across a read.
#[derive(Debug, Default)]
pub struct Cursors {
    table: Mutex<Table>,
}

/// Where a scan goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At the first key.
    Start,
    /// Behind a key, which began with so many bytes that all keys had in common.
    Behind {
        /// The last key that was examined.
        key: Bytes,
        /// How many bytes.
        shared: usize,
    },
    /// Somewhere before the key of the cursor, which is not known any more.
    Near {
        /// How many bytes all keys had in common.
        shared: usize,
        /// What the key went on with; zeros at its end are left out.
        piece: Bytes,
    },
}

#[derive(Debug, Default)]
struct Table {
    keys: HashMap<u64, Remembered>,
    /// Oldest first; an entry whose stamp is not that of the table was issued again later.
    order: VecDeque<(u64, u64)>,
    next_stamp: u64,
    key_bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Remembered {
    keyspace: u32,
    key: Bytes,
    stamp: u64,
}

impl Cursors {
    /// The cursor of a scan of `keyspace` that goes on behind `key`, which begins with `shared`
    /// bytes that all keys have in common. Never 0.
    pub fn remember(&self, keyspace: u32, key: &[u8], shared: usize) -> u64 {
        let mut table = self.table.lock();
        let mut salt = u64::from(keyspace);
        loop {
            let cursor = cursor_of(key, shared, salt);
            match table.keys.get(&cursor) {
                Some(other) if other.keyspace != keyspace || other.key != key => {
                    salt = salt.wrapping_add(1 << 32);
                }
                _ => {
                    table.insert(cursor, keyspace, Bytes::copy_from_slice(key));
                    return cursor;
                }
            }
        }
    }

    /// Where the scan of `keyspace` with this cursor goes on.
    #[must_use]
    pub fn resume(&self, keyspace: u32, cursor: u64) -> Place {
        if cursor == 0 {
            return Place::Start;
        }
        // In a number of somebody else's bit 63 may be set; it goes on anywhere.
        let shared = usize::try_from(cursor >> SHARED_AT).unwrap_or(0) & SHARED_MAX;
        if let Some(found) = self.table.lock().keys.get(&cursor)
            && found.keyspace == keyspace
        {
            return Place::Behind { key: found.key.clone(), shared };
        }
        let piece = (cursor >> HASH_BITS).to_be_bytes();
        let piece = &piece[piece.len() - PIECE_LEN..];
        // Zeros at the end may be padding; without them the place lies before or at the key.
        let len = piece.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Place::Near { shared, piece: Bytes::copy_from_slice(&piece[..len]) }
    }
}

impl Table {
    fn insert(&mut self, cursor: u64, keyspace: u32, key: Bytes) {
        let stamp = self.next_stamp;
        self.next_stamp += 1;
        self.order.push_back((cursor, stamp));
        match self.keys.get_mut(&cursor) {
            Some(known) => known.stamp = stamp,
            None => {
                self.key_bytes += key.len();
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

fn cursor_of(key: &[u8], shared: usize, salt: u64) -> u64 {
    let shared = shared.min(SHARED_MAX).min(key.len());
    let mut piece = [0; 8];
    for (to, from) in piece[8 - PIECE_LEN..].iter_mut().zip(&key[shared..]) {
        *to = *from;
    }
    let hash = xxh3_64_with_seed(key, salt) & ((1 << HASH_BITS) - 1);
    (shared as u64) << SHARED_AT | u64::from_be_bytes(piece) << HASH_BITS | hash.max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn behind(key: &'static str, shared: usize) -> Place {
        Place::Behind { key: Bytes::from(key), shared }
    }

    fn near(shared: usize, piece: &'static str) -> Place {
        Place::Near { shared, piece: Bytes::from(piece) }
    }

    #[test]
    fn a_known_cursor_continues_behind_its_key() {
        let cursors = Cursors::default();
        let cursor = cursors.remember(1, b"user:17", 0);
        assert_eq!(cursor, cursors.remember(1, b"user:17", 0));
        assert_eq!(cursors.resume(1, cursor), behind("user:17", 0));
        assert_eq!(cursors.resume(2, cursor), near(0, "use"));
        assert_eq!(cursors.resume(1, 0), Place::Start);
        let cursor = cursors.remember(1, b"user:17", 5);
        assert_eq!(cursors.resume(1, cursor), behind("user:17", 5));
        assert_eq!(cursors.resume(2, cursor), near(5, "17"));
        let cursor = cursors.remember(1, b"user:17", 500);
        assert_eq!(cursors.resume(2, cursor), near(7, ""));
        assert_eq!(
            Cursors::default().resume(0, u64::MAX),
            Place::Near { shared: SHARED_MAX, piece: Bytes::from_static(&[255; 3]) }
        );
    }

    #[test]
    fn the_table_is_bounded() {
        let cursors = Cursors::default();
        let first = cursors.remember(0, b"first", 0);
        let again = cursors.remember(0, b"again", 0);
        for n in 0..CURSORS_MAX - 1 {
            if n % 1000 == 0 {
                cursors.remember(0, b"again", 0);
            }
            cursors.remember(0, format!("key:{n}").as_bytes(), 0);
        }
        assert!(cursors.table.lock().keys.len() <= CURSORS_MAX);
        assert_eq!(cursors.resume(0, first), near(0, "fir"));
        assert_eq!(cursors.resume(0, again), behind("again", 0));
        for _ in 0..3 {
            let long = vec![b'x'; KEY_BYTES_MAX];
            let cursor = cursors.remember(0, &long, 0);
            let key = Bytes::from(long);
            assert_eq!(cursors.resume(0, cursor), Place::Behind { key, shared: 0 });
        }
        assert!(cursors.table.lock().key_bytes <= KEY_BYTES_MAX + 16);
    }

    proptest! {
        #[test]
        fn an_unknown_cursor_does_not_skip(
            key in proptest::collection::vec(any::<u8>(), 0..6), shared in 0_usize..8,
        ) {
            let cursor = cursor_of(&key, shared, 0);
            prop_assert!(cursor > 0 && cursor < 1 << 63);
            match Cursors::default().resume(0, cursor) {
                Place::Near { shared, piece } => {
                    prop_assert!([&key[..shared], &piece].concat() <= key);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
