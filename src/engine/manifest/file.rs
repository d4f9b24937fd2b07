//! One manifest file: header, then records.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::edit::encode_option;
use super::{Edit, State};
use crate::engine::coding::{Reader, put_u32, put_u64};
use crate::engine::{Error, Result};
use crate::env::{File, Fs};

const MAGIC: &[u8; 8] = b"SILTDBMF";
/// Format of the whole data directory.
const VERSION: u32 = 3;
/// The oldest format that is read.
const VERSION_MIN: u32 = 1;
const FILE_HEADER_BYTES: usize = 16;
const RECORD_HEADER_BYTES: usize = 16;
const CRC_BYTES: usize = 4;

/// An open manifest file, positioned behind its last record.
#[derive(Debug)]
pub(super) struct ManifestFile {
    path: PathBuf,
    file: Arc<dyn File>,
    len: u64,
    snapshot_bytes: u64,
    version: u32,
}

impl ManifestFile {
    /// Makes a manifest that begins with a snapshot of `state`. The file is durable on return, its
    /// name is not.
    pub(super) fn create(fs: &dyn Fs, path: PathBuf, state: &State) -> Result<Self> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(MAGIC);
        put_u32(&mut bytes, VERSION);
        let crc = crc32fast::hash(&bytes);
        put_u32(&mut bytes, crc);
        let mut body = Vec::new();
        for (name, value) in &state.options {
            encode_option(&mut body, name, value);
        }
        state.snapshot().encode(&mut body);
        put_record(&mut bytes, FILE_HEADER_BYTES as u64, &body)?;
        // It is there if an earlier process stopped before it was current.
        if let Err(error) = fs.remove(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(Error::io("remove", &path)(error));
        }
        let file = fs.create(&path).map_err(Error::io("create", &path))?;
        file.write_at(0, &bytes).map_err(Error::io("write", &path))?;
        file.sync_data().map_err(Error::io("sync", &path))?;
        let len = bytes.len() as u64;
        Ok(Self { path, file, len, snapshot_bytes: len, version: VERSION })
    }

    /// Reads the manifest at `path`, with what lies behind its last whole record. Changes nothing.
    pub(super) fn read(fs: &dyn Fs, path: PathBuf) -> Result<(Self, State, Bytes)> {
        let bytes = fs.read(&path).map_err(Error::io("read", &path))?;
        let file = fs.open(&path).map_err(Error::io("open", &path))?;
        let version = check_file_header(&path, &bytes)?;
        let len = FILE_HEADER_BYTES as u64;
        let mut this = Self { path, file, len, snapshot_bytes: 0, version };
        let mut state = State::default();
        let mut offset = FILE_HEADER_BYTES;
        while let Some(body) = record_at(&bytes, offset) {
            let edit = Edit::decode(body, &mut state.options)
                .ok_or_else(|| this.corruption(this.len, "an edit makes no sense".into()))?;
            state.apply(&edit).map_err(|what| this.corruption(this.len, what))?;
            offset += RECORD_HEADER_BYTES + body.len();
            this.len = offset as u64;
            if this.snapshot_bytes == 0 {
                this.snapshot_bytes = this.len;
            }
        }
        // The snapshot was durable before the manifest was current.
        let behind = offset + 1..bytes.len();
        if this.snapshot_bytes == 0 || behind.into_iter().any(|at| record_at(&bytes, at).is_some())
        {
            return Err(this.corruption(this.len, "an edit cannot be read".into()));
        }
        Ok((this, state, bytes))
    }

    /// Cuts what lies behind the last whole record of `bytes`, as they were read, and makes the rest
    /// durable. That is written again first: if a sync has failed in an earlier life of the
    /// manifest, the system may take what it has in memory for written, so that a sync alone would
    /// do nothing.
    pub(super) fn settle(&self, bytes: &[u8]) -> Result<()> {
        let end = usize::try_from(self.len).unwrap_or(usize::MAX).min(bytes.len());
        if end < bytes.len() {
            tracing::warn!(
                path = %self.path.display(),
                offset = self.len,
                bytes = bytes.len() - end,
                "cut an edit that was never finished"
            );
            self.file.set_len(self.len).map_err(Error::io("cut", &self.path))?;
        }
        self.file.write_at(0, &bytes[..end]).map_err(Error::io("write", &self.path))?;
        self.file.sync_data().map_err(Error::io("sync", &self.path))
    }

    /// Appends `edit` and syncs it. After [`Error::NoSpace`] the manifest is as before; after any
    /// other failure nobody knows.
    pub(super) fn append(&mut self, edit: &Edit) -> Result<()> {
        let mut body = Vec::new();
        edit.encode(&mut body);
        let mut bytes = Vec::new();
        put_record(&mut bytes, self.len, &body)?;
        if let Err(error) = self.file.write_at(self.len, &bytes) {
            // A part of it may be there: not all, so it is no edit. The next one takes its place.
            self.file.set_len(self.len).map_err(Error::io("cut", &self.path))?;
            return Err(Error::io("write", &self.path)(error).without_effect());
        }
        self.file.sync_data().map_err(Error::io("sync", &self.path))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Whether it is of an earlier format.
    pub(super) fn is_old(&self) -> bool {
        self.version < VERSION
    }

    /// Bytes of the header and all records.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes of the header and the first record.
    pub(super) fn snapshot_bytes(&self) -> u64 {
        self.snapshot_bytes
    }

    pub(super) fn corruption(&self, offset: u64, what: String) -> Error {
        let what = format!("{what}; restore the data directory from a backup");
        Error::Corruption { path: self.path.clone(), offset, what }
    }
}

