//! Random commands of all families, right and wrong ones, go to Debian's redis-server 7.0 and to
//! SiltDB, in RESP2 and RESP3, alone and in pipelines; the replies are the same but for what stands
//! in `exceptions.rs`. From time to time all keys are compared.
//!
//! Families of their own have several connections take turns (`conversations.rs`): transactions,
//! scripts, publish and subscribe.
//!
//! Skipped where no redis-server 7.0 is on PATH. `SILTDB_DIFF_REDIS` names another program, of
//! version 7.0, 7.4 or 8.0: beside the newer ones hardly any difference is right, and fields expire.
//! `SILTDB_SERVER` names a SiltDB other than that of the build. `SILTDB_DIFF_STEPS` is the number of calls,
//! `SILTDB_DIFF_SEED` makes another run (each can be repeated, but for times), `SILTDB_DIFF_MAX` is
//! the number of differences after which a run ends (1 unless told).

#![allow(clippy::print_stdout, reason = "differences are told as they are found")]

mod compare;
mod conversations;
mod exceptions;
mod families;
mod generator;
mod judge;
mod pattern;
mod rule;
mod runner;
mod servers;
mod shrink;
mod state;
#[path = "../support/mod.rs"]
mod support;
mod value;
mod vocabulary;

/// The run that is made unless the environment says otherwise.
const SEED: u64 = 1;
/// Calls of a run unless the environment says otherwise.
const STEPS: u64 = 20_000;
/// Turns of several connections unless the environment says otherwise.
const TURNS: u64 = 4_000;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// How many calls a run has, and its seed; `None` where there is nothing to compare with.
fn run_wanted(steps: u64) -> Option<(u64, u64)> {
    match judge::find() {
        Ok((_, version)) => println!("compared with {version}"),
        Err(why) => {
            println!("SKIPPED: {why}");
            return None;
        }
    }
    let steps = from_environment("SILTDB_DIFF_STEPS").unwrap_or(steps);
    let seed = from_environment("SILTDB_DIFF_SEED").unwrap_or(SEED);
    println!("SILTDB_DIFF_SEED={seed} SILTDB_DIFF_STEPS={steps}");
    Some((steps, seed))
}

#[test]
fn transactions_are_those_of_redis() {
    let Some((turns, seed)) = run_wanted(TURNS) else { return };
    assert_eq!(conversations::run(conversations::transactions, false, turns, seed), 0);
}

#[test]
fn scripts_are_those_of_redis() {
    let Some((turns, seed)) = run_wanted(TURNS) else { return };
    assert_eq!(conversations::run(conversations::scripts, false, turns, seed), 0);
}

#[test]
fn messages_are_those_of_redis() {
    let Some((turns, seed)) = run_wanted(TURNS) else { return };
    assert_eq!(conversations::run(conversations::messages, true, turns, seed), 0);
}

#[test]
fn answers_as_redis_does() {
    let Some((steps, seed)) = run_wanted(STEPS) else { return };
    let most = from_environment("SILTDB_DIFF_MAX").unwrap_or(1);
    let mut runner = runner::Runner::new(seed);
    let differences = runner.run(steps, most);
    assert_eq!(differences, 0, "differences; SILTDB_DIFF_SEED={seed}");
}
