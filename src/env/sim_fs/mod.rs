//! A file system in memory that can lose power and fail.
//!
//! Every file keeps two images: what programs see, and what would be found on the disk after a
//! power cut, with the operations in between that were not synced. Directories likewise keep the
//! changes of names that were not synced. [`SimFs::crash`] decides by a seed what became of each of
//! these, so a run can be repeated. Directories themselves are durable at once.
//!
//! One mutex guards everything; no operation calls out while holding it.

mod disk;
mod gate;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;
use parking_lot::Mutex;

use self::disk::{Change, Disk, ENOSPC, Faults, FileId, FileState, NameChange};
use super::fs::{DirectoryLock, File, Fs};

/// A file system in memory. Clones share the same disk.
#[derive(Debug, Clone)]
pub struct SimFs {
    disk: Arc<Mutex<Disk>>,
    /// What changes a file waits here while the disk hangs.
    gate: Arc<gate::Gate>,
}

impl SimFs {
    /// An empty disk. `seed` decides what is left of operations that fail half way.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_disk(Disk {
            files: BTreeMap::new(),
            next_file: 1,
            directories: BTreeSet::from([PathBuf::from("/"), PathBuf::new()]),
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            pending_names: Vec::new(),
            locks: BTreeSet::new(),
            operations: 0,
            faults: Faults::default(),
            nowait_blocks: false,
            capacity: None,
            rng: Rng::with_seed(seed),
        })
    }

    fn with_disk(disk: Disk) -> Self {
        Self { disk: Arc::new(Mutex::new(disk)), gate: Arc::default() }
    }

    /// The file system as an [`Fs`] to share.
    #[must_use]
    pub fn shared(&self) -> Arc<dyn Fs> {
        Arc::new(self.clone())
    }

    /// The disk as it is found after a power cut now: what was synced is there; each write since
    /// is there, is not, or is there in part, by whole sectors of 512 bytes; each change of a name
    /// since is there or not. This disk is not changed, and the new one has no faults and no locks.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let disk = self.disk.lock();
        let mut names = disk.synced_names.clone();
        for change in &disk.pending_names {
            if rng.bool() {
                change.apply(&mut names);
            }
        }
        let mut files = BTreeMap::new();
        for &id in names.values() {
            if let Some(file) = disk.files.get(&id) {
                files.insert(id, FileState::at_rest(file.after_crash(&mut rng)));
            }
        }
        Self::at_rest(files, names, &disk, rng)
    }

    /// The disk as a new process finds it after this one was killed: nothing is lost, but what was
    /// not synced still is not. This disk is not changed, and the new one has no faults and no locks.
    #[must_use]
    pub fn kill(&self, seed: u64) -> Self {
        let disk = self.disk.lock();
        let left = |file: &FileState| FileState { handles: 0, ..file.clone() };
        let files = disk.files.iter().map(|(&id, file)| (id, left(file))).collect();
        let killed = Self::at_rest(files, disk.synced_names.clone(), &disk, Rng::with_seed(seed));
        {
            let mut state = killed.disk.lock();
            state.names = disk.names.clone();
            state.pending_names = disk.pending_names.clone();
        }
        killed
    }

    fn at_rest(
        files: BTreeMap<FileId, FileState>,
        names: BTreeMap<PathBuf, FileId>,
        disk: &Disk,
        rng: Rng,
    ) -> Self {
        Self::with_disk(Disk {
            files,
            next_file: disk.next_file,
            directories: disk.directories.clone(),
            names: names.clone(),
            synced_names: names,
            pending_names: Vec::new(),
            locks: BTreeSet::new(),
            operations: 0,
            faults: Faults::default(),
            nowait_blocks: disk.nowait_blocks,
            capacity: disk.capacity,
            rng,
        })
    }

    fn handle(&self, disk: &mut Disk, id: FileId) -> Arc<dyn File> {
        if let Some(file) = disk.files.get_mut(&id) {
            file.handles += 1;
        }
        Arc::new(SimFile { disk: Arc::clone(&self.disk), gate: Arc::clone(&self.gate), id })
    }

    /// Number of operations so far, failed ones included. Asking for a length is none.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.disk.lock().operations
    }

    /// Lets the next `n` operations succeed and every later one fail with `EIO`. A write that fails
    /// has changed a part of its range; after a sync that failed, what it should have made durable
    /// is so by chance, and no later sync will do it.
    pub fn fail_after(&self, n: u64) {
        let mut disk = self.disk.lock();
        disk.faults.from = Some(disk.operations + n);
    }

    /// Lets the next `n` operations succeed and the one behind them fail with `EIO`.
    pub fn fail_once_after(&self, n: u64) {
        let mut disk = self.disk.lock();
        disk.faults.once = Some(disk.operations + n);
    }

    /// Ends all faults. What they did stays.
    pub fn heal(&self) {
        self.disk.lock().faults = Faults::default();
    }

    /// Lets all files together have `bytes` at most from now on: what would make one longer than that
    /// fails with `ENOSPC`, a write after as much of it as fits. Names take no space, and a file
    /// that was removed gives its space back with its last handle.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.disk.lock().capacity = bytes;
    }

    /// Bytes that all files together have.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.disk.lock().used_bytes()
    }

    /// Whether every [`File::read_at_nowait`] answers `WouldBlock`, as if nothing were cached.
    pub fn nowait_blocks(&self, blocks: bool) {
        self.disk.lock().nowait_blocks = blocks;
    }

    /// Whether the disk hangs: what changes or syncs a file waits until it does no more. Reads go on.
    pub fn hang(&self, hangs: bool) {
        self.gate.close(hangs);
    }

    /// Inverts the bits of `mask` in one byte, on the disk and as seen, as a failing disk would.
    /// Answers whether there is such a byte. Not an operation: it is not counted and cannot fail.
    pub fn flip_bits(&self, path: &Path, offset: u64, mask: u8) -> bool {
        let mut disk = self.disk.lock();
        let Some(&id) = disk.names.get(path) else { return false };
        let Some(file) = disk.files.get_mut(&id) else { return false };
        let Ok(offset) = usize::try_from(offset) else { return false };
        let Some(byte) = file.seen.get_mut(offset) else { return false };
        *byte ^= mask;
        if let Some(byte) = file.synced.get_mut(offset) {
            *byte ^= mask;
        }
        true
    }
}