/// Answers the format.
fn check_file_header(path: &Path, bytes: &[u8]) -> Result<u32> {
    let damaged = |what: &str| Error::Corruption {
        path: path.to_owned(),
        offset: 0,
        what: format!("{what}; restore the data directory from a backup"),
    };
    let mut reader = Reader::new(bytes);
    let magic = reader.take(MAGIC.len());
    let (Some(magic), Some(version), Some(crc)) = (magic, reader.u32(), reader.u32()) else {
        return Err(damaged("the manifest is too short"));
    };
    if magic != MAGIC || crc32fast::hash(&bytes[..FILE_HEADER_BYTES - CRC_BYTES]) != crc {
        return Err(damaged("the header of the manifest cannot be read"));
    }
    if (VERSION_MIN..=VERSION).contains(&version) {
        return Ok(version);
    }
    let age = if version > VERSION { "newer" } else { "older" };
    Err(Error::Directory {
        path: path.parent().unwrap_or(path).to_owned(),
        what: format!(
            "the data was written by a {age} version of SiltDB (format {version}; this version \
             reads up to format {VERSION}); use that version, or another data directory"
        ),
    })
}

fn put_record(out: &mut Vec<u8>, offset: u64, body: &[u8]) -> Result<()> {
    let len = u32::try_from(body.len())
        .map_err(|_| Error::Limit("an edit of the manifest exceeds 4 GiB"))?;
    let mut covered = Vec::with_capacity(RECORD_HEADER_BYTES + body.len());
    put_u32(&mut covered, len);
    put_u64(&mut covered, offset);
    covered.extend_from_slice(body);
    put_u32(out, crc32fast::hash(&covered));
    out.extend_from_slice(&covered);
    Ok(())
}

/// The body of the whole record at `offset`, if there is one.
fn record_at(bytes: &[u8], offset: usize) -> Option<&[u8]> {
    let record = bytes.get(offset..)?;
    let mut reader = Reader::new(record);
    let crc = reader.u32()?;
    let len = usize::try_from(reader.u32()?).ok()?;
    if reader.u64()? != offset as u64 {
        return None;
    }
    let body = reader.take(len)?;
    let covered = record.get(CRC_BYTES..RECORD_HEADER_BYTES + len)?;
    (crc32fast::hash(covered) == crc).then_some(body)
}
