//! Files that earlier lives of a store have left and that nothing needs.

use std::collections::HashSet;
use std::path::Path;

use crate::engine::manifest::{self, Manifest};
use crate::engine::{Error, Result, table_file_name, wal};
use crate::env::Fs;

/// The files of a data directory before it is opened.
pub(super) struct Found {
    names: Vec<String>,
}

impl Found {
    pub(super) fn list(fs: &dyn Fs, dir: &Path) -> Result<Self> {
        Ok(Self { names: fs.list(dir).map_err(Error::io("list", dir))? })
    }

    /// Whether a loss is accepted.
    pub(super) fn accepts_loss(&self) -> bool {
        self.names.iter().any(|name| name == wal::ACCEPT_LOSS)
    }

    /// Ids of the tables.
    pub(super) fn tables(&self) -> impl Iterator<Item = u64> {
        self.names.iter().filter_map(|name| {
            let id = name.strip_suffix(".sst")?.parse().ok()?;
            (table_file_name(id) == *name).then_some(id)
        })
    }

    /// Removes what was there and is not needed: manifests of before, tables that `state` does not
    /// name (outputs of jobs that did not end, and inputs of such that did), a log segment that was not
    /// finished. Where the manifest is damaged they may be all that is left of the data, so this comes
    /// last: behind a manifest that its witness calls whole, all its tables, and the log.
    pub(super) fn remove_leftovers(
        &self,
        fs: &dyn Fs,
        dir: &Path,
        manifest: &Manifest,
        state: &manifest::State,
    ) -> Result<()> {
        let named: HashSet<u64> = state.levels.iter().flatten().map(|info| info.id).collect();
        let orphans = self.tables().filter(|id| !named.contains(id)).map(table_file_name);
        let unfinished = self.names.iter().filter(|name| *name == wal::TEMPORARY_NAME);
        let of_manifests = manifest.leftovers(&self.names);
        for name in orphans.chain(unfinished.chain(of_manifests).cloned()) {
            let path = dir.join(name);
            match fs.remove(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", &path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
