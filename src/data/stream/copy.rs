//! Copies of streams.

use bytes::Bytes;

use super::{GROUP, Layout, Stream, StreamId, entry_key, group, key};
use crate::data::Edit;
use crate::engine::{Direction, Result};
use crate::env::Purpose;

impl Edit<'_> {
    /// Copies the records of a stream, if it has any, to database `db`, which is selected from then on.
    /// The records pass through memory.
    pub(in crate::data) fn copy_stream(&mut self, of: &Stream, db: u16) -> Result<Stream> {
        let Layout::Exploded { epoch, groups, .. } = of.layout else {
            self.select(db);
            return Ok(of.clone());
        };
        let (home, entries) = (self.keyspace, self.entries(of));
        let entries = entries.records(StreamId::MIN, StreamId::MAX, Direction::Forward);
        let room = self.context.memory.room(Purpose::Working);
        let mut kept = Vec::new();
        for entry in entries {
            let (id, record) = entry?;
            room.take(record.len() + size_of::<(StreamId, Bytes)>())?;
            kept.push((id, record));
        }
        let old_groups = self.groups(of).walk().collect::<Result<Vec<_>>>()?;
        self.select(db);
        let generation = self.next_generation();
        for (id, record) in kept {
            self.txn.check_room()?;
            let engine_key = entry_key(self.keyspace, generation, epoch, id);
            self.txn.put(Bytes::copy_from_slice(&engine_key), record);
        }
        for (name, old) in old_groups {
            let new = group::Group { generation: self.next_generation(), ..old };
            let alive = key::generation(self.keyspace, new.generation);
            self.txn.put(Bytes::copy_from_slice(&alive), key::generation_of_parent(generation));
            let engine_key = key::part(self.keyspace, generation, &[GROUP], &name);
            self.txn.put(Bytes::copy_from_slice(&engine_key), group::encode(&new));
            self.copy_parts((home, old.generation), new.generation)?;
        }
        let layout = Layout::Exploded { generation, epoch, unmarked: 0, groups };
        Ok(Stream { layout, ..of.clone() })
    }

    /// Copies the records of a generation to another one of this database.
    fn copy_parts(&mut self, (keyspace, from): (u32, u64), to: u64) -> Result<()> {
        let range = key::elements(keyspace, from, 0, None);
        for (engine_key, record) in self.gather_records(range)? {
            self.txn.check_room()?;
            let part = key::parse_part(&engine_key);
            let engine_key = key::part(self.keyspace, to, &part, &[]);
            self.txn.put(Bytes::copy_from_slice(&engine_key), record);
        }
        Ok(())
    }
}
