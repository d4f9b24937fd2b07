//! The table: all settings of Redis 7.4 and our own, in groups.
//!
//! A setting is one entry here and, where it has an effect, one field of [`Settings`].

mod access;
mod data;
mod kept;
mod memory;
mod network;
mod observe;
mod process;
mod tls;
mod types;
mod users;
mod words;

pub(super) use kept::FORGOTTEN;

use super::Settings;
use super::kind::{Setting, Source};

/// A group of settings, with the title that `--help` and the documentation show.
#[derive(Debug, Clone, Copy)]
pub struct SettingGroup {
    /// Its title.
    pub title: &'static str,
    /// Whether they do anything here. The others are checked, kept and shown, so that tools and files
    /// of Redis work; their `docs` say why there is no effect.
    pub has_effect: bool,
    /// Its settings.
    pub settings: &'static [Setting],
}

/// All settings, in the order of the documentation.
pub const GROUPS: &[SettingGroup] = &[
    SettingGroup { title: "Network", has_effect: true, settings: network::SETTINGS },
    SettingGroup { title: "Users", has_effect: true, settings: users::SETTINGS },
    SettingGroup { title: "TLS", has_effect: true, settings: tls::SETTINGS },
    SettingGroup { title: "Durability and data", has_effect: true, settings: data::SETTINGS },
    SettingGroup { title: "Memory", has_effect: true, settings: memory::SETTINGS },
    SettingGroup { title: "Types", has_effect: true, settings: types::SETTINGS },
    SettingGroup {
        title: "Logging and observation",
        has_effect: true,
        settings: observe::SETTINGS,
    },
    SettingGroup { title: "Process", has_effect: true, settings: process::SETTINGS },
    SettingGroup { title: "Accepted without effect", has_effect: false, settings: kept::SETTINGS },
];

/// Directives of Redis that are no settings, and that must not be passed over in silence: without
/// them the server would allow what the file forbids. With the reason.
pub const REFUSED_DIRECTIVES: &[(&str, &str)] =
    &[("loadmodule", "modules are not supported"), ("sentinel", "the server has no Sentinel mode")];

/// The directive that gives a command another name; no setting, since it is for the start only.
pub(super) const RENAME_COMMAND: &str = "rename-command";

/// All settings, in the order of the documentation.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    GROUPS.iter().flat_map(|group| group.settings)
}

/// Whether a setting does anything here.
pub(super) fn has_effect(setting: &Setting) -> bool {
    let found = |group: &&SettingGroup| group.settings.iter().any(|s| s.name == setting.name);
    GROUPS.iter().find(found).is_some_and(|group| group.has_effect)
}

/// The name that is meant by one with a slip of the pen in it, if that is plain.
pub(super) fn meant_by(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    settings()
        .map(|setting| setting.name)
        .find(|known| is_a_slip(name.as_bytes(), known.as_bytes()))
}

/// Whether two names differ by one letter that is wrong, missing or too many, or by two that are
/// exchanged.
fn is_a_slip(name: &[u8], known: &[u8]) -> bool {
    let start = name.iter().zip(known).take_while(|(a, b)| a == b).count();
    let (name, known) = (&name[start..], &known[start..]);
    let end = name.iter().rev().zip(known.iter().rev()).take_while(|(a, b)| a == b).count();
    match (&name[..name.len() - end], &known[..known.len() - end]) {
        ([_] | [], [_] | []) => true,
        ([a, b], [c, d]) => a == d && b == c,
        _ => false,
    }
}

/// The setting with this name or older name, in any case.
#[must_use]
pub fn find(name: &str) -> Option<&'static Setting> {
    settings().find(|setting| setting.is_called(name))
}

impl Default for Settings {
    /// The defaults of the table.
    fn default() -> Self {
        let mut settings = Self::empty();
        for setting in self::settings() {
            let applied = setting.apply(&mut settings, &[setting.default], Source::Command);
            debug_assert_eq!(applied, Ok(()), "the default of {}", setting.name);
        }
        settings
    }
}

#[cfg(test)]
mod tests;
