//! The segment files of a log: made ahead of need, retired, and used again.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::WalOptions;
use crate::engine::{Error, Result};
use crate::env::{File, Fs};

/// How many bytes of zeros are written and synced at a time: little enough that a sync of the log
/// meanwhile does not wait long behind them.
const ZEROS_BYTES: usize = 1 << 20;

/// A segment that is still filled, as long as the file of that name.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) id: u64,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn File>,
    /// Bytes that records may fill.
    pub(super) capacity: u64,
    /// Whether the name would be found after a power cut.
    name_is_durable: AtomicBool,
}

impl Segment {
    /// The same, with room for `capacity`.
    fn enlarged(&self, capacity: u64) -> Result<Self> {
        reserve(&*self.file, &self.path, capacity)?;
        let name_is_durable = AtomicBool::new(self.name_is_durable.load(Ordering::Acquire));
        let (path, file) = (self.path.clone(), Arc::clone(&self.file));
        Ok(Self { id: self.id, path, file, capacity, name_is_durable })
    }

    /// Makes the segment's records durable, and its name.
    pub(super) fn sync(&self, fs: &dyn Fs) -> Result<()> {
        self.file.sync_data().map_err(Error::io("sync", &self.path))?;
        if !self.name_is_durable.load(Ordering::Acquire) {
            let dir = self.path.parent().unwrap_or(Path::new("."));
            fs.sync_dir(dir).map_err(Error::io("sync", dir))?;
            self.name_is_durable.store(true, Ordering::Release);
        }
        Ok(())
    }
}

/// The segments of a log: a handle to share with background threads.
#[derive(Debug, Clone)]
pub struct Segments {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    options: WalOptions,
    /// Held for as long as it takes to move a segment from one list to another, which includes
    /// creating or renaming a file but never a sync or a write of data.
    pool: Mutex<Pool>,
    /// Whether new segments are filled ahead.
    fills: AtomicBool,
    /// Number of the first segment that this process makes.
    first_id: u64,
}

#[derive(Debug)]
struct Pool {
    next_id: u64,
    /// The one that was taken last, or will be taken first.
    active_id: u64,
    /// Ready to be filled, oldest first.
    spares: VecDeque<Arc<Segment>>,
    /// Needed by recovery.
    live: BTreeMap<u64, Occupied>,
    /// Needed by nothing; to be used again.
    retired: Vec<Occupied>,
    /// Whether a thread is in `prepare_next`.
    preparing: bool,
}

#[derive(Debug)]
struct Occupied {
    path: PathBuf,
    bytes: u64,
    /// Whether somebody may still write or sync it. Dead for segments of an earlier process.
    user: Weak<Segment>,
}

