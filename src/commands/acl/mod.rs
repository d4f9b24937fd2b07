//! Users and what they may do.
//!
//! - `category`: categories of commands, and how they follow from a command's entry.
//! - `rule`: what can be wrong with a rule, and selectors that stand in several words.
//! - `permissions`: which commands are allowed.
//! - `selector`: commands, keys and channels together.
//! - `user`: passwords and selectors of one user; an immutable value.
//! - `check`: whether a user may make a call.
//! - `users`: all users; a change is a new value and a new version.
//! - `file`: users as lines of a file.
//! - `revoke`: connections that end because of what their users have lost.
//! - `log`: the latest refusals.
//! - `denial`: a refusal on its way to the log.
//! - `family`: `ACL`.

mod category;
mod check;
mod denial;
mod family;
mod file;
mod log;
mod password;
mod permissions;
mod revoke;
mod rule;
mod selector;
mod user;
mod users;

pub use category::{Categories, Category};
pub use check::Denied;
pub(crate) use denial::{Context, Denial};
pub(super) use family::COMMANDS;
pub use log::AclLog;
pub use user::User;
pub use users::Users;

#[cfg(test)]
mod tests;
