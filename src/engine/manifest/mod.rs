//! The manifest: which tables there are, and where the log begins.
//!
//! `CURRENT` holds the name of the manifest in force and a newline. `MANIFEST-NNNNNN` begins with a
//! file header:
//!
//! | offset | size | name    | meaning                                  |
//! |--------|------|---------|------------------------------------------|
//! | 0      | 8    | magic   | `SILTDBMF`                               |
//! | 8      | 4    | version | format of the whole data directory, 2    |
//! | 12     | 4    | crc     | crc32 of the bytes from offset 0 to 12   |
//!
//! Records follow one another to the end of the file; the first is a snapshot of the whole state:
//!
//! | offset | size | name   | meaning                                                            |
//! |--------|------|--------|--------------------------------------------------------------------|
//! | 0      | 4    | crc    | crc32 of the bytes from offset 4 to the end of the record          |
//! | 4      | 4    | len    | bytes of body                                                      |
//! | 8      | 8    | offset | offset of the record in the file, so that one is known when found  |
//! | 16     | len  | body   | an edit, see `edit.rs`                                             |
//!
//! All numbers are little-endian. Format 1, which had no log mark, is read and goes on as format 2.
//!
//! **Order.** An edit is appended and synced before anybody acts on it, and the next one only then.
//! When a manifest has grown to several times its snapshot, the next number begins with a new
//! snapshot; it is synced, its name too, and only then named by `CURRENT`, which is replaced by a
//! rename. Manifests that `CURRENT` does not name are removed at the next opening.
//!
//! **A damaged tail.** Where no whole record follows, a record that cannot be read is an append that
//! was never finished, so nobody has acted on it: it is cut. Any other damage is an error.

mod edit;
mod file;
mod state;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

pub use edit::Edit;
pub use state::State;

use self::file::ManifestFile;
use super::{Error, Result};
use crate::env::Fs;

const CURRENT: &str = "CURRENT";
const CURRENT_TEMPORARY: &str = "CURRENT.tmp";
const PREFIX: &str = "MANIFEST-";

/// How names end of files that hold the data of another server; a store that began beside them
/// would look as if that data were lost.
const FOREIGN_DATA: &[&str] = &[".rdb", ".aof", ".manifest", "appendonlydir"];

/// A manifest is replaced when it exceeds this many times its snapshot ...
const GROWTH_MAX: u64 = 4;
/// ... and this many bytes.
const ROLL_BYTES_MIN: u64 = 256 << 10;

/// The open manifest of a data directory.
#[derive(Debug)]
pub struct Manifest {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    number: u64,
    file: ManifestFile,
    /// Size at which it is replaced, in bytes.
    roll_bytes: u64,
    roll_bytes_min: u64,
    state: State,
    poison: Option<Arc<str>>,
}

impl Manifest {
    /// Opens the manifest of `dir`, or makes one with `options` where the directory is new; an
    /// existing one keeps the options that it was made with, which the caller compares. The caller
    /// has made the directory and holds its lock, and puts nothing else into it before this.
    ///
    /// Fails with [`Error::Directory`] where the directory is not ours or of a newer format, and
    /// with [`Error::Corruption`] where the manifest is damaged.
    pub fn open_or_create(
        fs: Arc<dyn Fs>,
        dir: &Path,
        options: &BTreeMap<String, Bytes>,
    ) -> Result<(Self, State)> {
        Self::open_with(fs, dir, options, ROLL_BYTES_MIN)
    }

    /// Refuses a directory without `CURRENT` that holds other data, or what is left of ours.
    pub fn check_dir(fs: &dyn Fs, dir: &Path) -> Result<()> {
        let names = fs.list(dir).map_err(Error::io("list", dir))?;
        match names.iter().any(|name| name == CURRENT) {
            true => Ok(()),
            false => check_is_new(dir, &names),
        }
    }

