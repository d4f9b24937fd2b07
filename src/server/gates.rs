//! What a request must pass before it runs: one ordered list, each gate reading a flag.

use bytes::Bytes;

use crate::commands::table::{self, Command, Lookup};
use crate::commands::{ClientFlag, Error, Flags, Run, ServerState, Session};
use crate::protocol::{Request, Version};

/// Bytes of a word that an error text repeats, and of all arguments together, as in Redis.
const SHOWN_BYTES_MAX: usize = 128;

/// A refusal, and the command that it is counted for.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: Error,
    pub(crate) command: Option<&'static Command>,
}

/// Passes `request` through all gates, in Redis's order: known, arity, authenticated, writable, not listening.
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
    listening(session, command).map_err(refuse)?;
    Ok(command)
}

/// The command that `request` names.
pub(crate) fn known(request: &Request) -> Result<&'static Command, Error> {
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

/// A connection that monitors leaves the data alone; one that has subscribed and speaks RESP2 could
/// not tell messages from replies.
fn listening(session: &Session, command: &Command) -> Result<(), Error> {
    let Some(_) = session.pushes else { return Ok(()) };
    let touches = [Flags::WRITE, Flags::READONLY, Flags::MAY_REPLICATE];
    if session.client.has(ClientFlag::MONITOR)
        && touches.into_iter().any(|flag| command.flags.has(flag))
    {
        return Err(Error::Text("ERR Replica can't interact with the keyspace".to_owned()));
    }
    let restricted = session.version == Version::Resp2 && session.is_subscriber();
    if restricted && !command.flags.has(Flags::SUBSCRIBER) {
        return Err(Error::Text(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET \
             are allowed in this context",
            command.full_name
        )));
    }
    Ok(())
}

fn unknown_command(request: &Request) -> Error {
    let mut words = request.args.iter();
    let name = shown_name(words.next());
    let mut args = String::new();
    for word in words {
        if args.len() >= SHOWN_BYTES_MAX {
            break;
        }
        let room = SHOWN_BYTES_MAX - args.len();
        args.push_str(&format!("'{}' ", shown(word, room)));
    }
    Error::UnknownCommand { name, args }
}

fn unknown_subcommand(parent: &Command, request: &Request) -> Error {
    let name = shown_name(request.args.get(1));
    Error::UnknownSubcommand { container: parent.spec.name.to_uppercase(), name }
}

fn shown_name(word: Option<&Bytes>) -> String {
    word.map_or_else(String::new, |word| shown(word, SHOWN_BYTES_MAX))
}

/// At most `room` bytes of `word`, up to its first NUL byte: Redis prints words as texts of C.
fn shown(word: &[u8], room: usize) -> String {
    let word = word.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(word.get(..room).unwrap_or(word)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_repeated_up_to_a_nul_byte() {
        let words = |words: &[&'static [u8]]| Request {
            args: words.iter().map(|word| Bytes::from_static(word)).collect(),
            wire_len: 0,
        };
        let refusal = known(&words(&[b"no\0such", b"a\0b", b"c"])).expect_err("unknown");
        let text = "ERR unknown command 'no', with args beginning with: 'a' 'c' ";
        assert_eq!(refusal.to_string(), text);
        let refusal = known(&words(&[b"config", b"no\0such"])).expect_err("unknown");
        assert_eq!(refusal.to_string(), "ERR unknown subcommand 'no'. Try CONFIG HELP.");
    }
}
