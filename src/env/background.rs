//! Into the background (`daemonize`), without a fork: the program is started again with the same
//! arguments and a mark in its environment. The new process leaves session, terminal and standard
//! streams; only then does the first one end.

use std::env;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::setsid;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Set in the environment of the process in the background.
const MARK: &str = "SILTDB_IN_BACKGROUND";
/// What that process says on its standard output once it is on its own.
const AWAY: u8 = b'+';

/// Whether this process was started by [`start`].
#[must_use]
pub fn is_begun() -> bool {
    env::var_os(MARK).is_some()
}

/// Starts this program again with the same arguments and `stdin` to read, and waits until it has
/// called [`detach`].
///
/// # Errors
/// Where it cannot be started, or ends before it has detached; it has told why then, on the standard
/// error of this process.
pub fn start(stdin: Option<&[u8]>) -> io::Result<()> {
    let mut args = env::args_os();
    let mut command = Command::new(env::current_exe()?);
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    let piped = if stdin.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child =
        command.args(args).env(MARK, "1").stdin(piped).stdout(Stdio::piped()).spawn()?;
    if let (Some(mut pipe), Some(text)) = (child.stdin.take(), stdin) {
        // One that has ended before it has read all of it says why below.
        match pipe.write_all(text) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    let mut said = [0];
    let stdout = child.stdout.take();
    match stdout.map(|mut stdout| stdout.read(&mut said)).transpose()? {
        Some(1) if said == [AWAY] => Ok(()),
        _ => Err(io::Error::other(format!("the server in the background: {}", child.wait()?))),
    }
}

/// Leaves the session and its terminal, and has the standard streams lead nowhere. For a process
/// that [`start`] has started, before it writes anything to its standard output.
///
/// # Errors
/// Where the system refuses, or there is no `/dev/null`.
pub fn detach() -> io::Result<()> {
    setsid()?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stderr(&null)?;
    let mut stdout = io::stdout();
    stdout.write_all(&[AWAY])?;
    stdout.flush()?;
    Ok(dup2_stdout(&null)?)
}
