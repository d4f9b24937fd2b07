//! Keeps the cursors of running scans in the data directory, so that they outlive the process.
//!
//! The file is not synced while the server runs: a killed process loses what it has issued in the last
//! moments, a cut of the power perhaps all of it, and scans go on a little before their place then.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::commands::ServerState;
use crate::data::CursorFile;

/// Time between two looks whether cursors were issued.
const PERIOD: Duration = Duration::from_secs(1);

/// Reads what an earlier process has left.
pub(crate) fn load(state: &ServerState) -> Arc<CursorFile> {
    let dir = state.config.load().dir.clone();
    let file = CursorFile::new(Arc::clone(&state.fs), Path::new(&dir));
    if !file.load(&state.cursors) {
        tracing::debug!("there are no cursors of an earlier process");
    }
    Arc::new(file)
}

/// Writes the file from time to time, until the server stops.
pub(crate) async fn run(state: Arc<ServerState>, file: Arc<CursorFile>) {
    let mut failing = false;
    loop {
        tokio::time::sleep(PERIOD).await;
        let (state, file) = (Arc::clone(&state), Arc::clone(&file));
        let saved = tokio::task::spawn_blocking(move || file.save(&state.cursors, false)).await;
        match saved {
            Ok(Ok(())) => failing = false,
            Ok(Err(error)) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "the cursors of running scans cannot be kept");
                }
            }
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// Writes the file for the last time, when no connection is left. A disk that hangs is waited for no
/// longer than `patience`.
pub(crate) async fn save(state: &Arc<ServerState>, file: &Arc<CursorFile>, patience: Duration) {
    let (state, file) = (Arc::clone(state), Arc::clone(file));
    let saving = tokio::task::spawn_blocking(move || file.save(&state.cursors, true));
    match tokio::time::timeout(patience, saving).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => tracing::warn!(%error, "the cursors of running scans are lost"),
        Ok(Err(error)) => tracing::error!(%error, "the cursors of running scans are lost"),
        Err(_) => tracing::warn!("the disk did not take the cursors of running scans in time"),
    }
}
