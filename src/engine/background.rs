//! The background: which work is due, and the threads that do it.
//!
//! One thread flushes, prepares and marks the log, trims rows and removes files; the others compact,
//! so that a long compaction never keeps a flush waiting. Without threads [`super::Engine::step`]
//! does all of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::MutexGuard;

use super::compaction::{self, Choice};
use super::shared::{Shared, State};
use super::space::{self, Cause};
use super::tree::Sealed;
use super::version::Version;
use super::wal::LogPosition;
use super::{Error, Result, SeqNo, admission, flush, log_mark};
use crate::env::process::{Standing, stand_back};

/// How often a thread looks for work that nobody announces: files and memtables that the last
/// reader let go, records that expired.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long compaction rests after a failure (a full disk, say).
const REST: Duration = Duration::from_secs(5);
/// How long a flush rests that found the disk full.
const FLUSH_REST: Duration = Duration::from_secs(1);

/// Which work a thread takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Flush, log segments and mark, removal of files.
    Flush,
    /// Compaction.
    Compact,
    /// Everything.
    All,
}

/// One unit of background work, noted as running in the [`State`].
pub(super) enum Work {
    Flush(Arc<Sealed>),
    PrepareLogSegment,
    MarkLog(LogPosition),
    Sweep(Vec<Arc<Sealed>>),
    TrimRows { flushed: SeqNo },
    MarkDead,
    Compact { job: u64, version: Arc<Version>, choice: Choice },
}

impl Work {
    /// What kind of work it is.
    fn name(&self) -> &'static str {
        match self {
            Self::Flush(_) => "flush",
            Self::PrepareLogSegment => "prepare",
            Self::MarkLog(_) => "mark",
            Self::Sweep(_) => "sweep",
            Self::TrimRows { .. } => "trim",
            Self::MarkDead => "mark-dead",
            Self::Compact { .. } => "compact",
        }
    }
}

/// The most urgent work for `role`, noted as running. The caller passes it to [`run`].
pub(super) fn choose(shared: &Shared, state: &mut State, role: Role) -> Option<Work> {
    // What nobody reads any more takes the memory that the memtable behind it needs.
    let retired: u64 = state.retired.iter().map(|sealed| sealed.memtable.bytes()).sum();
    if retired > shared.memtable_bytes.load(Ordering::Relaxed) / 2
        && let Some(sweep) = begin_sweep(state)
    {
        return Some(sweep);
    }
    if role != Role::Compact {
        seal_for_waste(shared, state);
        if let Some(sealed) = flush::choose(shared, state) {
            state.flush_running = true;
            return Some(Work::Flush(sealed));
        }
        if shared.tree().rows.is_over() {
            return Some(Work::TrimRows { flushed: state.flushed });
        }
        // While writes are refused nobody needs a segment, and its space may be needed more.
        if shared.space.check().is_ok() && std::mem::take(&mut state.prepare_log_segment) {
            return Some(Work::PrepareLogSegment);
        }
        if let Some(at) = log_mark::choose(shared, state) {
            return Some(Work::MarkLog(at));
        }
        if let Some(sweep) = begin_sweep(state) {
            return Some(sweep);
        }
        if !state.sweep_running && !shared.obsolete.is_empty() {
            state.sweep_running = true;
            return Some(Work::Sweep(Vec::new()));
        }
    }
    if role == Role::Flush {
        return None;
    }
    // What runs already may leave dead records behind, for the view of which they are alive; and what is
    // not in a table yet is not found.
    if state.look_for_dead && state.compactions.count() == 0 && shared.tree().sealed.is_empty() {
        state.look_for_dead = false;
        return Some(Work::MarkDead);
    }
    let version = shared.tree().version.clone();
    let now_ms = shared.clock.unix_ms();
    let choice = compaction::choose(&version, &shared.options, &state.compactions, now_ms)
        .or_else(|| {
            let pays = |records, tombstones| shared.tree().waste.pays_for(records, tombstones);
            compaction::level0_for_waste(&version, &shared.options, &state.compactions, pays)
                .inspect(|_| shared.tree().waste.clear())
        })
        .or_else(|| {
            let is_idle = shared.is_idle.load(Ordering::Relaxed);
            let choose = compaction::level0_at_leisure;
            let may_write = is_idle && shared.space.check().is_ok();
            may_write.then(|| choose(&version, &shared.options, &state.compactions)).flatten()
        })?;
    Some(begin_compaction(state, version, choice))
}

