//! Generation records against the keys that have a generation, and back.

use std::collections::HashMap;
use std::ops::Bound;

use bytes::Bytes;

use super::database::{FORWARD, Promised, Walk, generations_of, metas};
use super::key;
use super::ledger::Ledger;
use crate::engine::{KeyRange, Read, Result};

/// Generations that are kept in memory while their owners are looked for.
const AT_ONCE: usize = if cfg!(test) { 3 } else { 1 << 20 };

impl Walk<'_, '_> {
    /// Every generation that a key has is alive, no two keys have the same, and every one that is
    /// alive has a key: what no key has would stay forever.
    pub(super) fn check_generations(&mut self, promised: &Promised) -> Result<()> {
        let mut found = Ledger::default();
        let mut newest = 0;
        for record in generations(self.read, self.keyspace(), 0) {
            let (generation, parent) = record?;
            newest = newest.max(generation);
            if parent != 0 && self.read.get(&key::generation(self.keyspace(), parent))?.is_none() {
                // Part of one that is gone: compaction drops it.
                continue;
            }
            found.add(&[&generation.to_le_bytes(), &parent.to_le_bytes()]);
        }
        if newest >= self.root.next_generation() {
            let what = format!("generation {newest} is alive, but was not given out yet");
            self.report(None, what);
        }
        if found == promised.generations {
            return Ok(());
        }
        self.name_with("the generations that are alive are not those of the keys", |walk| {
            walk.name_wrong_generations()?;
            walk.name_orphans()
        })
    }

    /// Names what is dead though a key has it, or would go with another key.
    fn name_wrong_generations(&mut self) -> Result<()> {
        for found in metas(self.read, self.keyspace()) {
            let (user_key, _, Ok(meta)) = found? else { continue };
            let of_key = generations_of(self.read, self.keyspace(), &meta)?;
            for (at, generation) in of_key.into_iter().enumerate() {
                let wanted = if at == 0 { 0 } else { meta.generation().unwrap_or(0) };
                let record = self.read.get(&key::generation(self.keyspace(), generation))?;
                let parent = record.map(|value| key::parent_of_generation(&value).unwrap_or(0));
                let what = match parent {
                    None => format!("its generation {generation} counts as dead"),
                    Some(parent) if parent != wanted => format!(
                        "its generation {generation} counts as part of {parent}, not of {wanted}"
                    ),
                    Some(_) => continue,
                };
                self.report(Some(&user_key), what);
            }
        }
        Ok(())
    }

    /// Walks the keys once for every so many generations.
    fn name_orphans(&mut self) -> Result<()> {
        let mut from = 0;
        loop {
            let mut owners: HashMap<u64, u64> = HashMap::new();
            let mut walked = 0;
            for record in generations(self.read, self.keyspace(), from).take(AT_ONCE) {
                walked += 1;
                let (generation, parent) = record?;
                from = generation.saturating_add(1);
                let parent_key = key::generation(self.keyspace(), parent);
                if parent == 0 || self.read.get(&parent_key)?.is_some() {
                    owners.insert(generation, 0);
                }
            }
            if walked == 0 {
                return Ok(());
            }
            for found in metas(self.read, self.keyspace()) {
                let (user_key, _, Ok(meta)) = found? else { continue };
                for generation in generations_of(self.read, self.keyspace(), &meta)? {
                    let Some(count) = owners.get_mut(&generation) else { continue };
                    *count += 1;
                    if *count == 2 {
                        let what = format!("another key has its generation {generation} too");
                        self.report(Some(&user_key), what);
                    }
                }
            }
            let mut nobodys: Vec<u64> =
                owners.into_iter().filter(|(_, count)| *count == 0).map(|(of, _)| of).collect();
            nobodys.sort_unstable();
            for generation in nobodys {
                self.report(None, format!("generation {generation} is alive, but no key has it"));
            }
        }
    }
}

/// The generations that are alive, from `from` on, each with the one that it is part of (0 for
/// none).
fn generations(
    read: &dyn Read,
    keyspace: u32,
    from: u64,
) -> impl Iterator<Item = Result<(u64, u64)>> + '_ {
    read.scan(range(keyspace, from), FORWARD).map(|pair| {
        let (engine_key, value) = pair?;
        let generation = key::generation_number(&engine_key).unwrap_or(0);
        Ok((generation, key::parent_of_generation(&value).unwrap_or(0)))
    })
}

fn range(keyspace: u32, from: u64) -> KeyRange {
    let bytes = |generation| Bytes::copy_from_slice(&key::generation(keyspace, generation));
    (Bound::Included(bytes(from)), Bound::Included(bytes(u64::MAX)))
}
