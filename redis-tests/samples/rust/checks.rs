//! Checks that are counted.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How long something that is to come may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How many checks have passed and failed.
#[derive(Default)]
pub(crate) struct Checks {
    passed: u32,
    failed: u32,
}

impl Checks {
    /// Checks that a call has answered what is wanted.
    pub(crate) fn is<T: PartialEq + Debug, E: Debug>(
        &mut self,
        name: &str,
        got: Result<T, E>,
        want: T,
    ) {
        match got {
            Ok(got) if got == want => self.passed += 1,
            got => self.fail(name, &format!("got {got:?}, want {want:?}")),
        }
    }

    /// Checks a condition.
    pub(crate) fn holds(&mut self, name: &str, holds: bool) {
        self.is(name, Ok::<_, ()>(holds), true);
    }

    /// Checks that a call has failed, with this in its text.
    pub(crate) fn fails<T: Debug, E: std::fmt::Display>(
        &mut self,
        name: &str,
        got: Result<T, E>,
        text: &str,
    ) {
        match got {
            Err(error) if error.to_string().contains(text) => self.passed += 1,
            Err(error) => self.fail(name, &format!("got the error '{error}', want '{text}'")),
            Ok(got) => self.fail(name, &format!("got {got:?}, want an error with '{text}'")),
        }
    }

    /// Counts a failure.
    pub(crate) fn fail(&mut self, name: &str, why: &str) {
        self.failed += 1;
        println!("FAILED {name}: {}", why.chars().take(300).collect::<String>());
    }

    /// Prints the counts; whether all has passed.
    pub(crate) fn end(&self) -> bool {
        println!("{} passed, {} failed", self.passed, self.failed);
        self.failed == 0
    }
}

/// Asks until a condition holds; false where it never does.
pub(crate) async fn eventually(mut holds: impl AsyncFnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if holds().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}