impl Segments {
    /// The segments of `dir`, of which those that are there are live. The next one is `next_id`.
    pub(super) fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        options: WalOptions,
        next_id: u64,
    ) -> Result<Self> {
        let mut live = BTreeMap::new();
        for name in fs.list(dir).map_err(Error::io("list", dir))? {
            if let Some(id) = parse_segment_name(&name) {
                let path = dir.join(name);
                let bytes = fs.file_bytes(&path).map_err(Error::io("measure", &path))?;
                live.insert(id, Occupied { path, bytes, user: Weak::new() });
            }
        }
        let pool = Pool {
            next_id,
            active_id: next_id,
            spares: VecDeque::new(),
            live,
            retired: Vec::new(),
            preparing: false,
        };
        let (dir, fills) = (dir.to_owned(), AtomicBool::new(options.fills));
        let shared = Shared { fs, dir, options, pool: Mutex::new(pool), fills, first_id: next_id };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub(super) fn fs(&self) -> &dyn Fs {
        &*self.shared.fs
    }

    /// The capacity of segment `id` where it begins with a record of `bytes`.
    pub(super) fn capacity_for(&self, id: u64, bytes: u64) -> u64 {
        let WalOptions { first_bytes, segment_bytes, .. } = self.shared.options;
        let doublings = id.saturating_sub(self.shared.first_id).min(63);
        let grown = first_bytes.saturating_mul(1 << doublings);
        bytes.max(grown.min(segment_bytes))
    }

    /// The next segment, with the number behind that of the last: a spare if there is one, else a
    /// new file that is only reserved, not filled. Waits for no data. A failure has no effect.
    pub(super) fn take(&self, capacity: u64) -> Result<Arc<Segment>> {
        let mut pool = self.shared.pool.lock();
        let segment = match pool.spares.front() {
            Some(spare) if spare.capacity >= capacity => spare.clone(),
            Some(spare) => Arc::new(spare.enlarged(capacity)?),
            None => Arc::new(self.create(pool.next_id, capacity)?),
        };
        if pool.spares.pop_front().is_none() {
            pool.next_id += 1;
        }
        let occupied = Occupied {
            path: segment.path.clone(),
            bytes: segment.capacity,
            user: Arc::downgrade(&segment),
        };
        pool.live.insert(segment.id, occupied);
        pool.active_id = segment.id;
        Ok(segment)
    }

    fn create(&self, id: u64, capacity: u64) -> Result<Segment> {
        let Shared { fs, dir, .. } = &*self.shared;
        let path = segment_path(dir, id);
        let file = fs.create(&path).map_err(Error::io("create", &path))?;
        reserve(&*file, &path, capacity).inspect_err(|_| remove_unfinished(&**fs, &path))?;
        Ok(Segment { id, path, file, capacity, name_is_durable: AtomicBool::new(false) })
    }

    /// Retires the segments before `segment`: their records are in tables, and the manifest says
    /// durably that `segment` is the oldest one needed. Some are kept for [`Self::prepare_next`],
    /// the rest is removed. The active segment never is. For a background thread.
    pub fn retire_below(&self, segment: u64) -> Result<()> {
        let surplus = {
            let mut pool = self.shared.pool.lock();
            let first_kept = segment.min(pool.active_id);
            let kept = pool.live.split_off(&first_kept);
            let retired = std::mem::replace(&mut pool.live, kept);
            pool.retired.extend(retired.into_values());
            pool.surplus(&self.shared.options)
        };
        for path in surplus {
            self.shared.fs.remove(&path).map_err(Error::io("remove", &path))?;
        }
        Ok(())
    }

    /// Whether the next rotation would find no segment ready.
    #[must_use]
    pub fn needs_spare(&self) -> bool {
        self.shared.pool.lock().spares.is_empty()
    }

    /// Whether segments made from now on are filled with zeros and synced: to sync each write is the
    /// faster then, but everything is written twice until segments are used again. Else the first
    /// write to a block has the file system note that.
    pub fn set_fills(&self, fills: bool) {
        self.shared.fills.store(fills, Ordering::Relaxed);
    }

    /// Gets the next segment ready, unless one is: a retired one is renamed, else a new one is
    /// reserved and (see [`Self::set_fills`]) filled. Waits on the disk: for a background thread, after each
    /// rotation. After an error the log goes on without; a rotation then makes its own segment.
    /// Gives up with [`Error::Closed`] soon after `stop` is set.
    pub fn prepare_next(&self, stop: &AtomicBool) -> Result<()> {
        let retired = {
            let mut pool = self.shared.pool.lock();
            if pool.preparing || !pool.spares.is_empty() {
                return Ok(());
            }
            pool.preparing = true;
            pool.take_idle()
        };
        let result = self.prepare(retired, stop);
        self.shared.pool.lock().preparing = false;
        result
    }

    fn prepare(&self, retired: Option<PathBuf>, stop: &AtomicBool) -> Result<()> {
        let Shared { fs, dir, options, pool, .. } = &*self.shared;
        let source = retired.unwrap_or_else(|| dir.join(TEMPORARY_NAME));
        let (file, capacity) = if source.ends_with(TEMPORARY_NAME) {
            let next_id = pool.lock().next_id;
            let bytes = self.capacity_for(next_id, 0);
            // Where the disk is full, what was filled takes space that others need.
            let filled = self.make_new(&source, bytes, stop).map_err(Error::without_effect);
            (filled.inspect_err(|_| remove_unfinished(&**fs, &source))?, bytes)
        } else {
            (fs.open(&source).map_err(Error::io("open", &source))?, options.segment_bytes)
        };
        let segment = {
            let mut pool = pool.lock();
            let path = segment_path(dir, pool.next_id);
            fs.rename(&source, &path).map_err(Error::io("rename", &source))?;
            let segment = Arc::new(Segment {
                id: pool.next_id,
                path,
                file,
                capacity,
                name_is_durable: AtomicBool::new(false),
            });
            pool.next_id += 1;
            pool.spares.push_back(Arc::clone(&segment));
            segment
        };
        // The writer may already use it: then its first sync makes the name durable as well.
        fs.sync_dir(dir).map_err(Error::io("sync", dir))?;
        segment.name_is_durable.store(true, Ordering::Release);
        Ok(())
    }

    fn make_new(&self, path: &Path, bytes: u64, stop: &AtomicBool) -> Result<Arc<dyn File>> {
        let fs = &self.shared.fs;
        match fs.remove(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove", path)(error));
            }
            _ => {}
        }
        let file = fs.create(path).map_err(Error::io("create", path))?;
        reserve(&*file, path, bytes)?;
        if !self.shared.fills.load(Ordering::Relaxed) {
            file.sync_data().map_err(Error::io("sync", path))?;
            return Ok(file);
        }
        let zeros = vec![0; ZEROS_BYTES];
        let mut offset = 0;
        while offset < bytes {
            if stop.load(Ordering::Acquire) {
                return Err(Error::Closed);
            }
            let len = (bytes - offset).min(ZEROS_BYTES as u64);
            let part = usize::try_from(len).map_or(&zeros[..], |len| &zeros[..len]);
            file.write_at(offset, part).map_err(Error::io("write", path))?;
            file.sync_data().map_err(Error::io("sync", path))?;
            offset += len;
        }
        Ok(file)
    }

    /// Bytes of the segments that recovery needs.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.shared.pool.lock().live.values().map(|segment| segment.bytes).sum()
    }
}

