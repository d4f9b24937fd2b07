//! Walks tables.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::super::{Direction, KeyRange, ReadMode, Record, Result, SeqNo};
use super::block::{Block, Entry, RESTART_INTERVAL};
use super::data_block::{Buffers, DataBlock};
use super::format::{Handle, Parsed};
use super::options::ScanOptions;
use super::table::{Loaded, Table, data_handle};

/// Who is shown records: key, sequence number, value.
pub(in super::super) type Visit<'v> = dyn FnMut(&[u8], SeqNo, Option<&[u8]>) -> Result<bool> + 'v;

/// Walks the records of one table; see [`Table::scan`].
///
/// A walk decodes one interval of a data block at a time, in key order, and hands it out from
/// either end. The values are slices of their block, which is in use as a whole.
#[derive(Debug)]
pub struct TableIter {
    table: Arc<Table>,
    range: KeyRange,
    direction: Direction,
    options: ScanOptions,
    /// What is left of the interval; the next record is the last.
    records: Vec<Record>,
    state: State,
    window: Window,
    /// The open table, while the walk is inside.
    loaded: Option<Arc<Loaded>>,
}

#[derive(Debug)]
enum State {
    /// Nothing was read.
    Before,
    /// Inside; the interval in `records` is this one.
    At(Place),
    /// All records were given out, or an error.
    After,
}

/// A place in the table: partition, block in it, interval in that.
#[derive(Debug)]
struct Place {
    partition: usize,
    blocks: Blocks,
    data: Bytes,
    data_handle: Handle,
    interval: usize,
}

/// A place in an index partition. One interval of it is decoded at a time: a short walk is through
/// within one.
#[derive(Debug)]
struct Blocks {
    index: Bytes,
    index_handle: Handle,
    interval: usize,
    /// The data blocks of the interval.
    handles: Vec<Handle>,
    /// One of these.
    block: usize,
}

impl Blocks {
    /// The place where an index partition is entered.
    fn enter(index: Bytes, index_handle: Handle, entrance: Entrance<'_>) -> Parsed<Self> {
        let block = Block::new(&index)?;
        let interval = entrance.of(&block)?;
        let floor_end = match entrance {
            Entrance::Floor(key) => block.floor(key)?.map(|entry| entry.end),
            Entrance::First | Entrance::Last => None,
        };
        let handles = Vec::with_capacity(RESTART_INTERVAL);
        let mut this = Self { index, index_handle, interval, handles, block: 0 };
        let floor = this.decode(floor_end)?;
        let last = this.handles.len() - 1;
        this.block = if matches!(entrance, Entrance::Last) { last } else { floor };
        Ok(this)
    }

    /// Reads the data blocks of the interval, at least one. The number of the one that ends at
    /// `floor_end` in the index, else 0.
    fn decode(&mut self, floor_end: Option<usize>) -> Parsed<usize> {
        self.handles.clear();
        let mut floor = 0;
        for entry in Block::new(&self.index)?.interval_entries(self.interval)? {
            let entry = entry?;
            if floor_end == Some(entry.end) {
                floor = self.handles.len();
            }
            self.handles.push(data_handle(entry)?);
        }
        if self.handles.is_empty() { Err("an index has no entries") } else { Ok(floor) }
    }

    fn handle(&self) -> Handle {
        self.handles[self.block]
    }

    /// Goes to the next data block in the direction of the walk; `false` at the end of the partition.
    fn step(&mut self, direction: Direction) -> Parsed<bool> {
        if let Some(block) = next_of(self.block, self.handles.len(), direction) {
            self.block = block;
            return Ok(true);
        }
        let count = Block::new(&self.index)?.restart_count();
        let Some(interval) = next_of(self.interval, count, direction) else { return Ok(false) };
        self.interval = interval;
        self.decode(None)?;
        self.block = match direction {
            Direction::Forward => 0,
            Direction::Reverse => self.handles.len() - 1,
        };
        Ok(true)
    }
}

/// What comes behind number `at` of `count` in the direction of the walk.
fn next_of(at: usize, count: usize, direction: Direction) -> Option<usize> {
    match direction {
        Direction::Forward => Some(at + 1).filter(|&next| next < count),
        Direction::Reverse => at.checked_sub(1),
    }
}

