//! The work on RocksDB.

use std::sync::Arc;
use std::time::Duration;

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, Direction, IteratorMode, Options, WriteBatch,
    WriteOptions,
};

use crate::store::{Outcome, Pair, Reader, Shape, Store};

struct Rocks {
    db: Arc<DB>,
}

pub(crate) fn open(shape: &Shape) -> Outcome<Box<dyn Store>> {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(usize::try_from(shape.cache_bytes)?));
    table.set_block_size(4 << 10);
    table.set_bloom_filter(10.0, false);
    // Indexes and filters count against the cache, as in the others.
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(usize::try_from(shape.memtable_bytes)?);
    options.set_max_write_buffer_number(3);
    options.set_target_file_size_base(shape.table_bytes);
    options.set_max_bytes_for_level_base(shape.level_bytes);
    options.set_level_zero_file_num_compaction_trigger(4);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    options.set_max_background_jobs(2);
    Ok(Box::new(Rocks { db: Arc::new(DB::open(&options, &shape.dir)?) }))
}

impl Rocks {
    fn number(&self, property: &str) -> Outcome<u64> {
        Ok(self.db.property_int_value(property)?.unwrap_or(0))
    }
}

impl Store for Rocks {
    fn write(&mut self, pairs: Vec<Pair>, sync: bool) -> Outcome<()> {
        let mut batch = WriteBatch::default();
        for (key, value) in pairs {
            batch.put(key, value);
        }
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        Ok(self.db.write_opt(batch, &options)?)
    }

    fn settle(&mut self) -> Outcome<()> {
        self.db.flush()?;
        let mut calm = 0;
        while calm < 5 {
            let busy = self.number("rocksdb.num-running-compactions")?
                + self.number("rocksdb.compaction-pending")?
                + self.number("rocksdb.num-running-flushes")?;
            calm = if busy == 0 { calm + 1 } else { 0 };
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(RocksReader(self.db.clone()))
    }

    fn shape(&self) -> String {
        let files = |level: u32| {
            let name = format!("rocksdb.num-files-at-level{level}");
            self.db.property_value(&name).ok().flatten().unwrap_or_default()
        };
        let levels: Vec<String> = (0..7).map(files).collect();
        format!("tables by level: {}", levels.join(" "))
    }
}

struct RocksReader(Arc<DB>);

impl Reader for RocksReader {
    fn get(&self, key: &[u8]) -> Outcome<Option<usize>> {
        Ok(self.0.get_pinned(key)?.map(|value| value.len()))
    }

    fn scan(&self, key: &[u8], count: usize) -> Outcome<usize> {
        let mut bytes = 0;
        for pair in self.0.iterator(IteratorMode::From(key, Direction::Forward)).take(count) {
            let (key, value) = pair?;
            bytes += key.len() + value.len();
        }
        Ok(bytes)
    }
}