impl Fs for SimFs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk.lock();
        disk.begin()?;
        disk.check_directory(path.parent())?;
        if disk.names.contains_key(path) || disk.directories.contains(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = disk.next_file;
        disk.next_file += 1;
        disk.files.insert(id, FileState::default());
        disk.change_names(NameChange::Link(path.to_owned(), id));
        Ok(self.handle(&mut disk, id))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk.lock();
        disk.begin()?;
        let id = disk.named(path)?;
        Ok(self.handle(&mut disk, id))
    }

    fn read(&self, path: &Path) -> io::Result<Bytes> {
        let mut disk = self.disk.lock();
        disk.begin()?;
        let id = disk.named(path)?;
        Ok(disk.files.get(&id).map(|file| Bytes::from(file.seen.clone())).unwrap_or_default())
    }

    fn file_bytes(&self, path: &Path) -> io::Result<u64> {
        let disk = self.disk.lock();
        let id = disk.named(path)?;
        Ok(disk.files.get(&id).map_or(0, |file| file.seen.len() as u64))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut disk = self.disk.lock();
        disk.begin()?;
        disk.check_directory(Some(dir))?;
        let paths = disk.names.keys().chain(&disk.directories);
        let inside = paths.filter(|path| path.parent() == Some(dir));
        let names = inside.filter_map(|path| path.file_name());
        Ok(names.map(|name| name.to_string_lossy().into_owned()).collect())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.begin()?;
        disk.directories.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.begin()?;
        let file = disk.named(from)?;
        disk.check_directory(to.parent())?;
        disk.change_names(NameChange::Rename { from: from.to_owned(), to: to.to_owned(), file });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.begin()?;
        disk.named(path)?;
        disk.change_names(NameChange::Unlink(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.begin()?;
        disk.check_directory(Some(dir))?;
        let pending = std::mem::take(&mut disk.pending_names);
        let (done, kept) = pending.into_iter().partition::<Vec<_>, _>(|change| change.is_in(dir));
        disk.pending_names = kept;
        for change in done {
            change.apply(&mut disk.synced_names);
        }
        disk.forget_unreachable();
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirectoryLock>> {
        let mut disk = self.disk.lock();
        disk.begin()?;
        disk.check_directory(path.parent())?;
        if !disk.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if !disk.names.contains_key(path) {
            let id = disk.next_file;
            disk.next_file += 1;
            disk.files.insert(id, FileState::default());
            disk.change_names(NameChange::Link(path.to_owned(), id));
        }
        Ok(Box::new(SimLock { disk: Arc::clone(&self.disk), path: path.to_owned() }))
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let mut disk = self.disk.lock();
        disk.begin()?;
        disk.check_directory(Some(dir))?;
        Ok(disk.free_bytes())
    }
}

#[derive(Debug)]
struct SimLock {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
}

impl DirectoryLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.lock().locks.remove(&self.path);
    }
}

