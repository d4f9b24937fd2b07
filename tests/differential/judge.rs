//! The Redis that judges.

use std::process::Command;
use std::sync::OnceLock;

/// Which one it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judge {
    /// 7.0: older than what SiltDB follows, so what 7.4 changed differs.
    Seven,
    /// 7.4: what SiltDB follows.
    SevenFour,
    /// 8.0: newer, and hardly anything of 7.4 differs. Has the expiry of fields.
    Eight,
}

/// The program: what the environment names, else Debian's.
pub(crate) fn program() -> String {
    std::env::var("SILTDB_DIFF_REDIS").unwrap_or_else(|_| "redis-server".to_owned())
}

/// The Redis to compare with and its version, or why there is none.
pub(crate) fn find() -> Result<(Judge, String), String> {
    let program = program();
    let output = Command::new(&program).arg("--version").output();
    let output = output.map_err(|error| format!("{program} cannot be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match text.split_once("Redis server v=").map(|(_, version)| version) {
        Some(version) if version.starts_with("7.0.") => Ok((Judge::Seven, text)),
        Some(version) if version.starts_with("7.4.") => Ok((Judge::SevenFour, text)),
        Some(version) if version.starts_with("8.0.") => Ok((Judge::Eight, text)),
        _ => Err(format!("{program} is no Redis 7.0, 7.4 or 8.0: {text}")),
    }
}

/// The Redis of this run, which [`find`] has found.
pub(crate) fn judge() -> Judge {
    static JUDGE: OnceLock<Judge> = OnceLock::new();
    *JUDGE.get_or_init(|| find().expect("a Redis to compare with").0)
}
