//! The manifest: which tables there are, and where the log begins.
//!
//! `CURRENT` holds the name of the manifest in force and a newline. `MANIFEST-NNNNNN` begins with a
//! file header:
//!
//! | offset | size | name    | meaning                                  |
//! |--------|------|---------|------------------------------------------|
//! | 0      | 8    | magic   | `SILTDBMF`                               |
//! | 8      | 4    | version | format of the whole data directory, 3    |
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
//! All numbers are little-endian. Formats 1, which had no log mark, and 2, which had no witness, are
//! read and go on as format 3.
//!
//! **Order.** An edit is appended and synced before anybody acts on it, and the next one only then.
//! When a manifest has grown to several times its snapshot, the next number begins with a new
//! snapshot; it is synced, its name too, and only then named by `CURRENT`, which is replaced by a
//! rename. What an earlier life has left is removed once the store was found whole
//! ([`Manifest::leftovers`]).
//!
//! **The witness.** `MANIFEST.witness` (see `witness.rs`) says up to which offset the manifest is
//! durable; it is moved behind each edit, before anybody acts on that.
//!
//! **A damaged tail.** Where no whole record follows, and the witness knows of none there, a record
//! that cannot be read is an append that was never finished, so nobody has acted on it: it is cut.
//! Any other damage is an error, and nothing is changed: neither here nor by who opens the store. In
//! the formats without a witness any damage is.

mod edit;
mod file;
mod state;
mod witness;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

pub use edit::Edit;
pub use state::State;

use self::file::ManifestFile;
use self::witness::{Known, Witness};
use super::{Error, Result, wal};
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
    /// None where the format is older than it.
    witness: Option<Witness>,
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
    /// with [`Error::Corruption`] where the manifest is damaged; with `accept_loss` it goes on where
    /// only its end is missing, as the state was before that.
    pub fn open_or_create(
        fs: Arc<dyn Fs>,
        dir: &Path,
        options: &BTreeMap<String, Bytes>,
        accept_loss: bool,
    ) -> Result<(Self, State)> {
        Self::open_with(fs, dir, options, ROLL_BYTES_MIN, accept_loss)
    }

    /// Refuses a directory without `CURRENT` that holds other data, or what is left of ours.
    pub fn check_dir(fs: &dyn Fs, dir: &Path) -> Result<()> {
        let names = fs.list(dir).map_err(Error::io("list", dir))?;
        match names.iter().any(|name| name == CURRENT) {
            true => Ok(()),
            false => check_is_new(dir, &names),
        }
    }

    /// Reads the manifest of `dir`, which has one, and changes nothing; nor does what is answered:
    /// edits are refused. Fails as [`Self::open_or_create`] does.
    pub fn open_to_read(fs: Arc<dyn Fs>, dir: &Path) -> Result<(Self, State)> {
        let (mut manifest, _) = Self::read_current(fs, dir, ROLL_BYTES_MIN, false)?;
        manifest.poison = Some("the manifest was opened to be read only".into());
        let state = manifest.state.clone();
        Ok((manifest, state))
    }

    fn open_with(
        fs: Arc<dyn Fs>,
        dir: &Path,
        options: &BTreeMap<String, Bytes>,
        roll_bytes_min: u64,
        accept_loss: bool,
    ) -> Result<(Self, State)> {
        let names = fs.list(dir).map_err(Error::io("list", dir))?;
        let manifest = if names.iter().any(|name| name == CURRENT) {
            Self::open_current(fs, dir, roll_bytes_min, accept_loss)?
        } else {
            check_is_new(dir, &names)?;
            let state = State { options: options.clone(), ..State::default() };
            Self::create(fs, dir, state, roll_bytes_min)?
        };
        let state = manifest.state.clone();
        Ok((manifest, state))
    }

    /// Begins the first manifest of `dir`.
    fn create(fs: Arc<dyn Fs>, dir: &Path, state: State, roll_bytes_min: u64) -> Result<Self> {
        let witness = Witness::create(&*fs, dir, Known { number: 0, len: 0 });
        let witness = Some(witness.map_err(Error::without_effect)?);
        let (number, dir) = (1, dir.to_owned());
        let file = make_current(&*fs, &dir, number, &state)?;
        let roll_bytes = roll_bytes(&file, roll_bytes_min);
        let mut this = Self {
            fs,
            dir,
            number,
            file,
            witness,
            roll_bytes,
            roll_bytes_min,
            state,
            poison: None,
        };
        this.move_witness()?;
        Ok(this)
    }

    fn open_current(
        fs: Arc<dyn Fs>,
        dir: &Path,
        roll_bytes_min: u64,
        accept_loss: bool,
    ) -> Result<Self> {
        let (mut this, bytes) = Self::read_current(fs, dir, roll_bytes_min, accept_loss)?;
        if !this.file.is_old() {
            this.ensure_witness()?;
        }
        // An earlier process may have been stopped before it could make the rename durable.
        this.fs.sync_dir(dir).map_err(Error::io("sync", dir))?;
        this.file.settle(&bytes)?;
        if this.file.is_old() {
            this.roll_if_space()?;
        } else {
            this.move_witness()?;
        }
        Ok(this)
    }

    /// Reads what `CURRENT` names, and compares it with the witness. Changes nothing.
    fn read_current(
        fs: Arc<dyn Fs>,
        dir: &Path,
        roll_bytes_min: u64,
        accept_loss: bool,
    ) -> Result<(Self, Bytes)> {
        let current = dir.join(CURRENT);
        let name = fs.read(&current).map_err(Error::io("read", &current))?;
        let number = parse_current(&name).ok_or_else(|| Error::Corruption {
            path: current.clone(),
            offset: 0,
            what: "it does not name a manifest; write the name of the newest MANIFEST file and a \
                   newline into it, or restore the data directory from a backup"
                .into(),
        })?;
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
        let witness = Witness::open(&*fs, dir)?;
        let known = witness.as_ref().and_then(Witness::known);
        if let Some(known) = known.filter(|known| known.number > number) {
            return Err(superseded(current, number, known.number));
        }
        let (file, state, bytes) = ManifestFile::read(&*fs, path)?;
        if let Err(error) = check_whole(dir, number, &file, bytes.len() as u64, known) {
            if !accept_loss {
                let remedy = "restore this file, or the whole data directory, from a backup";
                return Err(wal::with_remedy(error, remedy, dir));
            }
            tracing::warn!(%error, "accepted: the manifest goes on without what is missing");
        }
        let roll_bytes = roll_bytes(&file, roll_bytes_min);
        let dir = dir.to_owned();
        let this = Self {
            fs,
            dir,
            number,
            file,
            witness,
            roll_bytes,
            roll_bytes_min,
            state,
            poison: None,
        };
        Ok((this, bytes))
    }

    /// Files of `names` that earlier manifests have left. To be removed once the store was found
    /// whole.
    pub fn leftovers<'a>(&self, names: &'a [String]) -> impl Iterator<Item = &'a String> {
        let current = manifest_name(self.number);
        names.iter().filter(move |name| {
            *name == CURRENT_TEMPORARY || name.starts_with(PREFIX) && **name != current
        })
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
        self.move_witness()?;
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
        self.ensure_witness()?;
        let old = self.number;
        self.file = make_current(&*self.fs, &self.dir, old + 1, &self.state)?;
        self.number = old + 1;
        self.roll_bytes = roll_bytes(&self.file, self.roll_bytes_min);
        self.move_witness()?;
        remove_all(&*self.fs, &self.dir, [manifest_name(old)])
    }

    /// Makes a witness that knows nothing yet, where there is none. The caller makes its name durable.
    fn ensure_witness(&mut self) -> Result<()> {
        if self.witness.as_ref().and_then(Witness::known).is_none() {
            let known = Known { number: self.number, len: 0 };
            let made = Witness::create(&*self.fs, &self.dir, known);
            self.witness = Some(made.map_err(Error::without_effect)?);
        }
        Ok(())
    }

    /// Has the witness say that the manifest is durable to its end, which it is.
    fn move_witness(&mut self) -> Result<()> {
        let known = Known { number: self.number, len: self.file.len() };
        let Some(witness) = &mut self.witness else { return Ok(()) };
        match witness.write(known).map_err(Error::without_effect) {
            Err(error @ Error::NoSpace(_)) => {
                tracing::warn!(%error, "the witness of the manifest stays behind");
                Ok(())
            }
            result => result,
        }
    }

    /// What the manifest says.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }
}

