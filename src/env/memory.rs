//! How much memory there is, and how much of it this process may use.

/// Bytes that the host has.
#[must_use]
pub fn system_memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit.max(1)))
}

/// Bytes that this process may use: the limit of its control group (v2 or v1), at most what the
/// host has.
#[must_use]
pub fn memory_limit_bytes() -> u64 {
    let groups = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limits = groups.iter().filter_map(|path| number(path));
    limits.fold(system_memory_bytes(), u64::min)
}

fn number(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_part_of_what_there_is() {
        assert!(memory_limit_bytes() > 0);
        assert!(memory_limit_bytes() <= system_memory_bytes());
        assert!(system_memory_bytes() > crate::env::process::memory().rss);
    }
}