/// Where to enter a block.
#[derive(Debug, Clone, Copy)]
enum Entrance<'a> {
    First,
    Last,
    /// The last entry that is not greater than this key; the first where all are.
    Floor(&'a [u8]),
}

impl Entrance<'_> {
    fn of(self, block: &Block<'_>) -> Parsed<usize> {
        match self {
            Self::First => Ok(0),
            Self::Last => Ok(block.restart_count() - 1),
            Self::Floor(key) => Ok(block.restart_floor(key)?.unwrap_or(0)),
        }
    }

    fn of_data(self, block: &DataBlock<'_>) -> Parsed<usize> {
        match self {
            Self::First => Ok(0),
            Self::Last => Ok(block.restart_count() - 1),
            Self::Floor(key) => Ok(block.restart_floor(key)?.unwrap_or(0)),
        }
    }
}

impl TableIter {
    pub(super) fn new(
        table: Arc<Table>,
        range: KeyRange,
        direction: Direction,
        options: ScanOptions,
    ) -> Self {
        let (records, window) = (Vec::new(), Window::default());
        let state = State::Before;
        Self { table, range, direction, options, records, state, window, loaded: None }
    }

    /// Hands key, sequence number and value of the records to `visit` until it answers false or fails; whether
    /// it never answered so. As the iterator, for who keeps none of them: nothing is shared. Of a forward walk
    /// that was not begun.
    pub(in super::super) fn visit(mut self, visit: &mut Visit<'_>) -> Result<bool> {
        let mut buffers = Buffers::default();
        while self.turn()? {
            let State::At(place) = &self.state else { break };
            let (range, mut outcome) = (&self.range, None);
            let mut show = |key: &[u8], entry: &Entry<'_>, value: &[u8]| {
                match position(key, range, Direction::Forward) {
                    Position::Before => return true,
                    Position::Behind => outcome = Some(Ok(true)),
                    Position::Inside => {
                        let value = (!entry.is_tombstone()).then_some(value);
                        match visit(key, entry.seq(), value) {
                            Ok(true) => return true,
                            stopped => outcome = Some(stopped),
                        }
                    }
                }
                false
            };
            let visited = DataBlock::new(&place.data)
                .and_then(|block| block.visit_interval(place.interval, &mut buffers, &mut show));
            if let Some(outcome) = outcome {
                return outcome;
            }
            self.table.parse(place.data_handle, visited)?;
        }
        Ok(true)
    }

    /// Reads the next interval into `records`. `false` at the end, which an error is too.
    fn advance(&mut self) -> Result<bool> {
        if !self.turn()? {
            return Ok(false);
        }
        let State::At(place) = &self.state else { return Ok(false) };
        self.records.clear();
        let read = DataBlock::new(&place.data)
            .and_then(|block| block.read_interval(place.interval, &place.data, &mut self.records));
        if let Err(error) = self.table.parse(place.data_handle, read) {
            self.state = State::After;
            return Err(error);
        }
        if self.direction == Direction::Forward {
            self.records.reverse();
        }
        Ok(true)
    }

    /// Goes to the next interval. `false` at the end, which an error is too.
    fn turn(&mut self) -> Result<bool> {
        let state = std::mem::replace(&mut self.state, State::After);
        if matches!(state, State::After) {
            return Ok(false);
        }
        let table = Arc::clone(&self.table);
        let loaded = self.loaded.take().map_or_else(|| table.loaded(self.options.mode), Ok)?;
        let place = match state {
            State::Before => Some(self.enter(&loaded)?),
            State::At(place) => self.step(&loaded, place)?,
            State::After => None,
        };
        let Some(place) = place else { return Ok(false) };
        self.state = State::At(place);
        self.loaded = Some(loaded);
        Ok(true)
    }

    /// The place of the bound where the walk begins. Records before the bound may come with it.
    fn enter(&mut self, loaded: &Loaded) -> Result<Place> {
        let range = self.range.clone();
        let entrance = match (self.direction, &range.0, &range.1) {
            (Direction::Forward, Bound::Unbounded, _) => Entrance::First,
            (Direction::Reverse, _, Bound::Unbounded) => Entrance::Last,
            (Direction::Forward, Bound::Included(key) | Bound::Excluded(key), _)
            | (Direction::Reverse, _, Bound::Included(key) | Bound::Excluded(key)) => {
                Entrance::Floor(key)
            }
        };
        let top = Block::new(&loaded.top).and_then(|top| entrance.of(&top));
        let partition = self.table.parse(loaded.footer.top_index, top)?;
        self.enter_partition(loaded, partition, entrance)
    }

    fn enter_partition(
        &mut self,
        loaded: &Loaded,
        number: usize,
        entrance: Entrance<'_>,
    ) -> Result<Place> {
        let partition = loaded.partitions.all().get(number).ok_or("a partition is missing");
        let place = &self.table.parse(loaded.footer.top_index, partition)?.index;
        let index_handle = place.handle;
        // It stands behind its data blocks: what is beside it is of no use, and would take the
        // place of what is.
        let index = self.table.index(loaded, place, self.options)?;
        let entered = Blocks::enter(index, index_handle, entrance);
        let blocks = self.table.parse(index_handle, entered)?;
        self.enter_block(loaded, number, blocks, entrance)
    }

    fn enter_block(
        &mut self,
        loaded: &Loaded,
        partition: usize,
        blocks: Blocks,
        entrance: Entrance<'_>,
    ) -> Result<Place> {
        let data_handle = blocks.handle();
        let data = self.block(loaded, data_handle, self.options.readahead_bytes)?;
        let interval = DataBlock::new(&data).and_then(|data| entrance.of_data(&data));
        let interval = self.table.parse(data_handle, interval)?;
        Ok(Place { partition, blocks, data, data_handle, interval })
    }

    /// The place behind `place` in the direction of the walk.
    fn step(&mut self, loaded: &Loaded, mut place: Place) -> Result<Option<Place>> {
        let direction = self.direction;
        let intervals = DataBlock::new(&place.data).map(|block| block.restart_count());
        let intervals = self.table.parse(place.data_handle, intervals)?;
        if let Some(interval) = next_of(place.interval, intervals, direction) {
            place.interval = interval;
            return Ok(Some(place));
        }
        let entrance = match direction {
            Direction::Forward => Entrance::First,
            Direction::Reverse => Entrance::Last,
        };
        let stepped = place.blocks.step(direction);
        if self.table.parse(place.blocks.index_handle, stepped)? {
            return self.enter_block(loaded, place.partition, place.blocks, entrance).map(Some);
        }
        let partitions = Block::new(&loaded.top).map(|top| top.restart_count());
        let partitions = self.table.parse(loaded.footer.top_index, partitions)?;
        match next_of(place.partition, partitions, direction) {
            Some(partition) => self.enter_partition(loaded, partition, entrance).map(Some),
            None => Ok(None),
        }
    }

    /// A block, with no more than `readahead_bytes` of what is beside it.
    fn block(&mut self, loaded: &Loaded, handle: Handle, readahead_bytes: usize) -> Result<Bytes> {
        let ScanOptions { mode, fill_cache, takes_blocks, .. } = self.options;
        if fill_cache && readahead_bytes == 0 {
            return self.table.cached(loaded, handle, mode);
        }
        let cached = if takes_blocks { self.table.take(handle) } else { self.table.peek(handle) };
        if let Some(block) = cached {
            return Ok(block);
        }
        let block = if readahead_bytes > 0 && mode == ReadMode::Blocking {
            let stored =
                self.window.read(&self.table, loaded, handle, readahead_bytes, self.direction)?;
            self.table.unpack(handle, stored)?
        } else {
            self.table.read(&*loaded.file, handle, mode)?
        };
        if fill_cache {
            self.table.fill(handle, &block);
        }
        Ok(block)
    }
}

