//! The work on fjall.

use std::sync::Arc;
use std::time::Duration;

use fjall::compaction::Leveled;
use fjall::config::{
    BlockSizePolicy, BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry,
};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::store::{Outcome, Pair, Reader, Shape, Store};

struct Fjall {
    database: Database,
    keyspace: Keyspace,
}

pub(crate) fn open(shape: &Shape) -> Outcome<Box<dyn Store>> {
    let database =
        Database::builder(&shape.dir).cache_size(shape.cache_bytes).worker_threads(2).open()?;
    let bloom = FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(10.0));
    // The first level is four tables large, as many as level 0 has before it is compacted.
    let leveled =
        Leveled::default().with_l0_threshold(4).with_table_target_size(shape.level_bytes / 4);
    let options = KeyspaceCreateOptions::default()
        .max_memtable_size(shape.memtable_bytes)
        .data_block_size_policy(BlockSizePolicy::all(4 << 10))
        .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
        .filter_policy(FilterPolicy::all(bloom))
        .compaction_strategy(Arc::new(leveled));
    let keyspace = database.keyspace("work", || options)?;
    Ok(Box::new(Fjall { database, keyspace }))
}

impl Store for Fjall {
    fn write(&mut self, pairs: Vec<Pair>, sync: bool) -> Outcome<()> {
        let mut batch = self.database.batch();
        for (key, value) in pairs {
            batch.insert(&self.keyspace, key, value);
        }
        batch.durability(sync.then_some(PersistMode::SyncData)).commit()?;
        Ok(())
    }

    fn settle(&mut self) -> Outcome<()> {
        self.keyspace.rotate_memtable_and_wait()?;
        let mut calm = 0;
        while calm < 5 {
            let busy = self.database.outstanding_flushes() + self.database.active_compactions();
            calm = if busy == 0 { calm + 1 } else { 0 };
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(FjallReader(self.keyspace.clone()))
    }

    fn shape(&self) -> String {
        format!("{} tables, {} M", self.keyspace.table_count(), self.keyspace.disk_space() >> 20)
    }
}

struct FjallReader(Keyspace);

impl Reader for FjallReader {
    fn get(&self, key: &[u8]) -> Outcome<Option<usize>> {
        Ok(self.0.get(key)?.map(|value| value.len()))
    }

    fn scan(&self, key: &[u8], count: usize) -> Outcome<usize> {
        let mut bytes = 0;
        for guard in self.0.range(key.to_vec()..).take(count) {
            let (key, value) = guard.into_inner()?;
            bytes += key.len() + value.len();
        }
        Ok(bytes)
    }
}
