//! Random commands of all families, right and wrong ones, go to Debian's redis-server 7.0 and to
//! SiltDB, in RESP2 and RESP3, alone and in pipelines; the replies are the same but for what stands
//! in `exceptions.rs`. From time to time all keys are compared.
//!
//! Skipped where no redis-server 7.0 is on PATH. `SILTDB_DIFF_STEPS` is the number of calls,
//! `SILTDB_DIFF_SEED` makes another run (each can be repeated, but for times), `SILTDB_DIFF_MAX` is
//! the number of differences after which a run ends (1 unless told).

#![allow(clippy::print_stdout, reason = "differences are told as they are found")]

mod compare;
mod exceptions;
mod families;
mod generator;
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

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn answers_as_redis_does() {
    match servers::redis_version() {
        Ok(version) => println!("compared with {version}"),
        Err(why) => {
            println!("SKIPPED: {why}");
            return;
        }
    }
    let steps = from_environment("SILTDB_DIFF_STEPS").unwrap_or(STEPS);
    let seed = from_environment("SILTDB_DIFF_SEED").unwrap_or(SEED);
    let most = from_environment("SILTDB_DIFF_MAX").unwrap_or(1);
    println!("SILTDB_DIFF_SEED={seed} SILTDB_DIFF_STEPS={steps}");
    let mut runner = runner::Runner::new(seed);
    let differences = runner.run(steps, most);
    assert_eq!(differences, 0, "differences; SILTDB_DIFF_SEED={seed}");
}
