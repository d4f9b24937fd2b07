//! The service manager, which is told how far the server is (`supervised`).

use std::env;

use sd_notify::NotifyState;

use crate::config::{Settings, Supervision};

/// Names the socket on which the service manager listens, see `sd_notify(3)`.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manager {
    /// Nobody.
    None,
    /// systemd, or who speaks as it does.
    Systemd,
}

impl Manager {
    /// Whom the settings and the environment name.
    pub(crate) fn of(settings: &Settings) -> Self {
        Self::among(settings.supervised, env::var_os(SOCKET).is_some())
    }

    fn among(supervised: Supervision, listens: bool) -> Self {
        match supervised {
            Supervision::Systemd | Supervision::Auto if listens => Self::Systemd,
            _ => Self::None,
        }
    }

    /// As `process_supervised` of `INFO` has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "no",
            Self::Systemd => "systemd",
        }
    }

    /// The server begins. What was asked for and cannot be is logged.
    pub(crate) fn starting(self, settings: &Settings) {
        match (settings.supervised, self) {
            (Supervision::Systemd, Self::None) => tracing::warn!(
                "supervised systemd: NOTIFY_SOCKET is not set, so nobody is told when the server is \
                 ready; a unit of systemd has Type=notify"
            ),
            (Supervision::Upstart, _) => tracing::warn!(
                "supervised upstart has no effect: the server does not stop itself for Upstart to \
                 let it go on"
            ),
            (_, Self::Systemd) => {
                tracing::info!("supervised by systemd, which is told when the server is ready");
            }
            _ => {}
        }
        self.tell(&[NotifyState::Status("Opening the data directory")]);
    }

    /// Connections are accepted.
    pub(crate) fn ready(self) {
        self.tell(&[NotifyState::Status("Ready to accept connections"), NotifyState::Ready]);
    }

    /// The server goes to its end.
    pub(crate) fn stopping(self) {
        self.tell(&[NotifyState::Status("Shutting down"), NotifyState::Stopping]);
    }

    fn tell(self, states: &[NotifyState<'_>]) {
        if self == Self::None {
            return;
        }
        if let Err(error) = sd_notify::notify(states) {
            tracing::warn!(%error, "the service manager could not be told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_is_told() {
        use Supervision::{Auto, No, Systemd, Upstart};
        for (supervised, listens, name) in [
            (No, true, "no"),
            (Upstart, true, "no"),
            (Auto, true, "systemd"),
            (Auto, false, "no"),
            (Systemd, true, "systemd"),
            (Systemd, false, "no"),
        ] {
            assert_eq!(Manager::among(supervised, listens).name(), name, "{supervised:?}");
        }
    }
}
