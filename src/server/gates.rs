//! What a request must pass before it runs: one ordered list, each gate reading a flag.

use bytes::Bytes;

use crate::commands::table::{self, Command, Lookup};
use crate::commands::{Error, Flags, Run, ServerState, Session};
use crate::protocol::Request;

/// Bytes of a word that an error text repeats, and of all arguments together, as in Redis.
const SHOWN_BYTES_MAX: usize = 128;

/// A refusal, and the command that it is counted for.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: Error,
    pub(crate) command: Option<&'static Command>,
}

/// Passes `request` through all gates, in Redis's order: known, arity, authenticated, writable.
pub(crate) fn pass(
    state: &ServerState,
    session: &Session,
    request: &Request,
) -> Result<&'static Command, Refusal> {
    let command = known(request).map_err(|error| Refusal { error, command: None })?;
    let refuse = |error| Refusal { error, command: Some(command) };
    arity(command, request).map_err(refuse)?;
    authenticated(session, command).map_err(refuse)?;
    writable(state, command).map_err(refuse)?;
    Ok(command)
}

fn known(request: &Request) -> Result<&'static Command, Error> {
    let mut words = request.args.iter();
    let name: &[u8] = words.next().map(AsRef::as_ref).unwrap_or_default();
    match table::lookup(name, words.next().map(AsRef::as_ref)) {
        Lookup::Found(command) => Ok(command),
        Lookup::Unknown => Err(unknown_command(request)),
        Lookup::UnknownSubcommand(parent) => Err(unknown_subcommand(parent, request)),
    }
}

fn arity(command: &Command, request: &Request) -> Result<(), Error> {
    let has_handler = !matches!(command.spec.run, Run::Container);
    if has_handler && command.accepts(request.args.len()) {
        Ok(())
    } else {
        Err(Error::WrongArity(command.full_name))
    }
}

fn authenticated(session: &Session, command: &Command) -> Result<(), Error> {
    if session.authenticated || command.flags.has(Flags::NO_AUTH) {
        Ok(())
    } else {
        Err(Error::NotAuthenticated)
    }
}

/// After a failed write of the log, or on a full disk, only reads go on; told here, so that no write
/// waits for it.
fn writable(state: &ServerState, command: &Command) -> Result<(), Error> {
    if !command.flags.has(Flags::WRITE) {
        return Ok(());
    }
    // While the directory is opened again the writer tells.
    let Ok(engine) = state.engine() else { return Ok(()) };
    engine.check_writable().map_err(Error::Engine)
}

fn unknown_command(request: &Request) -> Error {
    let mut words = request.args.iter();
    let name = shown(words.next());
    let mut args = String::new();
    for word in words {
        if args.len() >= SHOWN_BYTES_MAX {
            break;
        }
        let room = SHOWN_BYTES_MAX - args.len();
        let text = String::from_utf8_lossy(word.get(..room).unwrap_or(word)).into_owned();
        args.push_str(&format!("'{text}' "));
    }
    Error::UnknownCommand { name, args }
}

fn unknown_subcommand(parent: &Command, request: &Request) -> Error {
    let name = shown(request.args.get(1));
    Error::UnknownSubcommand { container: parent.spec.name.to_uppercase(), name }
}

fn shown(word: Option<&Bytes>) -> String {
    let word = word.map(AsRef::as_ref).unwrap_or_default();
    String::from_utf8_lossy(word.get(..SHOWN_BYTES_MAX).unwrap_or(word)).into_owned()
}