/// An open file; it lives on after its name is gone.
#[derive(Debug)]
struct SimFile {
    disk: Arc<Mutex<Disk>>,
    gate: Arc<gate::Gate>,
    id: FileId,
}

impl SimFile {
    fn read_into(&self, disk: &Disk, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let file = disk.files.get(&self.id).ok_or(io::ErrorKind::NotFound)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(buf.len());
        let bytes = file.seen.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }

    /// Makes the file `end` bytes long at least by `change`; where there is no space for that, runs
    /// `part` with the length up to which there is.
    fn grow(
        &self,
        end: usize,
        change: impl FnOnce(&mut FileState),
        part: impl FnOnce(&mut FileState, usize),
        failed: impl FnOnce(&mut FileState, &mut Rng),
    ) -> io::Result<()> {
        let room = {
            let disk = self.disk.lock();
            let now = disk.files.get(&self.id).map_or(0, |file| file.seen.len());
            now.saturating_add(usize::try_from(disk.free_bytes()).unwrap_or(usize::MAX))
        };
        if end <= room {
            return self.change(change, failed);
        }
        self.change(|file| part(file, room), failed)?;
        Err(io::Error::from_raw_os_error(ENOSPC))
    }

    /// Runs `change` on the file; where the operation has to fail, runs `failed` in its place.
    fn change(
        &self,
        change: impl FnOnce(&mut FileState),
        failed: impl FnOnce(&mut FileState, &mut Rng),
    ) -> io::Result<()> {
        self.gate.pass();
        let mut guard = self.disk.lock();
        let disk = &mut *guard;
        let begun = disk.begin();
        let file = disk.files.get_mut(&self.id).ok_or(io::ErrorKind::NotFound)?;
        match &begun {
            Ok(()) => change(file),
            Err(_) => failed(file, &mut disk.rng),
        }
        begun
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if let Some(file) = self.disk.lock().files.get_mut(&self.id) {
            file.handles -= 1;
        }
    }
}

fn length(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a simulated file fits in memory")
}

impl File for SimFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.begin()?;
        self.read_into(&disk, offset, buf)
    }

    fn read_at_nowait(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.begin()?;
        if disk.nowait_blocks {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.read_into(&disk, offset, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        let offset = length(offset);
        self.grow(
            offset + buf.len(),
            |file| file.change(Change::Write { offset, bytes: buf.to_vec() }),
            |file, room| {
                if let Some(bytes) = room.checked_sub(offset).map(|fits| buf[..fits].to_vec()) {
                    file.change(Change::Write { offset, bytes });
                }
            },
            |file, rng| {
                let bytes = buf[..rng.usize(0..=buf.len())].to_vec();
                file.change(Change::Write { offset, bytes });
            },
        )
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(FileState::sync, |file, rng| {
            file.synced = file.after_crash(rng);
            file.pending.clear();
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let len = length(len);
        let extend = |file: &mut FileState| {
            if file.seen.len() < len {
                file.change(Change::SetLen(len));
            }
        };
        self.grow(len, extend, |_, _| {}, |_, _| {})
    }

    fn len(&self) -> io::Result<u64> {
        let disk = self.disk.lock();
        let file = disk.files.get(&self.id).ok_or(io::ErrorKind::NotFound)?;
        Ok(file.seen.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = length(len);
        self.grow(len, |file| file.change(Change::SetLen(len)), |_, _| {}, |_, _| {})
    }

    fn start_writeback(&self, _offset: u64, _len: u64) -> io::Result<()> {
        self.change(|_| {}, |_, _| {})
    }
}

#[cfg(test)]
mod tests;
