//! Sockets, sessions, dispatch, the writer task, shutdown.

mod accept;
mod account;
mod ahead;
mod announce;
mod blocking;
mod buffers;
mod calls;
mod chain;
mod check;
mod connection;
mod cron;
mod cursors;
mod dispatch;
mod expiry;
mod group;
mod in_place;
mod limits;
mod listeners;
mod log_thread;
mod logging;
mod long;
mod long_reply;
mod made;
mod manager;
mod message;
mod metrics;
mod output;
mod pidfile;
mod prefetch;
mod prepare;
mod program;
mod pushes;
mod reaper;
mod replies;
mod run;
mod settings;
mod shutdown;
mod stream;
mod tls;
mod waiters;
mod wave;
mod writer;
#[cfg(test)]
mod writer_faults;

pub use check::{CheckOutcome, check};
pub use run::run;