/// Seals the active memtable where its tombstones have cost walks more than a flush costs, and level 0
/// has a place for it.
fn seal_for_waste(shared: &Shared, state: &mut State) {
    let tree = shared.tree();
    let active = &tree.active;
    let is_level0_full = tree
        .version
        .levels
        .first()
        .is_some_and(|level| level.tables.len() >= shared.options.l0_trigger);
    if tree.sealed.is_empty()
        && !is_level0_full
        && tree.waste.pays_for(active.versions_max(), active.tombstones())
        && shared.space.check().is_ok()
    {
        tree.waste.clear();
        shared.request_seal(state);
    }
}

pub(super) fn begin_compaction(state: &mut State, version: Arc<Version>, choice: Choice) -> Work {
    Work::Compact { job: state.compactions.begin(&choice), version, choice }
}

/// Lets go of memtables, if any are to go.
fn begin_sweep(state: &mut State) -> Option<Work> {
    let unused = take_unused(state);
    if unused.is_empty() {
        return None;
    }
    state.sweep_running = true;
    Some(Work::Sweep(unused))
}

/// Memtables that were flushed and that no reader holds any more.
fn take_unused(state: &mut State) -> Vec<Arc<Sealed>> {
    let is_used = |sealed: &Arc<Sealed>| {
        Arc::strong_count(sealed) > 1 || Arc::strong_count(&sealed.memtable) > 1
    };
    let (used, unused) = state.retired.drain(..).partition(is_used);
    state.retired = used;
    unused
}

/// Does `work` and notes its end.
pub(super) fn run(shared: &Shared, mut work: Work) -> Result<()> {
    let result = match &mut work {
        Work::Flush(sealed) => flush::run(shared, sealed),
        Work::PrepareLogSegment => shared.segments.prepare_next(&shared.stop),
        Work::MarkLog(at) => log_mark::run(shared, *at),
        Work::Sweep(memtables) => {
            memtables.clear();
            sweep(shared)
        }
        Work::TrimRows { flushed } => {
            shared.tree().rows.trim(*flushed);
            Ok(())
        }
        Work::MarkDead => compaction::mark_dead(shared),
        Work::Compact { version, choice, .. } => compaction::run(shared, version, choice),
    };
    if let Work::Flush(_) = &work {
        space::note(shared, Cause::Flush, &result);
        if let Err(error) = &result {
            shared.poison_unless_undone(error);
        }
    }
    let mut state = shared.state.lock();
    match &work {
        Work::Flush(_) => {
            state.flush_running = false;
            state.flush_failure = result.as_ref().err().cloned();
        }
        Work::PrepareLogSegment | Work::MarkLog(_) | Work::TrimRows { .. } | Work::MarkDead => {}
        Work::Sweep(_) => state.sweep_running = false,
        Work::Compact { job, choice, .. } => {
            state.compactions.end(*job);
            if let Err(error) = &result {
                note_failure(shared, &mut state, choice, error);
            }
        }
    }
    note_result(&mut state, work.name(), &result);
    shared.wake(&state);
    drop(state);
    // Dropping a version or a memtable can take long; no lock is held here.
    drop(work);
    result
}

/// Keeps the newest failure until the same kind of work succeeds.
fn note_result(state: &mut State, name: &'static str, result: &Result<()>) {
    match result {
        Err(Error::Closed) => {}
        Err(error) => {
            let failed_before = state.background_error.as_ref().is_some_and(|(it, _)| *it == name);
            if !(failed_before && matches!(error, Error::NoSpace(_))) {
                tracing::error!(%error, "background work failed");
            }
            state.background_error = Some((name, error.to_string()));
        }
        Ok(()) => {
            state.background_error.take_if(|(failed, _)| *failed == name);
        }
    }
}

