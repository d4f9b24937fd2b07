//! Which records compaction may drop: what nobody can reach any more.

use std::collections::HashSet;

use bytes::Bytes;

use super::key::{self, Kind};
use super::meta::Meta;
use super::root::RootRef;
use crate::engine::{Filter, Judge, Read, Result};

/// Drops the records of keyspaces that no database has, and elements of dead generations.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecordFilter;

impl Filter for RecordFilter {
    fn expires_at_ms(&self, key: &[u8], value: &[u8]) -> Option<u64> {
        match key::parse(key)? {
            (_, Kind::Meta) => Meta::peek_expiry(value),
            _ => None,
        }
    }

    fn judge(&self, view: Box<dyn Read + Send>) -> Box<dyn Judge> {
        // With a root record that cannot be read nothing is known to be dead.
        let live = RootRef::parse(view.root()).ok().map(LiveKeyspaces::new);
        Box::new(RecordJudge { view, live, last_generation: None })
    }
}

/// The keyspaces that some database has.
#[derive(Debug)]
struct LiveKeyspaces {
    used: HashSet<u32>,
    /// Databases that are listed, so that they do not have their default.
    listed: HashSet<u16>,
}

impl LiveKeyspaces {
    fn new(root: RootRef<'_>) -> Self {
        Self {
            used: root.databases().map(|database| database.keyspace).collect(),
            listed: root.databases().map(|database| database.db).collect(),
        }
    }

    fn contains(&self, keyspace: u32) -> bool {
        let is_default = u16::try_from(keyspace).is_ok_and(|db| !self.listed.contains(&db));
        is_default || self.used.contains(&keyspace)
    }
}

struct RecordJudge {
    view: Box<dyn Read + Send>,
    live: Option<LiveKeyspaces>,
    /// Keyspace, generation, and what is known of it. Elements of a generation come in a row.
    last_generation: Option<(u32, u64, Life)>,
}

/// Which elements of a generation are alive.
#[derive(Debug, Clone)]
pub(super) enum Life {
    /// None.
    Dead,
    /// All.
    Whole,
    /// Those that are not before this place.
    From(Bytes),
}

impl Life {
    /// Which elements of `generation` are alive, by its record.
    pub(super) fn of(read: &dyn Read, keyspace: u32, generation: u64) -> Result<Self> {
        let Some(record) = read.get(&key::generation(keyspace, generation))? else {
            return Ok(Self::Dead);
        };
        if is_orphan(read, keyspace, &record)? {
            return Ok(Self::Dead);
        }
        let start = key::start_of_generation(&record);
        Ok(start.map_or(Self::Whole, |start| Self::From(record.slice_ref(start))))
    }

    /// Whether the element of this key is dead.
    pub(super) fn is_over(&self, key: &Bytes) -> bool {
        match self {
            Self::Dead => true,
            Self::Whole => false,
            Self::From(start) => key::parse_part(key) < start,
        }
    }
}

/// Whether a generation, by the value of its record, is part of one that is dead.
fn is_orphan(read: &dyn Read, keyspace: u32, record: &[u8]) -> Result<bool> {
    let Some(parent) = key::parent_of_generation(record) else { return Ok(false) };
    Ok(read.get(&key::generation(keyspace, parent))?.is_none())
}

impl RecordJudge {
    fn is_dead_element(&mut self, keyspace: u32, generation: u64, key: &Bytes) -> Result<bool> {
        let known =
            matches!(self.last_generation, Some((k, g, _)) if (k, g) == (keyspace, generation));
        if !known {
            let life = Life::of(&*self.view, keyspace, generation)?;
            self.last_generation = Some((keyspace, generation, life));
        }
        Ok(self.last_generation.as_ref().is_some_and(|(_, _, life)| life.is_over(key)))
    }
}

impl Judge for RecordJudge {
    fn is_dead(&mut self, key: &Bytes, value: &[u8]) -> Result<bool> {
        let (Some(live), Some((keyspace, kind))) = (&self.live, key::parse(key)) else {
            return Ok(false);
        };
        if kind == Kind::Library {
            return Ok(false);
        }
        if !live.contains(keyspace) {
            return Ok(true);
        }
        match kind {
            Kind::Element { generation } => self.is_dead_element(keyspace, generation, key),
            Kind::Generation => is_orphan(&*self.view, keyspace, value),
            Kind::Meta | Kind::Expiry { .. } | Kind::FieldExpiry { .. } | Kind::Library => {
                Ok(false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::model::Store;
    use crate::data::root::Root;
    use crate::engine::Changes;

    fn judge(root: Bytes) -> Box<dyn Judge> {
        let mut store = Store::default();
        store.commit(Changes { root: Some(root), ..Changes::default() });
        RecordFilter.judge(Box::new(store))
    }

    fn is_dead(judge: &mut dyn Judge, keyspace: u32) -> bool {
        let key = Bytes::copy_from_slice(&key::meta(keyspace, b"k"));
        judge.is_dead(&key, b"").unwrap()
    }

    #[test]
    fn keyspaces_that_no_database_has_are_dead() {
        let mut root = Root::parse(b"").unwrap();
        root.add(0, 1, 0);
        root.add(1, 1, 0);
        root.flush(0);
        root.swap(0, 1);
        let fresh = root.database(1).keyspace;
        let judge = &mut *judge(root.take_changed().unwrap().unwrap());
        assert!(is_dead(judge, 0), "flushed");
        assert!(!is_dead(judge, 1), "database 0 has it");
        assert!(!is_dead(judge, 2), "the default of database 2");
        assert!(!is_dead(judge, fresh), "database 1 has it");
        assert!(is_dead(judge, fresh + 1), "not given out yet");
        let library = Bytes::copy_from_slice(&key::library(b"name"));
        assert!(!judge.is_dead(&library, b"").unwrap(), "no database has libraries");
    }

    #[test]
    fn elements_are_dead_without_their_generation_record() {
        let mut judge = RecordFilter.judge(Box::new(Store::default()));
        let key = Bytes::copy_from_slice(&key::chunk(0, 5, 0));
        assert!(judge.is_dead(&key, b"").unwrap());
        let mut store = Store::default();
        let record = Bytes::copy_from_slice(&key::generation(0, 5));
        store.commit(Changes {
            writes: std::iter::once((record, Some(Bytes::new()))).collect(),
            root: None,
        });
        let mut judge = RecordFilter.judge(Box::new(store));
        assert!(!judge.is_dead(&key, b"").unwrap());
        assert!(!judge.is_dead(&Bytes::from_static(b"?"), b"").unwrap());
    }

    #[test]
    fn nothing_is_dead_under_a_damaged_root() {
        assert!(!is_dead(&mut *judge(Bytes::from_static(b"garbage")), 70_000));
    }
}
