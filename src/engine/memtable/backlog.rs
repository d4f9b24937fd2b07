//! Entries that nobody has asked for in order yet, as they came.

use super::entry::Entry;

/// Entries of a chunk: what is moved when a vector grows stays small.
const CHUNK_ENTRIES: usize = 4096;
/// Runs up to this length are sorted by comparing whole keys.
const SHORT_RUN: usize = 32;

/// Entries in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    chunks: Vec<Vec<Entry>>,
}

impl Backlog {
    pub(super) fn push(&mut self, entry: Entry) {
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK_ENTRIES => chunk.push(entry),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK_ENTRIES);
                chunk.push(entry);
                self.chunks.push(chunk);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        let last = self.chunks.last().map_or(0, Vec::len);
        self.chunks.len().saturating_sub(1) * CHUNK_ENTRIES + last
    }

    /// The entries in their order: by key, then from the newest to the oldest.
    pub(super) fn into_sorted(self) -> impl Iterator<Item = Entry> {
        let entries: Vec<Entry> = self.chunks.into_iter().flatten().collect();
        let mut order: Vec<Head> =
            (0..).take(entries.len()).map(|number| Head { bytes: 0, number }).collect();
        sort(&mut order, &entries, 0);
        let mut entries: Vec<Option<Entry>> = entries.into_iter().map(Some).collect();
        order.into_iter().filter_map(move |head| entries.get_mut(head.number as usize)?.take())
    }
}

/// An entry by its number, and eight bytes of its key as a number that compares as they do.
#[derive(Clone, Copy)]
struct Head {
    bytes: u64,
    number: u32,
}

/// Sorts a run of entries whose keys have their first `skip` bytes in common. By eight bytes of each
/// key at a time, which lie side by side; the keys are somewhere else in memory each.
fn sort(run: &mut [Head], entries: &[Entry], skip: usize) {
    let entry = |head: &Head| &entries[head.number as usize];
    if run.len() <= SHORT_RUN {
        return run.sort_unstable_by(|a, b| entry(a).place().cmp(&entry(b).place()));
    }
    let Some(first) = run.first().map(|head| entry(head).key()) else { return };
    let mut shared = first.len();
    let mut longest = first.len();
    for key in run.iter().map(|head| entry(head).key()) {
        shared = skip + common_len(key, first.get(..shared).unwrap_or_default(), skip);
        longest = longest.max(key.len());
    }
    if shared == longest {
        // One key: the newest first.
        return run.sort_unstable_by_key(|head| std::cmp::Reverse(entry(head).seq));
    }
    for head in run.iter_mut() {
        head.bytes =
            super::head(entries[head.number as usize].key().get(shared..).unwrap_or_default());
    }
    run.sort_unstable_by_key(|head| head.bytes);
    for equal in run.chunk_by_mut(|a, b| a.bytes == b.bytes) {
        if equal.len() > 1 {
            sort_equal(equal, entries, shared);
        }
    }
}

/// Sorts a run whose keys agree in eight bytes from `shared` on, or end there.
fn sort_equal(run: &mut [Head], entries: &[Entry], shared: usize) {
    let entry = |head: &Head| &entries[head.number as usize];
    // Zeros stand for bytes behind the end too: only where no key ends are the eight in common.
    if run.iter().all(|head| entry(head).key().len() >= shared + 8) {
        sort(run, entries, shared + 8);
    } else {
        run.sort_unstable_by(|a, b| entry(a).place().cmp(&entry(b).place()));
    }
}

/// How many bytes from `skip` on both have in common.
fn common_len(a: &[u8], b: &[u8], skip: usize) -> usize {
    let (a, b) = (a.get(skip..).unwrap_or_default(), b.get(skip..).unwrap_or_default());
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn keys() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let key = prop_oneof![
            vec(0_u8..3, 0..12),
            vec(0_u8..2, 0..12).prop_map(|tail| [b"a common prefix".to_vec(), tail].concat()),
            Just(b"the same key".to_vec()),
        ];
        vec(key, 0..400)
    }

    proptest! {
        #[test]
        fn sorted_is_by_key_and_then_newest_first(keys in keys()) {
            let mut backlog = Backlog::default();
            for (seq, key) in (1..).zip(&keys) {
                backlog.push(Entry::new(key, seq, Some(b"v")));
            }
            prop_assert_eq!(backlog.len(), keys.len());
            let mut expected: Vec<(&[u8], std::cmp::Reverse<u64>)> =
                (1..).zip(&keys).map(|(seq, key)| (&key[..], std::cmp::Reverse(seq))).collect();
            expected.sort();
            let sorted: Vec<Entry> = backlog.into_sorted().collect();
            let sorted: Vec<_> =
                sorted.iter().map(|e| (e.key(), std::cmp::Reverse(e.seq))).collect();
            prop_assert_eq!(sorted, expected);
        }
    }

    #[test]
    fn many_chunks_are_kept() {
        let mut backlog = Backlog::default();
        for seq in 1..=3 * CHUNK_ENTRIES as u64 + 5 {
            backlog.push(Entry::new(&(seq * 7919 % 20_000).to_be_bytes(), seq, None));
            assert_eq!(backlog.len() as u64, seq);
        }
        let sorted: Vec<Entry> = backlog.into_sorted().collect();
        assert_eq!(sorted.len(), 3 * CHUNK_ENTRIES + 5);
        assert!(sorted.is_sorted_by(|a, b| a.place() < b.place()));
    }
}
