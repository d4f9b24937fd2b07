//! The part of writes that needs no transaction, on the blocking pool: everybody waits for the writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::group::{Call, Group};
use crate::commands::{Answer, Change, Control, Prepare, Prepared, ServerState};
use crate::data::Edit;
use crate::engine::{ReadMode, Txn};

/// Does for the calls of a group what can be done before their transactions. What cannot is left to
/// these.
pub(super) async fn prepare(state: &Arc<ServerState>, group: &mut Group) {
    let db = group.db;
    for call in &mut group.calls {
        if let Some(prepare) = work(call)
            && let Some(first) = reserve(state, db).await
        {
            let started_ns = state.clock.monotonic_ns();
            call.prepared = run(state, db, call, prepare, first).await.map(Box::new);
            call.spent_ns += state.clock.monotonic_ns() - started_ns;
        }
    }
}

/// What can be done for a call before its transaction, where it is worth it.
pub(super) fn work(call: &Call) -> Option<Prepare> {
    call.command.spec.prepare.filter(|prepare| (prepare.is_worth)(&call.request.args))
}

/// Has the writer reserve generations; the first of them.
async fn reserve(state: &ServerState, db: u16) -> Option<u64> {
    let first = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&first);
    let run = move |edit: &mut Edit<'_>| {
        told.store(edit.reserve_generations(), Ordering::Release);
        Ok(())
    };
    let change = Change { db, mode: ReadMode::Resident, run: Arc::new(run) };
    state.ask(|done| Control::Change(change, done)).await.ok()?;
    Some(first.load(Ordering::Acquire))
}

async fn run(
    state: &Arc<ServerState>,
    db: u16,
    call: &Call,
    prepare: Prepare,
    first: u64,
) -> Option<Prepared> {
    let (shared, words) = (Arc::clone(state), call.request.args.clone());
    let skip = call.command.name_words;
    let ran = tokio::task::spawn_blocking(move || {
        let snapshot = shared.engine().ok()?.snapshot(ReadMode::Blocking);
        let txn = Txn::new(&snapshot, snapshot.seq() + 1);
        let edit = Edit::new(txn, shared.context(db, false)).ok()?;
        let answer = Answer::gathered(&shared.memory);
        let mut args = crate::commands::Args::new(&words, skip).answering(answer);
        let done = (prepare.run)(edit, &mut args, first)?;
        Prepared::new(done, &shared.memory)
    });
    match ran.await {
        Ok(prepared) => prepared,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
