//! What a simulated disk holds: what programs see, what is durable, and what lies between.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use fastrand::Rng;

/// Unit in which a disk writes all or nothing, in bytes.
const SECTOR_BYTES: usize = 512;

#[derive(Debug)]
pub(super) struct Disk {
    pub(super) files: BTreeMap<FileId, FileState>,
    pub(super) next_file: FileId,
    pub(super) directories: BTreeSet<PathBuf>,
    /// Names as programs see them.
    pub(super) names: BTreeMap<PathBuf, FileId>,
    /// Names as the disk has them.
    pub(super) synced_names: BTreeMap<PathBuf, FileId>,
    /// What leads from `synced_names` to `names`.
    pub(super) pending_names: Vec<NameChange>,
    pub(super) locks: BTreeSet<PathBuf>,
    pub(super) operations: u64,
    pub(super) faults: Faults,
    pub(super) nowait_blocks: bool,
    /// Bytes that all files together may have.
    pub(super) capacity: Option<u64>,
    pub(super) rng: Rng,
}

pub(super) type FileId = u64;

#[derive(Debug, Clone, Default)]
pub(super) struct FileState {
    /// Open handles; a file without name lives as long as it has one.
    pub(super) handles: usize,
    pub(super) seen: Vec<u8>,
    pub(super) synced: Vec<u8>,
    /// What leads from `synced` to `seen`.
    pub(super) pending: Vec<Change>,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Link(PathBuf, FileId),
    Unlink(PathBuf),
    Rename { from: PathBuf, to: PathBuf, file: FileId },
}

/// Which operations fail, counted by `Disk::operations`.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// All from this one on.
    pub(super) from: Option<u64>,
    /// Only this one.
    pub(super) once: Option<u64>,
}

impl Disk {
    /// Counts an operation and answers the error that it has to fail with.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        let fails =
            self.faults.from.is_some_and(|from| number >= from) || self.faults.once == Some(number);
        if fails { Err(io::Error::from_raw_os_error(EIO)) } else { Ok(()) }
    }

    /// Bytes that files may still grow by.
    pub(super) fn free_bytes(&self) -> u64 {
        self.capacity.map_or(ENDLESS, |capacity| capacity.saturating_sub(self.used_bytes()))
    }

    /// Bytes of all files that have a name or an open handle.
    pub(super) fn used_bytes(&self) -> u64 {
        let named: BTreeSet<FileId> = self.names.values().copied().collect();
        let used = self.files.iter().filter(|(id, file)| file.handles > 0 || named.contains(id));
        used.map(|(_, file)| file.seen.len() as u64).sum()
    }

    pub(super) fn named(&self, path: &Path) -> io::Result<FileId> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }

    pub(super) fn forget_unreachable(&mut self) {
        let mut named: BTreeSet<FileId> = self.names.values().copied().collect();
        named.extend(self.synced_names.values());
        named.extend(self.pending_names.iter().filter_map(NameChange::file));
        self.files.retain(|id, file| file.handles > 0 || named.contains(id));
    }

    pub(super) fn check_directory(&self, dir: Option<&Path>) -> io::Result<()> {
        let known = dir.is_some_and(|dir| self.directories.contains(dir));
        if known { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

/// "Input/output error" on Linux, macOS and the BSDs.
const EIO: i32 = 5;
/// "No space left on device" there.
pub(super) const ENOSPC: i32 = 28;
/// Free space of a disk without a capacity.
const ENDLESS: u64 = 1 << 40;

impl NameChange {
    pub(super) fn apply(&self, names: &mut BTreeMap<PathBuf, FileId>) {
        match self {
            Self::Link(path, file) => drop(names.insert(path.clone(), *file)),
            Self::Unlink(path) => drop(names.remove(path)),
            Self::Rename { from, to, file } => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
        }
    }

    pub(super) fn file(&self) -> Option<FileId> {
        match self {
            Self::Link(_, file) | Self::Rename { file, .. } => Some(*file),
            Self::Unlink(_) => None,
        }
    }

    pub(super) fn is_in(&self, dir: &Path) -> bool {
        let (Self::Link(path, _) | Self::Unlink(path) | Self::Rename { to: path, .. }) = self;
        path.parent() == Some(dir)
    }
}

impl FileState {
    pub(super) fn at_rest(bytes: Vec<u8>) -> Self {
        Self { handles: 0, seen: bytes.clone(), synced: bytes, pending: Vec::new() }
    }

    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.synced);
        }
    }

    pub(super) fn after_crash(&self, rng: &mut Rng) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        for change in &self.pending {
            change.apply_by_chance(&mut bytes, rng);
        }
        bytes
    }
}

impl Change {
    pub(super) fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => write_into(image, *offset, bytes),
            Self::SetLen(len) => image.resize(*len, 0),
        }
    }

    pub(super) fn apply_by_chance(&self, image: &mut Vec<u8>, rng: &mut Rng) {
        match (rng.u8(0..3), self) {
            (0, _) => {}
            (1, Self::Write { offset, bytes }) => {
                let mut at = 0;
                while at < bytes.len() {
                    let to_sector_end = SECTOR_BYTES - (offset + at) % SECTOR_BYTES;
                    let end = bytes.len().min(at + to_sector_end);
                    if rng.bool() {
                        write_into(image, offset + at, &bytes[at..end]);
                    }
                    at = end;
                }
            }
            _ => self.apply(image),
        }
    }
}

fn write_into(image: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset..end].copy_from_slice(bytes);
}
