//! The machines that run scripts: one for the writer, and some for those that only read.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::cache::Cache;
use super::runs::Runs;
use crate::commands::connection::REDIS_VERSION;
use crate::commands::function::Known;
use crate::commands::{Error, ServerState, memory_budget};
use crate::script::{Language, Vm};

/// [`REDIS_VERSION`] with a byte for each of its numbers.
const REDIS_VERSION_NUMBER: u32 = 0x0007_0400;
/// Idle machines that are kept for reads.
const READERS_MAX: usize = 4;
/// A machine may take this part of the memory budget, and this many bytes in any case.
const MEMORY_SHARE: u64 = 8;
const MEMORY_MIN: u64 = 32 << 20;

/// Everything about scripts that clients share.
#[derive(Debug, Default)]
pub struct Scripts {
    /// What is known.
    pub cache: Mutex<Cache>,
    /// What runs.
    pub runs: Runs,
    /// `DEBUG SET-DISABLE-DENY-SCRIPTS`: whether scripts may call what they may not otherwise.
    pub allows_all: AtomicBool,
    /// What they run on.
    pub machines: Machines,
    /// What functions run on.
    pub functions: Machines,
    /// The libraries as they were last seen.
    pub known: ArcSwap<Known>,
}

impl Scripts {
    /// What they take.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let bytes = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        Memory {
            writer: bytes(self.machines.writer_bytes()),
            readers: bytes(self.machines.reader_bytes()),
            texts: bytes(self.cache.lock().bytes()),
            functions: bytes(self.functions.writer_bytes() + self.functions.reader_bytes()),
        }
    }

    /// Forgets all scripts, and what they have left in the machines.
    pub fn flush(&self) {
        self.cache.lock().clear();
        self.machines.renew();
    }
}

/// What scripts take in memory, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// The machine of the writer.
    pub writer: u64,
    /// The idle machines for reads.
    pub readers: u64,
    /// What the server knows.
    pub texts: u64,
    /// The machines for functions.
    pub functions: u64,
}

impl Memory {
    /// All of it.
    pub(in crate::commands) fn total(&self) -> u64 {
        self.writer + self.readers + self.texts + self.functions
    }
}

/// A machine, and the number of the flush behind which it was made.
#[derive(Debug)]
struct Machine {
    vm: Vm,
    age: u64,
}

/// All machines.
#[derive(Debug, Default)]
pub struct Machines {
    writer: Mutex<Option<Machine>>,
    readers: Mutex<Vec<Machine>>,
    /// How often all were given up.
    age: AtomicU64,
    writer_bytes: AtomicUsize,
}

impl Machines {
    /// Runs `work` on the machine of the writer: whoever holds the writer may.
    ///
    /// # Errors
    /// Where no machine can be made.
    pub fn writer<T>(
        &self,
        state: &ServerState,
        work: impl FnOnce(&mut Vm) -> T,
    ) -> Result<T, Error> {
        let mut writer = self.writer.lock();
        let age = self.age.load(Ordering::Acquire);
        if writer.as_ref().is_none_or(|machine| machine.age != age) {
            *writer = None;
            *writer = Some(Machine { vm: start(state)?, age });
        }
        let Some(machine) = writer.as_mut() else { return Err(Error::Syntax) };
        let result = work(&mut machine.vm);
        self.writer_bytes.store(machine.vm.used_memory(), Ordering::Relaxed);
        Ok(result)
    }

    /// Runs `work` on a machine that nobody uses.
    ///
    /// # Errors
    /// Where no machine can be made.
    pub fn reader<T>(
        &self,
        state: &ServerState,
        work: impl FnOnce(&mut Vm) -> T,
    ) -> Result<T, Error> {
        let age = self.age.load(Ordering::Acquire);
        let idle = self.readers.lock().pop().filter(|machine| machine.age == age);
        let mut machine = match idle {
            Some(machine) => machine,
            None => Machine { vm: start(state)?, age },
        };
        let result = work(&mut machine.vm);
        let mut readers = self.readers.lock();
        if readers.len() < READERS_MAX {
            readers.push(machine);
        }
        Ok(result)
    }

    /// Gives up all machines; those that run a script go on with it.
    pub fn renew(&self) {
        self.age.fetch_add(1, Ordering::AcqRel);
        self.readers.lock().clear();
        // One that runs is replaced before its next script.
        if let Some(mut writer) = self.writer.try_lock() {
            *writer = None;
        }
        self.writer_bytes.store(0, Ordering::Relaxed);
    }

    /// Collects the garbage of the machine of the writer where it is small and nobody uses it: so what
    /// it takes is told alike, however many scripts have run since its last collection.
    pub fn tidy(&self) {
        let Some(writer) = self.writer.try_lock() else { return };
        let age = self.age.load(Ordering::Acquire);
        if let Some(machine) = writer.as_ref().filter(|machine| machine.age == age) {
            machine.vm.tidy();
            self.writer_bytes.store(machine.vm.used_memory(), Ordering::Relaxed);
        }
    }

    /// Bytes that the values of the machine of the writer take.
    #[must_use]
    pub fn writer_bytes(&self) -> usize {
        self.writer_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that the values of the idle machines for reads take.
    #[must_use]
    pub fn reader_bytes(&self) -> usize {
        self.readers.lock().iter().map(|machine| machine.vm.used_memory()).sum()
    }
}

fn start(state: &ServerState) -> Result<Vm, Error> {
    let bytes = (memory_budget(&state.config.load()) / MEMORY_SHARE).max(MEMORY_MIN);
    let language = Language { version: REDIS_VERSION, number: REDIS_VERSION_NUMBER };
    Vm::new(language, usize::try_from(bytes).unwrap_or(usize::MAX))
        .map_err(|error| Error::Text(format!("ERR no machine for scripts: {error}")))
}
