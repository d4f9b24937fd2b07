//! The `siltdb` binary: parse arguments, load the configuration, run the server.

use std::process::ExitCode;

use siltdb::config::{self, CliError};
use tikv_jemallocator::Jemalloc;

/// Returns memory to the system in the background, and tells how much it holds (`INFO memory`).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let parsed = match config::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(CliError::Usage(error)) => error.exit(),
        Err(error) => {
            eprintln!("siltdb: {error}");
            return ExitCode::FAILURE;
        }
    };
    match siltdb::server::run(parsed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("siltdb: {error}");
            ExitCode::FAILURE
        }
    }
}
