//! Walks the whole store and proves what must hold of it.

use std::iter::Peekable;
use std::ops::Bound;

use bytes::Bytes;

use super::tree::Tree;
use super::version::Handle;
use super::{
    Direction, Error, LevelIter, ReadMode, Record, RecordIter, Result, ScanOptions, SeqNo,
};

/// Tables that were looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckedTables {
    /// How many.
    pub count: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

/// Every table is whole, tables of a level do not overlap, and of each key newer records lie above
/// older ones. Hands each damage to `damage`; the order of records is looked at only where all of them
/// can be read.
pub(super) fn check_all(tree: &Tree, damage: &mut dyn FnMut(Error)) -> CheckedTables {
    let mut checked = CheckedTables::default();
    let mut is_sound = true;
    let mut report = |error| {
        is_sound = false;
        damage(error);
    };
    if let Some((handle, what)) = tree.version.broken_invariant() {
        report(damaged(&handle, what));
    }
    for (_, handle) in tree.version.tables() {
        checked.count += 1;
        checked.bytes += handle.info().size;
        handle.table.verify_all(&mut report);
    }
    if is_sound {
        check_order(tree).unwrap_or_else(damage);
    }
    checked
}

/// As [`check_all`]; answers the first damage.
pub(super) fn check(tree: &Tree) -> Result<()> {
    let mut first = Ok(());
    check_all(tree, &mut |error| {
        if first.is_ok() {
            first = Err(error);
        }
    });
    first
}

fn damaged(handle: &Handle, what: String) -> Error {
    Error::Corruption { path: handle.table.path().to_owned(), offset: 0, what }
}

/// A source of records with a name for reports.
struct Source<'a> {
    name: String,
    records: Peekable<Box<dyn RecordIter + 'a>>,
}

/// Walks all sources side by side, newest first.
fn check_order(tree: &Tree) -> Result<()> {
    let mut sources = sources(tree)?;
    loop {
        let mut key: Option<Bytes> = None;
        for source in &mut sources {
            match source.records.peek() {
                Some(Err(error)) => return Err(error.clone()),
                Some(Ok(record)) if key.as_ref().is_none_or(|least| record.key < *least) => {
                    key = Some(record.key.clone());
                }
                _ => {}
            }
        }
        let Some(key) = key else { return Ok(()) };
        let mut above: Option<(SeqNo, String)> = None;
        for source in &mut sources {
            let is_next = |next: &Result<Record>| next.as_ref().is_ok_and(|r| r.key == key);
            while let Some(Ok(record)) = source.records.next_if(is_next) {
                if let Some((seq, name)) = &above
                    && *seq <= record.seq
                {
                    let what = format!(
                        "the record of {key:?} in {} (sequence number {}) is not older than that \
                         above it in {name} ({seq})",
                        source.name, record.seq
                    );
                    return Err(Error::Corruption {
                        path: source.name.clone().into(),
                        offset: 0,
                        what,
                    });
                }
                above = Some((record.seq, source.name.clone()));
            }
        }
    }
}

fn source<'a>(name: String, records: impl RecordIter + 'a) -> Source<'a> {
    let records: Box<dyn RecordIter + 'a> = Box::new(records);
    Source { name, records: records.peekable() }
}

fn sources(tree: &Tree) -> Result<Vec<Source<'_>>> {
    let all = (Bound::Unbounded, Bound::Unbounded);
    let (direction, options) = (Direction::Forward, ScanOptions::streaming());
    let mut sources = Vec::new();
    let active = std::iter::once(("the active memtable", &tree.active));
    let sealed = tree.sealed.iter().map(|sealed| ("a sealed memtable", &sealed.memtable));
    for (name, memtable) in active.chain(sealed) {
        for records in memtable.walks(&all, direction, SeqNo::MAX, ReadMode::Blocking) {
            sources.push(source(name.into(), records?));
        }
    }
    for (number, level) in tree.version.levels.iter().enumerate() {
        if number == 0 {
            for handle in &level.tables {
                let records = handle.table.scan(all.clone(), direction, options);
                sources.push(source(handle.table.path().display().to_string(), records));
            }
        } else if let Some(tables) = level.for_walk(&all) {
            let records = LevelIter::new(tables, all.clone(), direction, options);
            sources.push(source(format!("level {number}"), records));
        }
    }
    Ok(sources)
}
