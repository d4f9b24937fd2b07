//! Whether two orders have the same records, told without keeping them.

use xxhash_rust::xxh3::Xxh3;

/// Number and sum of the hashes of records: two ledgers of the same records are equal whatever the
/// order, two of different ones are not, but for a chance of one in 2^128.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::data) struct Ledger {
    count: u64,
    sum: u128,
}

impl Ledger {
    /// Enters a record of several parts.
    pub(in crate::data) fn add(&mut self, parts: &[&[u8]]) {
        let mut hasher = Xxh3::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        self.count += 1;
        self.sum = self.sum.wrapping_add(hasher.digest128());
    }

    /// How many records were entered.
    pub(in crate::data) fn count(self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(records: &[&[&[u8]]]) -> Ledger {
        let mut ledger = Ledger::default();
        records.iter().for_each(|parts| ledger.add(parts));
        ledger
    }

    #[test]
    fn only_the_records_count() {
        assert_eq!(ledger(&[&[b"a", b"b"], &[b"c"]]), ledger(&[&[b"c"], &[b"a", b"b"]]));
        assert_ne!(ledger(&[&[b"a", b"b"]]), ledger(&[&[b"ab", b""]]));
        assert_ne!(ledger(&[&[b"a"], &[b"a"]]), ledger(&[&[b"b"], &[b"b"]]));
        assert_ne!(ledger(&[&[b"a"]]), ledger(&[&[b"a"], &[b"a"]]));
    }
}