/// Whether the walk has not come to its range, is in it, or is through.
#[derive(Debug, PartialEq, Eq)]
enum Position {
    Before,
    Inside,
    Behind,
}

/// Where `key` stands to `range`, seen in the direction of the walk.
fn position(key: &[u8], range: &KeyRange, direction: Direction) -> Position {
    let below = match &range.0 {
        Bound::Unbounded => false,
        Bound::Included(start) => key < &start[..],
        Bound::Excluded(start) => key <= &start[..],
    };
    let above = match &range.1 {
        Bound::Unbounded => false,
        Bound::Included(end) => key > &end[..],
        Bound::Excluded(end) => key >= &end[..],
    };
    match (below, above, direction) {
        (false, false, _) => Position::Inside,
        (true, true, _) => Position::Behind,
        (true, false, Direction::Forward) | (false, true, Direction::Reverse) => Position::Before,
        (true, false, Direction::Reverse) | (false, true, Direction::Forward) => Position::Behind,
    }
}

impl Iterator for TableIter {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(record) = self.records.pop() else {
                match self.advance() {
                    Ok(true) => continue,
                    Ok(false) => return None,
                    Err(error) => {
                        self.records.clear();
                        return Some(Err(error));
                    }
                }
            };
            match position(&record.key, &self.range, self.direction) {
                Position::Before => {}
                Position::Inside => return Some(Ok(record)),
                Position::Behind => {
                    self.records.clear();
                    self.state = State::After;
                    return None;
                }
            }
        }
    }
}