/// A damaged input is left alone from now on; other failures may pass.
fn note_failure(shared: &Shared, state: &mut State, choice: &Choice, error: &Error) {
    match error {
        Error::Closed => return,
        Error::Corruption { path, .. } => {
            let is_damaged = |handle: &super::version::Handle| handle.table.path() == path;
            let mut damaged: Vec<u64> = choice
                .inputs
                .iter()
                .filter(|(_, handle)| is_damaged(handle))
                .map(|(_, handle)| handle.id())
                .collect();
            if damaged.is_empty() {
                damaged = choice.inputs.iter().map(|(_, handle)| handle.id()).collect();
            }
            tracing::error!(
                %error,
                "a damaged table and all that it overlaps are left out of compaction, so writes \
                 get slower and space is not given back; restore the data directory from a backup"
            );
            damaged.into_iter().for_each(|id| state.compactions.avoid(id, error));
        }
        _ => {}
    }
    shared.counters.compactions_failed.fetch_add(1, Ordering::Relaxed);
}

/// Removes the files of tables that no version names.
fn sweep(shared: &Shared) -> Result<()> {
    let mut result = Ok(());
    for id in shared.obsolete.take() {
        let path = shared.table_path(id);
        match shared.fs.remove(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                result = Err(Error::io("remove", &path)(error));
            }
            _ => {}
        }
    }
    result
}

/// Starts `threads` background threads.
pub(super) fn start(shared: &Arc<Shared>, threads: usize) -> Result<()> {
    let mut started = shared.threads.lock();
    for number in 0..threads {
        let role = match (threads, number) {
            (1, _) => Role::All,
            (_, 0) => Role::Flush,
            _ => Role::Compact,
        };
        let name = if role == Role::Compact { format!("compact-{number}") } else { "flush".into() };
        let shared = shared.clone();
        let dir = shared.options.dir.clone();
        let thread = std::thread::Builder::new().name(name).spawn(move || work(&shared, role));
        started.push(thread.map_err(Error::io("start a thread for", &dir))?);
    }
    Ok(())
}

/// Ends writes when a background thread panics: without it memory would only grow.
struct PanicGuard<'a>(&'a Shared);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poison(&Error::Poisoned("a background thread panicked".into()));
        }
    }
}

fn work(shared: &Shared, role: Role) {
    let _guard = PanicGuard(shared);
    // Where it falls behind for that, writes slow down until it gets its turn.
    stand_back(Standing::Background);
    let mut state = shared.state.lock();
    while !shared.is_stopping() {
        if role != Role::Compact {
            MutexGuard::unlocked(&mut state, || space::look(shared));
        }
        let Some(work) = choose(shared, &mut state, role) else {
            shared.work.wait_for(&mut state, LOOK_EVERY);
            continue;
        };
        let is_optional = matches!(work, Work::Compact { .. } | Work::MarkDead | Work::Sweep(_));
        let is_flush = matches!(work, Work::Flush(_));
        let result = MutexGuard::unlocked(&mut state, || run(shared, work));
        if result.is_err() && is_optional {
            rest(shared, &mut state, REST);
        } else if result.is_err() && shared.check_poison().is_err() {
            // A flush that failed for good is not tried again: what it left is unknown.
            shared.stopped.wait_while(&mut state, |_| !shared.is_stopping());
        } else if result.is_err() && is_flush {
            rest(shared, &mut state, FLUSH_REST);
        }
    }
}

fn rest(shared: &Shared, state: &mut MutexGuard<'_, State>, time: Duration) {
    shared.stopped.wait_while_for(state, |_| !shared.is_stopping(), time);
}

/// Stops the background threads and waits for them.
pub(super) fn stop(shared: &Shared) {
    shared.stop.store(true, Ordering::Release);
    {
        let state = shared.state.lock();
        shared.wake(&state);
        shared.stopped.notify_all();
    }
    let threads = std::mem::take(&mut *shared.threads.lock());
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a background thread panicked");
        }
    }
}

impl Shared {
    /// Holds a compaction back that has just read `bytes`, while the tree is in shape and others have
    /// something to do. The further it is out of shape, the shorter.
    pub(super) fn pause_compaction(&self, bytes: u64) {
        let rate = self.options.compaction_rate;
        let is_idle = self.is_idle.load(Ordering::Relaxed);
        if rate == 0 || is_idle || self.options.background_threads == 0 {
            return;
        }
        let urgency = admission::urgency(self);
        if urgency >= 1.0 {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "a pause needs no more digits")]
        let pause = Duration::from_secs_f64(bytes as f64 / rate as f64 * (1.0 - urgency));
        let mut state = self.state.lock();
        self.stopped.wait_while_for(&mut state, |_| !self.is_stopping(), pause);
    }
}
