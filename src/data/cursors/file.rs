//! The file that cursors are kept in over a restart.
//!
//! | offset | size | meaning |
//! |---|---|---|
//! | 0 | 8 | `SILTDBCU` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | number of entries |
//! | 16 | | entries, the cursor that was issued first before the others |
//! | end - 4 | 4 | crc32 of everything before |
//!
//! An entry is the cursor (8 bytes), the keyspace (4), the length of the key (4) and the key. All
//! numbers are little-endian. A file that is damaged in any way is as good as none: scans that run
//! over the restart go on a little before their place.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Cursors, Remembered, Table};
use crate::env::Fs;

const NAME: &str = "CURSORS";
const NAME_NEW: &str = "CURSORS.new";
const MAGIC: &[u8; 8] = b"SILTDBCU";
const VERSION: u32 = 1;

/// The file in a data directory. The directory is locked by whoever uses this.
#[derive(Debug)]
pub struct CursorFile {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    /// How many cursors had been issued when it was last written.
    written: Mutex<u64>,
}

impl CursorFile {
    /// The file in `dir`; [`Self::load`] reads it.
    #[must_use]
    pub fn new(fs: Arc<dyn Fs>, dir: &Path) -> Self {
        Self { fs, dir: dir.to_owned(), written: Mutex::new(0) }
    }

    /// Has `cursors` know what the file does; answers whether there was one, undamaged.
    pub fn load(&self, cursors: &Cursors) -> bool {
        let table = self.fs.read(&self.dir.join(NAME)).ok().and_then(|bytes| decode(&bytes));
        let found = table.is_some();
        if let Some(table) = table {
            *self.written.lock() = table.next_stamp;
            *cursors.table.lock() = table;
        }
        found
    }

    /// Writes the file, if cursors were issued since it was last written or read. `durable` syncs it
    /// too, which only a cut of the power asks for. May wait on the disk.
    pub fn save(&self, cursors: &Cursors, durable: bool) -> io::Result<()> {
        // Held while it is written: one at a time.
        let mut written = self.written.lock();
        let (entries, issued) = {
            let table = cursors.table.lock();
            if table.next_stamp == *written {
                return Ok(());
            }
            (table.entries(), table.next_stamp)
        };
        let (path, new) = (self.dir.join(NAME), self.dir.join(NAME_NEW));
        match self.fs.remove(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.fs.create(&new)?;
        file.write_at(0, &encode(&entries))?;
        if durable {
            file.sync_data()?;
        }
        self.fs.rename(&new, &path)?;
        if durable {
            self.fs.sync_dir(&self.dir)?;
        }
        *written = issued;
        Ok(())
    }
}

impl Table {
    /// What is remembered, oldest first.
    fn entries(&self) -> Vec<(u64, Remembered)> {
        let newest = |(cursor, stamp): &(u64, u64)| {
            let known = self.keys.get(cursor).filter(|known| known.stamp == *stamp)?;
            Some((*cursor, known.clone()))
        };
        self.order.iter().filter_map(newest).collect()
    }
}

fn encode(entries: &[(u64, Remembered)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&u32_of(entries.len()).to_le_bytes());
    for (cursor, Remembered { keyspace, key, .. }) in entries {
        bytes.extend_from_slice(&cursor.to_le_bytes());
        bytes.extend_from_slice(&keyspace.to_le_bytes());
        bytes.extend_from_slice(&u32_of(key.len()).to_le_bytes());
        bytes.extend_from_slice(key);
    }
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

fn u32_of(len: usize) -> u32 {
    u32::try_from(len).expect("keys and their number are far below 2^32")
}

fn decode(file: &[u8]) -> Option<Table> {
    let (body, crc) = file.split_last_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    if take_u32(&mut rest)? != VERSION {
        return None;
    }
    let mut table = Table::default();
    for _ in 0..take_u32(&mut rest)? {
        let (cursor, behind) = rest.split_first_chunk::<8>()?;
        rest = behind;
        let keyspace = take_u32(&mut rest)?;
        let len = usize::try_from(take_u32(&mut rest)?).ok()?;
        let (key, behind) = rest.split_at_checked(len)?;
        rest = behind;
        table.insert(u64::from_le_bytes(*cursor), keyspace, Bytes::copy_from_slice(key));
    }
    rest.is_empty().then_some(table)
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::*;
    use crate::env::SimFs;

    fn directory() -> (SimFs, CursorFile) {
        let fs = SimFs::new(1);
        let dir = Path::new("/db");
        fs.create_dir_all(dir).unwrap();
        let file = CursorFile::new(fs.shared(), dir);
        (fs, file)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let (fs, file) = directory();
        let cursors = Cursors::default();
        assert!(!file.load(&cursors));
        let issued: Vec<u64> = (0..1000_u32)
            .map(|n| cursors.remember(n % 3, format!("key:{}", n % 700).as_bytes(), 4))
            .collect();
        file.save(&cursors, false).unwrap();
        let later = Cursors::default();
        assert!(CursorFile::new(fs.shared(), Path::new("/db")).load(&later));
        for (n, cursor) in (0..1000_u32).zip(issued) {
            let key = Bytes::from(format!("key:{}", n % 700));
            assert_eq!(later.resume(n % 3, cursor), Place::Behind { key, shared: 4 });
        }
        assert_eq!(later.table.lock().entries().len(), cursors.table.lock().entries().len());
        assert_eq!(later.table.lock().key_bytes, cursors.table.lock().key_bytes);
    }

    #[test]
    fn it_is_written_only_where_cursors_were_issued() {
        let (fs, file) = directory();
        let cursors = Cursors::default();
        let path = Path::new("/db/CURSORS");
        file.save(&cursors, true).unwrap();
        assert!(fs.read(path).is_err());
        cursors.remember(0, b"a", 0);
        file.save(&cursors, true).unwrap();
        fs.remove(path).unwrap();
        file.save(&cursors, true).unwrap();
        assert!(fs.read(path).is_err());
        cursors.remember(0, b"b", 0);
        file.save(&cursors, true).unwrap();
        assert!(fs.read(path).is_ok());
        assert!(file.load(&cursors));
        fs.remove(path).unwrap();
        file.save(&cursors, true).unwrap();
        assert!(fs.read(path).is_err());
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let cursors = Cursors::default();
        cursors.remember(7, b"some key", 0);
        let good = encode(&cursors.table.lock().entries());
        assert!(decode(&good).is_some());
        for at in 0..good.len() {
            assert!(decode(&good[..at]).is_none(), "cut at {at}");
            let mut bad = good.clone();
            bad[at] ^= 16;
            assert!(decode(&bad).is_none(), "byte {at}");
        }
        let sealed = |mut body: Vec<u8>| {
            let crc = crc32fast::hash(&body);
            body.extend_from_slice(&crc.to_le_bytes());
            body
        };
        let body = &good[..good.len() - 4];
        assert!(decode(&sealed([body, b"x"].concat())).is_none());
        let mut longer = body.to_vec();
        longer[12] = 2;
        assert!(decode(&sealed(longer)).is_none());
    }
}
