//! The file system as the engine sees it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

/// A file system. `RealFs` is the operating system's; `SimFs` keeps files in memory and can lose
/// what was not synced.
///
/// Durability contract, the same for both: bytes written are durable after [`File::sync_data`];
/// a name created, renamed or removed is durable after [`Fs::sync_dir`] of its directory.
pub trait Fs: Send + Sync + std::fmt::Debug {
    /// Creates `path`, which must not exist, for reading and writing.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Reads a whole file.
    fn read(&self, path: &Path) -> io::Result<Bytes>;
    /// Length of a file in bytes.
    fn file_bytes(&self, path: &Path) -> io::Result<u64>;
    /// Names (not paths) of the directory's entries, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Creates a directory and its parents.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Renames atomically, replacing `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes created, renamed and removed names of `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the exclusive lock on `path` (created if absent); held until the guard is dropped.
    /// Fails with `WouldBlock` where another process, or another handle of this one, has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirectoryLock>>;
    /// Bytes free to this process on the file system that holds `dir`.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}

/// Proof of the exclusive lock on a data directory; dropping it releases the lock.
pub trait DirectoryLock: Send + Sync + std::fmt::Debug {}

/// An open file. Positioned reads and writes only; may be shared between threads.
pub trait File: Send + Sync + std::fmt::Debug {
    /// Fills `buf` from `offset`; `UnexpectedEof` where the file ends before. May wait on the disk.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
    /// Like `read_at`, but answers `WouldBlock` rather than wait on the disk
    /// (`preadv2` with `RWF_NOWAIT`, see `preadv2(2)`; a file system without it answers `WouldBlock` always).
    fn read_at_nowait(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
    /// Writes all of `buf` at `offset` (to the page cache).
    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()>;
    /// Makes the written bytes, and the length needed to read them, durable (`fdatasync(2)`).
    fn sync_data(&self) -> io::Result<()>;
    /// Reserves the first `len` bytes of the file on disk and extends it to them where it is
    /// shorter, so that writes there cannot run out of space and later syncs need no allocation.
    /// The new bytes read as zeros.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends the file to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Starts writing dirty pages of the range to disk without waiting (`sync_file_range(2)`);
    /// a hint that keeps the later `sync_data` short.
    fn start_writeback(&self, offset: u64, len: u64) -> io::Result<()>;
}