    fn open_with(
        fs: Arc<dyn Fs>,
        dir: &Path,
        options: &BTreeMap<String, Bytes>,
        roll_bytes_min: u64,
    ) -> Result<(Self, State)> {
        let names = fs.list(dir).map_err(Error::io("list", dir))?;
        let manifest = if names.iter().any(|name| name == CURRENT) {
            Self::open_current(fs, dir, roll_bytes_min)?
        } else {
            check_is_new(dir, &names)?;
            let state = State { options: options.clone(), ..State::default() };
            Self::start(fs, dir, 1, state, roll_bytes_min)?
        };
        let current = manifest_name(manifest.number);
        let is_old = |name: &&String| {
            name.as_str() == CURRENT_TEMPORARY || name.starts_with(PREFIX) && **name != current
        };
        remove_all(&*manifest.fs, dir, names.iter().filter(is_old))?;
        let state = manifest.state.clone();
        Ok((manifest, state))
    }

    fn open_current(fs: Arc<dyn Fs>, dir: &Path, roll_bytes_min: u64) -> Result<Self> {
        let current = dir.join(CURRENT);
        let name = fs.read(&current).map_err(Error::io("read", &current))?;
        let number = parse_current(&name).ok_or_else(|| Error::Corruption {
            path: current.clone(),
            offset: 0,
            what: "it does not name a manifest; write the name of the newest MANIFEST file and a \
                   newline into it, or restore the data directory from a backup"
                .into(),
        })?;
        // An earlier process may have been stopped before it could make the rename durable.
        fs.sync_dir(dir).map_err(Error::io("sync", dir))?;
        let path = dir.join(manifest_name(number));
        match fs.file_bytes(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::Corruption {
                    path,
                    offset: 0,
                    what: "CURRENT names this manifest, but the file is missing; restore it, or \
                           the whole data directory, from a backup"
                        .into(),
                });
            }
            _ => {}
        }
        let (file, state) = ManifestFile::open(&*fs, path)?;
        let roll_bytes = roll_bytes_min.max(GROWTH_MAX * file.snapshot_bytes());
        let dir = dir.to_owned();
        let is_old = file.is_old();
        let mut this =
            Self { fs, dir, number, file, roll_bytes, roll_bytes_min, state, poison: None };
        if is_old {
            this.roll_if_space()?;
        }
        Ok(this)
    }

    /// Makes manifest `number` with a snapshot of `state`, and then the current one. Where there is
    /// no space for it, fails with [`Error::NoSpace`], and the current one is as before.
    fn start(
        fs: Arc<dyn Fs>,
        dir: &Path,
        number: u64,
        state: State,
        roll_bytes_min: u64,
    ) -> Result<Self> {
        let path = dir.join(manifest_name(number));
        let temporary = dir.join(CURRENT_TEMPORARY);
        let made = ManifestFile::create(&*fs, path, &state);
        let file = made.map_err(Error::without_effect)?;
        fs.sync_dir(dir).map_err(Error::io("sync", dir))?;
        name_in(&*fs, dir, &temporary, number).map_err(Error::without_effect)?;
        fs.rename(&temporary, &dir.join(CURRENT)).map_err(Error::io("rename", &temporary))?;
        fs.sync_dir(dir).map_err(Error::io("sync", dir))?;
        let roll_bytes = roll_bytes_min.max(GROWTH_MAX * file.snapshot_bytes());
        let dir = dir.to_owned();
        Ok(Self { fs, dir, number, file, roll_bytes, roll_bytes_min, state, poison: None })
    }

    /// Makes `edit` durable. Waits on the disk. After an error it is not known whether the edit
    /// holds, and every further edit is refused until the manifest is opened again; but an edit that
    /// contradicts the state (a table that is not there, or twice), or for which there is no space
    /// ([`Error::NoSpace`]), is refused without consequence.
    pub fn apply(&mut self, edit: &Edit) -> Result<()> {
        if let Some(why) = &self.poison {
            return Err(Error::Poisoned(Arc::clone(why)));
        }
        let mut state = self.state.clone();
        state.apply(edit).map_err(|what| self.file.corruption(self.file.len(), what))?;
        self.write(edit, state).inspect_err(|error| {
            if !matches!(error, Error::NoSpace(_)) {
                self.poison = Some(error.to_string().into());
            }
        })
    }

    fn write(&mut self, edit: &Edit, state: State) -> Result<()> {
        self.file.append(edit)?;
        self.state = state;
        if self.file.len() > self.roll_bytes {
            self.roll_if_space()?;
        }
        Ok(())
    }

    /// Goes on in a new manifest; where there is no space for it, in this one for a while.
    fn roll_if_space(&mut self) -> Result<()> {
        match self.roll() {
            Err(Error::NoSpace(_)) => self.roll_bytes = 2 * self.file.len(),
            result => result?,
        }
        Ok(())
    }

    /// Goes on in a new manifest, or after [`Error::NoSpace`] in this one.
    fn roll(&mut self) -> Result<()> {
        let state = self.state.clone();
        let fs = Arc::clone(&self.fs);
        let next = Self::start(fs, &self.dir, self.number + 1, state, self.roll_bytes_min)?;
        let old = std::mem::replace(self, next);
        remove_all(&*self.fs, &self.dir, [manifest_name(old.number)])
    }

    /// What the manifest says.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }
}

