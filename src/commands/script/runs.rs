//! The scripts that run now: whether one makes the server busy, and how it is ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::commands::{Calls, Error};
use crate::env::Clock;
use crate::script::{Stop, Watch};

const UNKILLABLE: &str = "UNKILLABLE Sorry the script already executed write commands against the \
     dataset. You can either wait the script termination or kill the server in a hard way using the \
     SHUTDOWN NOSAVE command.";
const NOT_BUSY: &str = "NOTBUSY No scripts in execution right now.";
/// What other clients are told while a script keeps the server busy.
const BUSY: &str = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN \
     NOSAVE.";
const BUSY_FUNCTION: &str = "BUSY Redis is busy running a script. You can only call FUNCTION KILL or \
     SHUTDOWN NOSAVE.";

/// A script that runs.
#[derive(Debug)]
pub(in crate::commands) struct OneRun {
    /// When it ends for now, in monotonic nanoseconds; `None` where it may take as long as it likes.
    deadline_ns: Option<u64>,
    clock: Arc<dyn Clock>,
    /// Its id, or the name of the function.
    name: String,
    is_function: bool,
    /// The call.
    words: Vec<Bytes>,
    started_ns: u64,
    wrote: AtomicBool,
    killed: AtomicBool,
    /// Whether the server ends, and it with it.
    ended: AtomicBool,
}

/// What is told of a script that runs.
#[derive(Debug)]
pub(in crate::commands) struct Running {
    /// Its id, or the name of the function.
    pub name: String,
    /// The words of the call.
    pub words: Vec<Bytes>,
    /// For how long it runs, in milliseconds.
    pub elapsed_ms: u64,
}

impl OneRun {
    /// Notes that it has changed something.
    pub(super) fn note_wrote(&self) {
        self.wrote.store(true, Ordering::Relaxed);
    }
}

impl Watch for OneRun {
    fn look(&self) -> Option<Stop> {
        if self.killed.load(Ordering::Relaxed) {
            return Some(Stop::Killed);
        }
        if self.ended.load(Ordering::Relaxed) {
            return Some(Stop::Ending);
        }
        let over = self.deadline_ns.is_some_and(|end| self.clock.monotonic_ns() >= end);
        over.then_some(Stop::Time)
    }
}

/// All that run.
#[derive(Debug, Default)]
pub struct Runs {
    all: Mutex<Vec<Arc<OneRun>>>,
    /// Since when a script keeps the writer, in monotonic nanoseconds; 0 where none does.
    exclusive_since_ns: AtomicU64,
    /// Whether the server ends: then no script goes on.
    ending: AtomicBool,
}

/// A script that runs as long as this lives.
#[derive(Debug)]
pub(in crate::commands) struct Entry<'r> {
    runs: &'r Runs,
    /// The script.
    pub run: Arc<OneRun>,
    exclusive: bool,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.runs.all.lock().retain(|run| !Arc::ptr_eq(run, &self.run));
        if self.exclusive {
            self.runs.exclusive_since_ns.store(0, Ordering::Relaxed);
        }
    }
}

impl Runs {
    /// A script, or a function, begins to make `calls`.
    pub(in crate::commands) fn begin(
        &self,
        clock: &Arc<dyn Clock>,
        calls: &Calls<'_>,
        name: String,
        is_function: bool,
        words: &[Bytes],
    ) -> Entry<'_> {
        let exclusive = calls.holds_writer();
        let run = Arc::new(OneRun {
            deadline_ns: calls.deadline_ns(),
            clock: Arc::clone(clock),
            name,
            is_function,
            words: words.to_vec(),
            started_ns: clock.monotonic_ns(),
            wrote: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            ended: AtomicBool::new(self.ending.load(Ordering::Relaxed)),
        });
        self.all.lock().push(Arc::clone(&run));
        if exclusive {
            self.exclusive_since_ns.store(clock.monotonic_ns().max(1), Ordering::Relaxed);
        }
        Entry { runs: self, run, exclusive }
    }

    /// What a command is told that may not run while a script has kept the writer for longer than
    /// `threshold_ms`.
    pub fn busy(&self, clock: &dyn Clock, threshold_ms: impl Fn() -> u64) -> Option<Error> {
        let since_ns = self.exclusive_since_ns.load(Ordering::Relaxed);
        if since_ns == 0 {
            return None;
        }
        let elapsed_ms = clock.monotonic_ns().saturating_sub(since_ns) / 1_000_000;
        (elapsed_ms >= threshold_ms()).then(|| {
            // The one that runs the longest is the one that keeps the writer, as a rule.
            let is_function = self.all.lock().first().is_some_and(|run| run.is_function);
            busy(is_function)
        })
    }

    /// What runs the longest.
    pub(in crate::commands) fn running(&self, clock: &dyn Clock) -> Option<Running> {
        let all = self.all.lock();
        let run = all.first()?;
        let elapsed_ns = clock.monotonic_ns().saturating_sub(run.started_ns);
        let (name, words) = (run.name.clone(), run.words.clone());
        Some(Running { name, words, elapsed_ms: elapsed_ns / 1_000_000 })
    }

    /// Ends the functions that run, or the scripts that are none, unless one has written.
    ///
    /// # Errors
    /// Where none runs, or one has written.
    pub fn kill(&self, functions: bool) -> Result<(), Error> {
        let all = self.all.lock();
        if all.is_empty() {
            return Err(Error::Text(NOT_BUSY.to_owned()));
        }
        if all.iter().any(|run| run.wrote.load(Ordering::Relaxed)) {
            return Err(Error::Text(UNKILLABLE.to_owned()));
        }
        let mut asked = all.iter().filter(|run| run.is_function == functions).peekable();
        if asked.peek().is_none() {
            return Err(busy(!functions));
        }
        asked.for_each(|run| run.killed.store(true, Ordering::Relaxed));
        Ok(())
    }

    /// Ends all scripts, now and later: the server stops. What they have changed is undone.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
        self.all.lock().iter().for_each(|run| run.ended.store(true, Ordering::Relaxed));
    }
}

fn busy(is_function: bool) -> Error {
    Error::Text(if is_function { BUSY_FUNCTION } else { BUSY }.to_owned())
}
