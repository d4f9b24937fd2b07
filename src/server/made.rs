//! What a call of a group makes in its transaction, before that is committed.

use super::group::Call;
use crate::commands::{Answer, Error, Flags, Prepared, Run};
use crate::data::{Context, Edit, EditOutcome, Event, Modified, Ready};
use crate::engine::{self, Changes, ReadMode, Txn, Writer};
use crate::protocol::Reply;

/// Keys that a transaction may write on the writer: one that writes more runs on a thread of its own.
pub(super) const WRITES_IN_PLACE: usize = 4096;

/// What a call has made.
pub(super) struct Made {
    pub(super) reply: Reply,
    pub(super) changes: Changes,
    pub(super) outcome: EditOutcome,
    pub(super) ready: Vec<Ready>,
    pub(super) events: Vec<Event>,
    pub(super) modified: Vec<Modified>,
}

/// Why nothing was made.
pub(super) enum Failed {
    /// It takes longer than others may have to wait: it is to be run on a thread of its own.
    TakesLong,
    /// It failed.
    With(Error),
}

impl<E: Into<Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::With(error.into())
    }
}

/// Begins the transactions of the calls of a group on the writer, of which `context` is that of the
/// first. `notes` asks for what others may wait for.
pub(super) fn begin_run<'w>(
    writer: &'w mut Writer,
    context: Context<'w>,
    notes: bool,
) -> engine::Result<Edit<'w>> {
    let mut edit = Edit::new(writer.begin_run()?.with_writes_max(WRITES_IN_PLACE), context)?;
    if notes {
        edit.note_ready();
    }
    Ok(edit)
}

/// Whether the writer takes a call, whose mode is `mode`. What may wait for the disk does not run there.
pub(super) fn check_begin(edit: &Edit<'_>, call: &Call, mode: ReadMode) -> Result<(), Failed> {
    match call.command.spec.run {
        // A read that would wait goes back to its connection, and where nothing can be written it reads
        // what is published.
        Run::Read(_) => edit.check_begin(false).map_err(|_| engine::Error::WouldBlock)?,
        _ if mode == ReadMode::Blocking => return Err(Failed::TakesLong),
        _ => edit.check_begin(call.command.flags.has(Flags::FREES))?,
    }
    Ok(())
}

/// Runs a write, or a read among writes, in a transaction of its own. `notes` asks for what others may
/// wait for.
pub(super) fn make(
    txn: Txn<'_>,
    context: Context<'_>,
    call: &Call,
    answer: Answer<'_>,
    notes: bool,
) -> Result<Made, Failed> {
    let mut edit = Edit::new(txn, context)?;
    if notes {
        edit.note_ready();
    }
    let reply = attempt(&mut edit, call, answer)?;
    let (ready, events) = (edit.take_ready(), edit.take_events());
    let modified = edit.take_modified();
    let (changes, outcome) = edit.finish()?;
    Ok(Made { reply, changes, outcome, ready, events, modified })
}

/// Runs the handler of a call in its transaction, and says what takes long.
pub(super) fn attempt(
    edit: &mut Edit<'_>,
    call: &Call,
    answer: Answer<'_>,
) -> Result<Reply, Failed> {
    // A read that others cannot wait for goes back to its connection.
    let writes = !matches!(call.command.spec.run, Run::Read(_));
    match run_in(edit, call, answer, call.prepared.as_deref()) {
        Ok(reply) => Ok(reply),
        Err(Error::Engine(engine::Error::WouldBlock)) if writes && edit.is_exhausted() => {
            Err(Failed::TakesLong)
        }
        Err(Error::TooLong(_)) if writes => Err(Failed::TakesLong),
        Err(error) => Err(error.into()),
    }
}

/// Runs the handler of a read or a write in a transaction.
pub(crate) fn run_in(
    edit: &mut Edit<'_>,
    call: &Call,
    answer: Answer<'_>,
    prepared: Option<&Prepared>,
) -> Result<Reply, Error> {
    let mut args = call.args(answer).prepared(prepared);
    match call.command.spec.run {
        Run::Write(handler) => handler(edit, &mut args),
        Run::Read(handler) => edit.read(|view| handler(view, &mut args))?,
        // Whether it waits is told by the attempt of the writer.
        Run::Blocking(handler) | Run::ReadOrBlock(_, handler) => {
            handler(edit, &mut args).map(|_| Reply::Null)
        }
        Run::Session(_) | Run::Server(_) | Run::Program(_) | Run::Container => {
            unreachable!("only reads and writes are sent to the writer")
        }
    }
}
