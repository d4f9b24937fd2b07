//! What the machines know of the libraries in the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::commands::program::Pace;
use crate::commands::{Calls, Error, ServerState, Session};
use crate::data::{library_digest, stored_libraries};
use crate::engine::{self, Read};
use crate::script::{LoadError, ScriptId, Stop, Vm, Watch};

/// How long a library may take to be loaded.
const LOAD_TIME: Duration = Duration::from_millis(500);

/// How long a connection may load libraries only to see what a function says of itself.
const LOOK_TIME: Duration = Duration::from_millis(2);

/// The libraries as they were last seen.
#[derive(Debug, Default)]
pub struct Known {
    /// What tells this set of libraries from any other.
    digest: Bytes,
    /// Functions by name, in lower case: whether they write nothing.
    functions: HashMap<Vec<u8>, bool>,
    libraries: usize,
}

impl Known {
    /// How many libraries and functions there are.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.libraries, self.functions.len())
    }

    fn of(digest: Bytes, vm: &Vm) -> Self {
        let functions = vm.libraries().values().flat_map(|library| library.functions());
        Self {
            digest,
            functions: functions
                .map(|function| (function.name.to_ascii_lowercase(), function.flags.no_writes))
                .collect(),
            libraries: vm.libraries().len(),
        }
    }
}

/// Whether a function is known, as of the newest state, to write nothing.
pub(super) fn writes_nothing(session: &Session, state: &Arc<ServerState>, name: &[u8]) -> bool {
    let Ok(engine) = state.engine() else { return false };
    let snapshot = engine.snapshot(engine::ReadMode::Resident);
    let Ok(digest) = library_digest(&snapshot) else { return false };
    if state.scripts.known.load().digest != digest {
        // What fails here, or takes too long, is found out on the writer.
        let mut calls = Calls::over_view(state, &snapshot, session.for_program(), Pace::Resident);
        calls.limit_time(LOOK_TIME);
        drop(synced(&mut calls, |_, _| Ok(())));
    }
    let known = state.scripts.known.load();
    known.digest == digest && known.functions.get(&name.to_ascii_lowercase()) == Some(&true)
}

/// Runs `work` on a machine for functions that knows the libraries as `calls` see them.
///
/// # Errors
/// As the reads; where the run has to end.
pub(super) fn synced<T>(
    calls: &mut Calls<'_>,
    work: impl FnOnce(&mut Vm, &mut Calls<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let state = Arc::clone(calls.state());
    let machines = &state.scripts.functions;
    let on_writer = calls.is_on_writer();
    let run = |vm: &mut Vm| {
        bring_up_to_date(vm, calls)?;
        work(vm, calls)
    };
    if on_writer { machines.writer(&state, run)? } else { machines.reader(&state, run)? }
}

/// What a library is loaded under: it ends where the run has to, or after [`LOAD_TIME`].
pub(super) struct Loading {
    state: Arc<ServerState>,
    deadline_ns: u64,
}

impl Loading {
    pub(super) fn new(calls: &Calls<'_>) -> Arc<Self> {
        let state = Arc::clone(calls.state());
        let time_ns = u64::try_from(LOAD_TIME.as_nanos()).unwrap_or(u64::MAX);
        let end_ns = state.clock.monotonic_ns().saturating_add(time_ns);
        let deadline_ns = calls.deadline_ns().map_or(end_ns, |deadline_ns| deadline_ns.min(end_ns));
        Arc::new(Self { state, deadline_ns })
    }
}

impl Watch for Loading {
    fn look(&self) -> Option<Stop> {
        (self.state.clock.monotonic_ns() >= self.deadline_ns).then_some(Stop::Time)
    }
}

/// The error of a library that was not loaded. Where only the run is out of time it has to end.
pub(super) fn load_failed(calls: &mut Calls<'_>, error: LoadError) -> Error {
    match error {
        LoadError::Failed(text) => Error::Text(text),
        LoadError::Stopped(_) if calls.deadline_ns().is_some() => {
            calls.stop_for_time();
            Error::Engine(engine::Error::WouldBlock)
        }
        LoadError::Stopped(_) => {
            Error::Text("ERR Error registering functions: ERR FUNCTION LOAD timeout".to_owned())
        }
    }
}

fn bring_up_to_date(vm: &mut Vm, calls: &mut Calls<'_>) -> Result<(), Error> {
    let digest = calls.look(|read: &dyn Read| library_digest(read))?;
    if *vm.digest() == digest {
        return Ok(());
    }
    let stored = calls.look(|read: &dyn Read| stored_libraries(read))?;
    let ids: HashMap<&Bytes, ScriptId> =
        stored.iter().map(|library| (&library.name, ScriptId::of(&library.code))).collect();
    vm.retain_libraries(|name, library| ids.get(name) == Some(&library.id));
    for library in &stored {
        if vm.libraries().contains_key(&library.name) {
            continue;
        }
        match vm.keep_library(&library.name, &library.code, Loading::new(calls)) {
            Ok(()) => {}
            Err(error @ LoadError::Stopped(_)) => return Err(load_failed(calls, error)),
            Err(LoadError::Failed(error)) => {
                let name = String::from_utf8_lossy(&library.name);
                tracing::error!(%error, %name, "a library of functions cannot be loaded");
            }
        }
    }
    vm.set_digest(digest.clone());
    calls.state().scripts.known.store(Arc::new(Known::of(digest, vm)));
    Ok(())
}