/// Makes the file that names manifest `number` once it is renamed to `CURRENT`.
fn name_in(fs: &dyn Fs, dir: &Path, temporary: &Path, number: u64) -> Result<()> {
    remove_all(fs, dir, [CURRENT_TEMPORARY])?;
    let current = fs.create(temporary).map_err(Error::io("create", temporary))?;
    let line = format!("{}\n", manifest_name(number));
    current.write_at(0, line.as_bytes()).map_err(Error::io("write", temporary))?;
    current.sync_data().map_err(Error::io("sync", temporary))
}

fn check_is_new(dir: &Path, names: &[String]) -> Result<()> {
    let newest = names.iter().filter_map(|name| parse_name(name)).max();
    let is_ours = |name: &String| name.ends_with(".sst") || name.ends_with(".wal");
    let is_foreign = |name: &&String| FOREIGN_DATA.iter().any(|end| name.ends_with(end));
    // One that stopped before it made CURRENT has made the first manifest at most.
    let what = match (newest, names.iter().any(is_ours)) {
        (Some(number), ours) if ours || number > 1 => format!(
            "the file {CURRENT} is missing; restore it from a backup, or make it anew: it holds \
             the name of the newest manifest, {}, and a newline",
            manifest_name(number)
        ),
        (None, true) => format!(
            "the files {CURRENT} and {PREFIX}* are missing; without them the others are of no \
             use: restore the data directory from a backup"
        ),
        _ => match names.iter().find(is_foreign) {
            Some(foreign) => format!(
                "this is not a SiltDB data directory: it has no {CURRENT}, but the data of \
                 another server ({foreign}); choose another directory"
            ),
            None => return Ok(()),
        },
    };
    Err(Error::Directory { path: dir.to_owned(), what })
}

fn remove_all(
    fs: &dyn Fs,
    dir: &Path,
    names: impl IntoIterator<Item = impl AsRef<str>>,
) -> Result<()> {
    for name in names {
        let path = dir.join(name.as_ref());
        match fs.remove(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn manifest_name(number: u64) -> String {
    format!("{PREFIX}{number:06}")
}

fn parse_current(bytes: &[u8]) -> Option<u64> {
    parse_name(std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?)
}

/// The number in the name of a manifest; `None` for other files.
fn parse_name(name: &str) -> Option<u64> {
    let number = name.strip_prefix(PREFIX)?.parse().ok()?;
    (manifest_name(number) == name).then_some(number)
}

#[cfg(test)]
mod tests;
