//! This process as the operating system and the allocator see it.

use std::env;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use tikv_jemalloc_ctl::{Access, AsName, Mib, arenas, epoch, stats};

/// Memory of the process, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessMemory {
    /// Allocated by the program.
    pub allocated: u64,
    /// In pages that hold allocations.
    pub active: u64,
    /// Held by the allocator, its own records included.
    pub resident: u64,
    /// Resident set of the process.
    pub rss: u64,
}

/// Unused pages are given back from this part of a bound on.
const UNUSED_PART: u64 = 32;

/// Processor time of the process, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// In the program.
    pub user_us: u64,
    /// In the kernel.
    pub system_us: u64,
}

/// The kernel's unit of time in `/proc` is fixed to a hundredth of a second towards programs.
const CLOCK_TICK_US: u64 = 10_000;

/// Memory of this process now; what cannot be told is 0.
#[must_use]
pub fn memory() -> ProcessMemory {
    // The numbers of the allocator are those of the last epoch.
    let fresh = epoch::advance().is_ok();
    let number = |read: Result<usize, tikv_jemalloc_ctl::Error>| match read {
        Ok(bytes) if fresh => u64::try_from(bytes).unwrap_or(u64::MAX),
        _ => 0,
    };
    ProcessMemory {
        allocated: number(stats::allocated::read()),
        active: number(stats::active::read()),
        resident: number(stats::resident::read()),
        rss: rss_bytes(),
    }
}

/// How far a thread stands back where processors are scarce, beside one of the usual priority that
/// wants one for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// What somebody waits for, but may take long: about a quarter of the processor.
    Heavy,
    /// What nobody waits for: about a tenth.
    Background,
}

/// Set in the environment of a process that does nothing but stand back.
const TRIAL: &str = "SILTDB_TRIES_TO_STAND_BACK";
/// Whether threads must not stand back, since that would be the end of the process.
static STANDS_FAST: AtomicBool = AtomicBool::new(false);

/// Whether this process was started by [`try_standing_back`]: then it has to call [`stand_back`], and
/// to end.
#[must_use]
pub fn is_trial() -> bool {
    env::var_os(TRIAL).is_some()
}

/// Where system calls are filtered, finds out whether a process that stands back is ended for it, as
/// that unit of systemd does with which Debian starts Redis; then no thread of this one does from now
/// on. It takes a process to find out: the program is started again, and calls [`stand_back`].
pub fn try_standing_back() {
    if !status_has("Seccomp:", "2") {
        return;
    }
    let trial = env::current_exe().and_then(|program| {
        let mut trial = Command::new(program);
        trial.env(TRIAL, "1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        trial.status()
    });
    if !trial.is_ok_and(|status| status.success()) {
        tracing::info!("system calls are filtered: threads do not stand back behind others");
        STANDS_FAST.store(true, Ordering::Relaxed);
    }
}

/// Whether `/proc/self/status` has a line with this name and value.
fn status_has(name: &str, value: &str) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    lines.any(|line| line.strip_prefix(name).is_some_and(|found| found.trim() == value))
}

/// Has the calling thread stand back where processors are scarce. Where the system refuses, nothing
/// changes.
pub fn stand_back(standing: Standing) {
    if STANDS_FAST.load(Ordering::Relaxed) {
        return;
    }
    // On Linux the priority is that of a thread, not of the process.
    #[cfg(target_os = "linux")]
    {
        let nice = match standing {
            Standing::Heavy => 5,
            Standing::Background => 10,
        };
        let thread = Some(rustix::thread::gettid());
        if let Err(error) = rustix::process::setpriority_process(thread, nice) {
            tracing::debug!(%error, ?standing, "the thread keeps its priority");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = standing;
}

/// Has the allocator give unused pages back to the operating system now, which it does by itself
/// within about ten seconds. Whether it could be told to.
#[must_use]
pub fn give_memory_back() -> bool {
    purge_arenas().is_ok()
}

/// Has the allocator give unused pages back where the process holds more than `bytes` and a part of it
/// is unused: it would keep them for some seconds, and each of its arenas its own. Whether it did.
pub fn relieve(bytes: u64) -> bool {
    let number = |read: Result<usize, tikv_jemalloc_ctl::Error>| {
        read.ok().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0)
    };
    // Looked at first: the allocator goes through all that it has for its numbers.
    let rss = rss_bytes();
    if (rss != 0 && rss <= bytes) || epoch::advance().is_err() {
        return false;
    }
    let (resident, active) = (number(stats::resident::read()), number(stats::active::read()));
    resident > bytes && resident - active.min(resident) > bytes / UNUSED_PART && give_memory_back()
}

/// An arena gives all of its unused pages back when it is told that none may wait.
fn purge_arenas() -> Result<(), tikv_jemalloc_ctl::Error> {
    let mut decay: Mib<[usize; 3]> = b"arena.0.dirty_decay_ms\0"[..].name().mib()?;
    for arena in 0..arenas::narenas::read()? {
        decay[1] = usize::try_from(arena).unwrap_or(0);
        // An arena that was never used has no decay time.
        let current: Result<isize, _> = decay.read();
        if let Ok(milliseconds) = current {
            decay.write(0_isize)?;
            decay.write(milliseconds)?;
        }
    }
    Ok(())
}

/// Processor time of this process so far; what cannot be told is 0.
#[must_use]
pub fn cpu_time() -> CpuTime {
    cpu_time_in("/proc/self/stat")
}

/// Processor time of the first thread so far, which runs connections; what cannot be told is 0.
#[must_use]
pub fn main_thread_cpu_time() -> CpuTime {
    cpu_time_in(&format!("/proc/self/task/{}/stat", std::process::id()))
}

fn cpu_time_in(path: &str) -> CpuTime {
    let stat = std::fs::read_to_string(path).unwrap_or_default();
    // The second field, the name in brackets, may hold blanks.
    let behind_name = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
    let mut fields = behind_name.split_ascii_whitespace().skip(11);
    let mut next_us =
        || fields.next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * CLOCK_TICK_US;
    CpuTime { user_us: next_us(), system_us: next_us() }
}

/// Name, release and architecture of the operating system.
#[must_use]
pub fn operating_system() -> String {
    let name = rustix::system::uname();
    let parts = [name.sysname(), name.release(), name.machine()];
    parts.map(|part| part.to_string_lossy().into_owned()).join(" ")
}

/// Path of the running program; empty where it cannot be told.
#[must_use]
pub fn executable() -> String {
    std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default()
}

/// The second field of `/proc/self/statm`, which counts pages, in bytes; 0 where it cannot be told.
fn rss_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * u64::try_from(rustix::param::page_size()).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_a_system() {
        assert!(memory().rss > 100_000);
        assert!(give_memory_back());
        assert!(operating_system().contains(' '));
        assert!(!executable().is_empty());
    }
}