impl Pool {
    /// Takes out a retired segment that nobody uses any more.
    fn take_idle(&mut self) -> Option<PathBuf> {
        let index = self.retired.iter().position(|old| old.user.strong_count() == 0)?;
        Some(self.retired.swap_remove(index).path)
    }

    /// Takes out the retired segments that are not worth keeping.
    fn surplus(&mut self, options: &WalOptions) -> Vec<PathBuf> {
        let mut kept = 0;
        let fits = |old: &mut Occupied| {
            kept += usize::from(old.bytes == options.segment_bytes);
            old.bytes != options.segment_bytes || kept > options.recycle_max
        };
        self.retired.extract_if(.., fits).map(|old| old.path).collect()
    }
}

/// What cannot be removed is removed when it is begun anew, or by the next start.
fn remove_unfinished(fs: &dyn Fs, path: &Path) {
    if let Err(error) = fs.remove(path) {
        tracing::warn!(path = %path.display(), %error, "unfinished log segment not removed");
    }
}

fn reserve(file: &dyn File, path: &Path, bytes: u64) -> Result<()> {
    file.allocate(bytes).map_err(Error::io("reserve space for", path))
}

/// Name of a new segment until it is filled and synced. A killed process may leave it behind.
pub const TEMPORARY_NAME: &str = "next.wal.tmp";
const SUFFIX: &str = ".wal";

pub(super) fn segment_path(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id:010}{SUFFIX}"))
}

/// The number in the name of a segment; `None` for other files.
pub(super) fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    if digits.len() < 10 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}
