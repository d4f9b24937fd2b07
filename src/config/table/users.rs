//! Users and what they may do.

use super::access::{Number, integer, text};
use crate::config::kind::{Kind, Setting};

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new("requirepass", text!(requirepass), "", "Password of the default user"),
    Setting::new(
        "aclfile",
        text!(aclfile),
        "",
        "File of the users, for ACL LOAD and ACL SAVE; from `dir` on",
    )
    .immutable(),
    Setting::new(
        "acl-pubsub-default",
        Kind::Choice {
            names: &["allchannels", "resetchannels"],
            get: |settings| usize::from(!settings.acl_pubsub_all_channels),
            set: |settings, index| settings.acl_pubsub_all_channels = index == 0,
        },
        "resetchannels",
        "Channels that a new user may use: all or none",
    ),
    Setting::new(
        "acllog-max-len",
        integer!(acllog_max_len, 0, i64::MAX),
        "128",
        "Entries of ACL LOG",
    ),
];
