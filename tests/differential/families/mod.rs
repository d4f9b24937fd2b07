//! What each family of commands can send.

mod geo;
mod hashes;
mod keys;
mod lists;
mod server;
mod sets;
mod sorted_sets;
mod streams;
mod strings;

use super::rule::Rule;

/// A family with how often it is chosen.
pub(crate) const FAMILIES: &[(u32, &[Rule])] = &[
    (16, strings::RULES),
    (8, strings::BITS),
    (4, strings::HYPERLOGLOGS),
    (14, hashes::RULES),
    (12, sets::RULES),
    (18, sorted_sets::RULES),
    (6, geo::RULES),
    (16, lists::RULES),
    (18, streams::RULES),
    (16, keys::RULES),
    (1, server::RULES),
];

/// Families of commands that Redis has since 7.4.
pub(crate) const SINCE_7_4: &[(u32, &[Rule])] = &[(14, hashes::EXPIRY)];
