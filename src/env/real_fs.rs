//! The file system of the operating system.
//!
//! Linux is what it is made for. Elsewhere the same promises hold, with less speed: a read that
//! must not wait always answers `WouldBlock`, reserving space only extends the file, and the hint
//! to start writing back is ignored.

use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::fs::{DirectoryLock, File, Fs};

/// The file system of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFs;

impl RealFs {
    /// The file system as an [`Fs`] to share.
    #[must_use]
    pub fn shared() -> Arc<dyn Fs> {
        Arc::new(Self)
    }
}

impl Fs for RealFs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(RealFile::new(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(RealFile::new(file)))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the wrapper that the ban points to")]
    fn read(&self, path: &Path) -> io::Result<Bytes> {
        fs::read(path).map(Bytes::from)
    }

    fn file_bytes(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OpenOptions::new().read(true).open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirectoryLock>> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(RealLock { _file: file })),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// The lock belongs to the open file description, so closing it is releasing it.
#[derive(Debug)]
struct RealLock {
    _file: fs::File,
}

impl DirectoryLock for RealLock {}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
    /// Set once the file system said that it has no reads that do not wait, so that it is asked
    /// only once per file.
    nowait_unsupported: AtomicBool,
}

impl RealFile {
    fn new(file: fs::File) -> Self {
        let nowait_unsupported = AtomicBool::new(cfg!(not(target_os = "linux")));
        Self { file, nowait_unsupported }
    }
}

impl File for RealFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn read_at_nowait(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if self.nowait_unsupported.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let result = read_nowait(&self.file, offset, buf);
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Unsupported) {
            self.nowait_unsupported.store(true, Ordering::Relaxed);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        result
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        self.file.write_all_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        allocate(&self.file, len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn start_writeback(&self, offset: u64, len: u64) -> io::Result<()> {
        start_writeback(&self.file, offset, len)
    }
}

/// A short answer means that the pages behind it are not in memory: the next call says so.
#[cfg(target_os = "linux")]
fn read_nowait(file: &fs::File, mut offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
    use std::io::IoSliceMut;

    use rustix::io::{Errno, ReadWriteFlags, preadv2};

    while !buf.is_empty() {
        match preadv2(file, &mut [IoSliceMut::new(buf)], offset, ReadWriteFlags::NOWAIT) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                offset += count as u64;
                buf = buf.split_at_mut(count).1;
            }
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                return Err(io::ErrorKind::Unsupported.into());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn read_nowait(_file: &fs::File, _offset: u64, _buf: &mut [u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
fn allocate(file: &fs::File, len: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;

    loop {
        match fallocate(file, FallocateFlags::empty(), 0, len) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return extend(file, len),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn allocate(file: &fs::File, len: u64) -> io::Result<()> {
    extend(file, len)
}

fn extend(file: &fs::File, len: u64) -> io::Result<()> {
    if file.metadata()?.len() < len { file.set_len(len) } else { Ok(()) }
}

/// `sync_file_range(2)` would need unsafe code. `POSIX_FADV_DONTNEED` also starts writing the
/// dirty pages of the range; pages that are dirty or under way stay in the cache, and those of a
/// file just written are.
#[cfg(target_os = "linux")]
fn start_writeback(file: &fs::File, offset: u64, len: u64) -> io::Result<()> {
    use rustix::fs::{Advice, fadvise};

    // A length of zero would mean "to the end of the file".
    let Some(len) = std::num::NonZeroU64::new(len) else { return Ok(()) };
    Ok(fadvise(file, offset, Some(len), Advice::DontNeed)?)
}

#[cfg(not(target_os = "linux"))]
fn start_writeback(_file: &fs::File, _offset: u64, _len: u64) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_where_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let file = RealFs.create(&path).unwrap();
        file.allocate(8192).unwrap();
        assert_eq!(file.len().unwrap(), 8192);
        assert_eq!(RealFs.file_bytes(&path).unwrap(), 8192);
        file.write_at(100, b"hello").unwrap();
        file.start_writeback(0, 4096).unwrap();
        file.sync_data().unwrap();
        let mut buf = [0; 7];
        file.read_at(99, &mut buf).unwrap();
        assert_eq!(&buf, b"\0hello\0");
        let error = file.read_at(8190, &mut buf).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(RealFs.create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        RealFs.sync_dir(dir.path()).unwrap();
        assert_eq!(RealFs.list(dir.path()).unwrap(), ["a"]);
        assert!(RealFs.free_bytes(dir.path()).unwrap() > 0);
    }

    #[test]
    fn a_read_that_must_not_wait_answers_or_refuses() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealFs.create(&dir.path().join("a")).unwrap();
        file.write_at(0, &[7; 10_000]).unwrap();
        let mut buf = vec![0; 10_000];
        match file.read_at_nowait(0, &mut buf) {
            Ok(()) => assert_eq!(buf, [7; 10_000]),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }

    #[test]
    fn a_lock_is_exclusive_until_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LOCK");
        let held = RealFs.lock(&path).unwrap();
        assert_eq!(RealFs.lock(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        RealFs.lock(&path).unwrap();
    }
}