fn roll_bytes(file: &ManifestFile, roll_bytes_min: u64) -> u64 {
    roll_bytes_min.max(GROWTH_MAX * file.snapshot_bytes())
}

/// Makes manifest `number` with a snapshot of `state`, and then the current one. Where there is no
/// space for it, fails with [`Error::NoSpace`], and the current one is as before.
fn make_current(fs: &dyn Fs, dir: &Path, number: u64, state: &State) -> Result<ManifestFile> {
    let path = dir.join(manifest_name(number));
    let temporary = dir.join(CURRENT_TEMPORARY);
    let file = ManifestFile::create(fs, path, state).map_err(Error::without_effect)?;
    fs.sync_dir(dir).map_err(Error::io("sync", dir))?;
    name_in(fs, dir, &temporary, number).map_err(Error::without_effect)?;
    fs.rename(&temporary, &dir.join(CURRENT)).map_err(Error::io("rename", &temporary))?;
    fs.sync_dir(dir).map_err(Error::io("sync", dir))?;
    Ok(file)
}

/// Fails where manifest `number`, of which the file has `bytes` bytes and `file` holds the whole
/// records, lacks what was durable.
fn check_whole(
    dir: &Path,
    number: u64,
    file: &ManifestFile,
    bytes: u64,
    known: Option<Known>,
) -> Result<()> {
    let damaged = |path, offset, what| Err(Error::Corruption { path, offset, what });
    let (path, len) = (dir.join(manifest_name(number)), file.len());
    let found = match len == bytes {
        true => "the manifest ends here",
        false => "the edit here cannot be read",
    };
    match known {
        None if file.is_old() && len < bytes => {
            let what = "and its format does not tell whether it was ever finished";
            damaged(path, len, format!("{found}, {what}"))
        }
        None if file.is_old() => Ok(()),
        None => {
            let what = "it is missing or cannot be read, so nobody knows whether the manifest is \
                        whole";
            damaged(dir.join(witness::NAME), 0, what.to_owned())
        }
        Some(known) if known.number == number && len < known.len => {
            let what = format!(
                "{found}, though it was safely written up to offset {}: it was cut or overwritten \
                 from outside",
                known.len
            );
            damaged(path, len, what)
        }
        Some(_) => Ok(()),
    }
}

/// `current` names an older manifest than the one in force.
fn superseded(current: PathBuf, number: u64, newer: u64) -> Error {
    let (number, newer) = (manifest_name(number), manifest_name(newer));
    let what = format!(
        "it names {number}, but {newer} is in force; write that name and a newline into it, or \
         restore the whole data directory from a backup"
    );
    Error::Corruption { path: current, offset: 0, what }
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
