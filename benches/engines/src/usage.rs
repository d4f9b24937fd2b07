//! What the process has used so far, as Linux counts it.

use std::path::Path;
use std::time::Instant;

/// Ticks of `/proc/self/stat` per second.
const TICKS: f64 = 100.0;

/// Used up to one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    at: Instant,
    cpu_s: f64,
    written_bytes: f64,
}

/// Used between two moments.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    pub(crate) seconds: f64,
    /// By all threads.
    pub(crate) cpu_s: f64,
    /// Handed to the file system for the disk.
    pub(crate) written_bytes: f64,
}

impl Usage {
    pub(crate) fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // Behind the name, which may have spaces: fields 14 and 15 are user and system time.
        let fields: Vec<&str> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|it| it.parse().ok()).unwrap_or(0.0);
        Self {
            at: Instant::now(),
            cpu_s: (ticks(11) + ticks(12)) / TICKS,
            written_bytes: field("/proc/self/io", "write_bytes:"),
        }
    }

    pub(crate) fn until_now(&self) -> Spent {
        let now = Self::now();
        Spent {
            seconds: (now.at - self.at).as_secs_f64(),
            cpu_s: now.cpu_s - self.cpu_s,
            written_bytes: now.written_bytes - self.written_bytes,
        }
    }
}

/// Resident memory at its highest, in bytes.
pub(crate) fn resident_peak_bytes() -> f64 {
    field("/proc/self/status", "VmHWM:") * 1024.0
}

/// Bytes on disk of all files below `dir`, as `du` counts them.
pub(crate) fn disk_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let of_entry = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(it) if it.is_dir() => disk_bytes(&entry.path()),
        Ok(it) => it.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(of_entry).sum()
}

fn field(path: &str, name: &str) -> f64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0.0)
}
