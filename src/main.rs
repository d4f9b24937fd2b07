//! The `siltdb` binary: parse arguments, load the configuration, run the server.

use std::process::ExitCode;

use siltdb::config::{self, Action, CliError, Parsed};
use siltdb::env::process::{self, Standing};
use siltdb::server::CheckOutcome;
use tikv_jemallocator::Jemalloc;

/// Returns memory to the system in the background, and tells how much it holds (`INFO memory`).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    if process::is_trial() {
        process::stand_back(Standing::Background);
        return ExitCode::SUCCESS;
    }
    let parsed = match config::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        // A text that was asked for.
        Err(CliError::Usage(error)) if !error.use_stderr() => error.exit(),
        Err(error) => {
            match error {
                CliError::Usage(error) => eprint!("{}", error.render().ansi()),
                error => eprintln!("siltdb: {error}"),
            }
            let checks = std::env::args_os().nth(1).is_some_and(|word| word == "check");
            return ExitCode::from(if checks { 2 } else { 1 });
        }
    };
    if parsed.action == Action::Check {
        return check(&parsed);
    }
    match siltdb::server::run(parsed) {
        Ok(()) => ExitCode::SUCCESS,
        // It has been told.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Exit status: 0 sound, 1 damaged, 2 not opened, or not told.
fn check(parsed: &Parsed) -> ExitCode {
    let settings = parsed.config.load_full();
    match siltdb::server::check(&settings, &mut std::io::stdout().lock()) {
        Ok(CheckOutcome::Sound) => ExitCode::SUCCESS,
        Ok(CheckOutcome::Damaged) => ExitCode::from(1),
        Ok(CheckOutcome::NotOpened) => ExitCode::from(2),
        Err(error) => {
            eprintln!("siltdb: the report cannot be written: {error}");
            ExitCode::from(2)
        }
    }
}
