//! Records that nobody can reach: what compaction has not come to yet.

use super::database::{FORWARD, Walk};
use super::{Garbage, key};
use crate::data::filter::Life;
use crate::data::key::Kind;
use crate::engine::{Pair, Read, Result};

impl Garbage {
    fn add(&mut self, (engine_key, value): &Pair) {
        self.records += 1;
        self.bytes += (engine_key.len() + value.len()) as u64;
    }
}

/// Counts a keyspace that no database has any more.
pub(super) fn count_keyspace(read: &dyn Read, keyspace: u32, garbage: &mut Garbage) -> Result<()> {
    let end = keyspace.saturating_add(1);
    for pair in read.scan(key::keyspaces(keyspace..end), FORWARD) {
        garbage.add(&pair?);
    }
    Ok(())
}

impl Walk<'_, '_> {
    /// Counts the elements of dead generations.
    pub(super) fn count_garbage(&self, garbage: &mut Garbage) -> Result<()> {
        let mut of_generation: Option<(u64, Life)> = None;
        for pair in self.read.scan(key::all_elements(self.keyspace()), FORWARD) {
            let pair = pair?;
            let Some((_, Kind::Element { generation })) = key::parse(&pair.0) else { continue };
            let life = match of_generation.take() {
                Some((last, life)) if last == generation => life,
                _ => Life::of(self.read, self.keyspace(), generation)?,
            };
            if life.is_over(&pair.0) {
                garbage.add(&pair);
            }
            of_generation = Some((generation, life));
        }
        Ok(())
    }

    /// A record of this keyspace that is of no known kind, if there is one.
    pub(super) fn unknown_record(&self) -> Option<Pair> {
        self.read.scan(key::unknown_kinds(self.keyspace()), FORWARD).next()?.ok()
    }
}
