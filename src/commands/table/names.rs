//! Names of commands, in any case.

use hashbrown::HashTable;

/// What the hash of a name looks at; names that are alike so far are few.
const HEAD_BYTES: usize = 16;
/// Makes letters small. Other bytes may become alike as well: a name is compared as a whole.
const SMALL: u64 = u64::from_ne_bytes([0x20; 8]);
/// An odd number without a pattern, 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Ids of commands by their names. Every request looks its command up here, so the hash is two
/// multiplications; nobody else chooses the names.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    ids: HashTable<(Box<[u8]>, u16)>,
    len_max: usize,
}

impl Names {
    /// The command of this name.
    pub(super) fn get(&self, name: &[u8]) -> Option<u16> {
        if name.len() > self.len_max {
            return None;
        }
        self.ids
            .find(hash_of(name), |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, id)| *id)
    }

    /// Adds a name, which is not there yet.
    pub(super) fn insert(&mut self, name: &str, id: u16) {
        let name: Box<[u8]> = name.as_bytes().into();
        self.len_max = self.len_max.max(name.len());
        self.ids.insert_unique(hash_of(&name), (name, id), |(name, _)| hash_of(name));
    }

    /// Takes a name away; the command that had it.
    pub(super) fn remove(&mut self, name: &str) -> Option<u16> {
        let is_it = |(known, _): &(Box<[u8]>, u16)| known.eq_ignore_ascii_case(name.as_bytes());
        let found = self.ids.find_entry(hash_of(name.as_bytes()), is_it).ok()?;
        let ((_, id), _) = found.remove();
        Some(id)
    }
}

fn hash_of(name: &[u8]) -> u64 {
    let mut head = [[0; 8]; HEAD_BYTES / 8];
    let len = name.len().min(HEAD_BYTES);
    head.as_flattened_mut()[..len].copy_from_slice(&name[..len]);
    let [low, high] = head.map(|bytes| u64::from_ne_bytes(bytes) | SMALL);
    let mixed = (low.wrapping_mul(SPREAD) ^ high).wrapping_mul(SPREAD);
    // The table takes its tags from the highest bits and its places from the lowest.
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_any_case_until_it_is_taken_away() {
        let mut names = Names::default();
        let all =
            ["get", "getset", "object", "a-name-that-is-longer-than-16", "a-name-that-is-lon"];
        for (name, id) in all.into_iter().zip(0..) {
            names.insert(name, id);
        }
        for (name, id) in all.into_iter().zip(0..) {
            assert_eq!(names.get(name.as_bytes()), Some(id));
            assert_eq!(names.get(name.to_uppercase().as_bytes()), Some(id));
        }
        // The bytes of "G@T" and "g`t" differ as those of small and large letters do.
        for unknown in
            [&b""[..], b"ge", b"gets", b"g\x45t\0", b"a-name-that-is-longer-than-17", &[b'x'; 99]]
        {
            assert_eq!(names.get(unknown), None);
        }
        names.insert("g@t", 9);
        assert_eq!((names.get(b"G@T"), names.get(b"g`t")), (Some(9), None));
        assert_eq!((names.remove("GET"), names.remove("get")), (Some(0), None));
        assert_eq!((names.get(b"get"), names.get(b"getset")), (None, Some(1)));
    }
}