/// A stretch of the file that was read at once.
#[derive(Debug, Default)]
struct Window {
    bytes: Vec<u8>,
    start: u64,
    /// How much was read last.
    len: usize,
}

impl Window {
    /// The stored bytes of the block at `handle`.
    fn read(
        &mut self,
        table: &Table,
        loaded: &Loaded,
        handle: Handle,
        len_max: usize,
        direction: Direction,
    ) -> Result<&[u8]> {
        let block_len = table.bounded(handle)?;
        let end = handle.end();
        if handle.offset < self.start || end > self.start + self.bytes.len() as u64 {
            self.len = (self.len * 2).max(block_len).min(len_max.max(block_len));
            let len = self.len as u64;
            let (start, end) = match direction {
                Direction::Forward => {
                    (handle.offset, handle.offset.saturating_add(len).min(table.info().size))
                }
                Direction::Reverse => (end.saturating_sub(len), end),
            };
            self.start = start;
            self.bytes.resize(usize::try_from(end - start).unwrap_or(block_len), 0);
            let read =
                table.read_bytes(&*loaded.file, self.start, &mut self.bytes, ReadMode::Blocking);
            if let Err(error) = read {
                self.bytes.clear();
                return Err(error);
            }
        }
        let from = usize::try_from(handle.offset - self.start).unwrap_or(usize::MAX);
        self.bytes
            .get(from..from.saturating_add(block_len))
            .ok_or_else(|| table.corruption(handle.offset, "a block ends behind the file"))
    }
}

/// Walks the tables of a level one after the other. A table is touched when the walk gets there.
#[derive(Debug)]
pub struct LevelIter<L> {
    tables: L,
    range: KeyRange,
    direction: Direction,
    options: ScanOptions,
    /// The tables of the range that were not begun.
    ahead: std::ops::Range<usize>,
    current: Option<TableIter>,
}

impl<L: AsRef<[Arc<Table>]>> LevelIter<L> {
    /// A walk over `tables`, which stand in the order of their keys and do not overlap.
    /// `L` may own them (`Arc<[Arc<Table>]>`, `Vec<Arc<Table>>`) or borrow them.
    pub fn new(tables: L, range: KeyRange, direction: Direction, options: ScanOptions) -> Self {
        let all = tables.as_ref();
        let forward = Direction::Forward;
        let first = all.partition_point(|table| {
            position(&table.info().largest, &range, forward) == Position::Before
        });
        let end = all.partition_point(|table| match &range.1 {
            Bound::Unbounded => true,
            Bound::Included(end) => table.info().smallest <= *end,
            Bound::Excluded(end) => table.info().smallest < *end,
        });
        Self { tables, range, direction, options, ahead: first..end, current: None }
    }

    /// As [`TableIter::visit`], for the tables of the level.
    pub(in super::super) fn visit(self, visit: &mut Visit<'_>) -> Result<bool> {
        for table in self.tables.as_ref().get(self.ahead).unwrap_or_default() {
            if !table.scan(self.range.clone(), self.direction, self.options).visit(visit)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl<L: AsRef<[Arc<Table>]>> Iterator for LevelIter<L> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(current) = &mut self.current {
                match current.next() {
                    Some(Ok(record)) => return Some(Ok(record)),
                    Some(Err(error)) => {
                        self.ahead = 0..0;
                        self.current = None;
                        return Some(Err(error));
                    }
                    None => self.current = None,
                }
            }
            let next = match self.direction {
                Direction::Forward => self.ahead.next(),
                Direction::Reverse => self.ahead.next_back(),
            };
            let table = &self.tables.as_ref()[next?];
            self.current = Some(table.scan(self.range.clone(), self.direction, self.options));
        }
    }
}
