//! What a request must pass before it runs: one ordered list, each gate reading a flag.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::acl::{Denied, User};
use super::table::{self, Command, Lookup};
use super::{ClientFlag, Error, Flags, Run, ServerState, Session};
use crate::protocol::Version;

/// Bytes of a word that an error text repeats, and of all arguments together, as in Redis.
const SHOWN_BYTES_MAX: usize = 128;

/// A refusal, and the command that it is counted for.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: Error,
    pub(crate) command: Option<&'static Command>,
    /// What the user may not do, where that is why.
    pub(crate) denied: Option<Denied>,
}

/// Passes the call of these words through all gates, in Redis's order: known, arity, authenticated,
/// allowed in a transaction, allowed to the user, writable, not listening, not kept off by a script.
pub(crate) fn pass(
    state: &ServerState,
    session: &Session,
    words: &[Bytes],
) -> Result<&'static Command, Refusal> {
    let unknown = |error| Refusal { error, command: None, denied: None };
    let command = known(words).map_err(unknown)?;
    let refuse = |error| Refusal { error, command: Some(command), denied: None };
    arity(command, words).map_err(refuse)?;
    authenticated(state, session, command).map_err(refuse)?;
    queueable(session, command).map_err(refuse)?;
    allowed(session, command, words)?;
    write_possible(state, command).map_err(refuse)?;
    listening(session, command).map_err(refuse)?;
    not_busy(state, command).map_err(refuse)?;
    Ok(command)
}

/// As [`pass`], directly behind a call of the words `words_before` that has passed: a call of the same
/// command is only asked what its other words decide.
pub(crate) fn pass_behind(
    state: &ServerState,
    session: &Session,
    words: &[Bytes],
    (command, words_before): (&'static Command, &[Bytes]),
) -> Result<&'static Command, Refusal> {
    let is_same = words.first() == words_before.first() && command.is_alone();
    if !is_same {
        return pass(state, session, words);
    }
    let refuse = |error| Refusal { error, command: Some(command), denied: None };
    arity(command, words).map_err(refuse)?;
    allowed(session, command, words)?;
    Ok(command)
}

/// Whether the user may make the call.
fn allowed(session: &Session, command: &'static Command, words: &[Bytes]) -> Result<(), Refusal> {
    let user = session.user();
    user.check(command, words).map_err(|denied| Refusal {
        error: Error::quoting("NOPERM {}", &[&denied.text(user, command)]),
        command: Some(command),
        denied: Some(denied),
    })
}

/// While a script keeps the server busy only what ends it goes on.
fn not_busy(state: &ServerState, command: &Command) -> Result<(), Error> {
    if command.flags.has(Flags::ALLOW_BUSY) {
        return Ok(());
    }
    let threshold_ms = || state.config.load().busy_reply_threshold;
    state.scripts.runs.busy(&*state.clock, threshold_ms).map_or(Ok(()), Err)
}

/// Passes a call that a script makes: known, arity, allowed in scripts, allowed to the user, allowed
/// in this one (`may_write`), writable.
pub(crate) fn pass_in_script(
    state: &ServerState,
    user: &User,
    words: &[Bytes],
    may_write: bool,
) -> Result<&'static Command, Refusal> {
    let text = |text: &str| Error::Text(format!("ERR {text}"));
    let unknown = |_| Refusal {
        error: text("Unknown Redis command called from script"),
        command: None,
        denied: None,
    };
    let command = known(words).map_err(unknown)?;
    let refuse = |error| Refusal { error, command: Some(command), denied: None };
    arity(command, words)
        .map_err(|_| refuse(text("Wrong number of args calling Redis command from script")))?;
    let allows_all = state.scripts.allows_all.load(Ordering::Relaxed);
    // What waits for something else than keys does not wait in a script.
    let is_possible = command.spec.run.fits_programs()
        || (matches!(command.spec.run, Run::Server(_))
            && (allows_all || command.flags.has(Flags::BLOCKING)));
    if (command.flags.has(Flags::NOSCRIPT) && !allows_all) || !is_possible {
        return Err(refuse(text("This Redis command is not allowed from script")));
    }
    user.check(command, words).map_err(|denied| {
        let why = denied.text(user, command);
        let error = Error::quoting("NOPERM ACL failure in script: {}", &[&why]);
        Refusal { error, command: Some(command), denied: Some(denied) }
    })?;
    let writes = command.flags.has(Flags::WRITE) || command.flags.has(Flags::MAY_REPLICATE);
    if writes && !may_write {
        return Err(refuse(text("Write commands are not allowed from read-only scripts.")));
    }
    write_possible(state, command).map_err(refuse)?;
    Ok(command)
}

/// The command that these words name.
pub(crate) fn known(words: &[Bytes]) -> Result<&'static Command, Error> {
    let name: &[u8] = words.first().map(AsRef::as_ref).unwrap_or_default();
    match table::lookup(name, words.get(1).map(AsRef::as_ref)) {
        Lookup::Found(command) => Ok(command),
        Lookup::Unknown => Err(unknown_command(words)),
        Lookup::UnknownSubcommand(_) => Err(unknown_subcommand(words)),
    }
}

fn arity(command: &Command, words: &[Bytes]) -> Result<(), Error> {
    let has_handler = !matches!(command.spec.run, Run::Container);
    if has_handler && command.accepts(words.len()) {
        Ok(())
    } else {
        Err(Error::WrongArity(command.full_name))
    }
}

fn authenticated(state: &ServerState, session: &Session, command: &Command) -> Result<(), Error> {
    if session.is_let_in(&state.users) || command.flags.has(Flags::NO_AUTH) {
        Ok(())
    } else {
        Err(Error::NotAuthenticated)
    }
}

fn queueable(session: &Session, command: &Command) -> Result<(), Error> {
    if session.queue.is_some() && command.flags.has(Flags::NO_MULTI) {
        return Err(Error::Text("ERR Command not allowed inside a transaction".to_owned()));
    }
    Ok(())
}

/// After a failed write of the log, or on a full disk, only reads go on; told here, so that no write
/// waits for it.
fn write_possible(state: &ServerState, command: &Command) -> Result<(), Error> {
    if command.flags.has(Flags::FREES) {
        // While the directory is opened again the writer tells.
        let engine = state.engine.load();
        return engine
            .as_ref()
            .map_or(Ok(()), |engine| engine.check_freeing().map_err(Error::Engine));
    }
    if command.flags.has(Flags::WRITE) { writable(state) } else { Ok(()) }
}

/// Whether writes are taken.
pub(super) fn writable(state: &ServerState) -> Result<(), Error> {
    // While the directory is opened again the writer tells.
    let engine = state.engine.load();
    engine.as_ref().map_or(Ok(()), |engine| engine.check_writable().map_err(Error::Engine))
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

fn unknown_command(words: &[Bytes]) -> Error {
    let mut words = words.iter();
    let name = shown_name(words.next());
    // Of the words as they came.
    let mut room = SHOWN_BYTES_MAX;
    let mut args = Vec::new();
    for word in words {
        if room == 0 {
            break;
        }
        let word = shown(word, room);
        args.extend([b"'", word, b"' "].concat());
        room = room.saturating_sub(word.len() + "'' ".len());
    }
    Error::UnknownCommand { name, args }
}

/// The container as it was called, which is another name where it was renamed.
fn unknown_subcommand(words: &[Bytes]) -> Error {
    let name = shown_name(words.get(1));
    Error::UnknownSubcommand { container: shown_name(words.first()).to_ascii_uppercase(), name }
}

fn shown_name(word: Option<&Bytes>) -> Vec<u8> {
    word.map_or_else(Vec::new, |word| shown(word, SHOWN_BYTES_MAX).to_vec())
}

/// At most `room` bytes of `word`, up to its first NUL byte: Redis prints words as texts of C.
fn shown(word: &[u8], room: usize) -> &[u8] {
    let word = word.split(|byte| *byte == 0).next().unwrap_or_default();
    word.get(..room).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_name_is_the_same_command() {
        let words = |words: &[&'static [u8]]| -> Vec<Bytes> {
            words.iter().map(|word| Bytes::from_static(word)).collect()
        };
        let found = |words: &[Bytes]| known(words).expect("a command");
        assert!(found(&words(&[b"get", b"k"])).is_alone());
        assert!(!found(&words(&[b"config", b"get", b"k"])).is_alone(), "its second word decides");
        assert!(!found(&words(&[b"object", b"encoding", b"k"])).is_alone());
    }

    #[test]
    fn unknown_names_are_repeated_up_to_a_nul_byte() {
        let words = |words: &[&'static [u8]]| -> Vec<Bytes> {
            words.iter().map(|word| Bytes::from_static(word)).collect()
        };
        let refusal = known(&words(&[b"no\0such", b"a\0b", b"c"])).expect_err("unknown");
        let text = "ERR unknown command 'no', with args beginning with: 'a' 'c' ";
        assert_eq!(refusal.to_string(), text);
        let mut many = words(&[b"no"]);
        many.extend(words(&[&[0x80; 8][..]; 12]));
        let text = known(&many).expect_err("unknown").to_string();
        assert_eq!(text.matches('\u{fffd}').count(), 95, "12 words would be 132 bytes");
        let refusal = known(&words(&[b"config", b"no\0such"])).expect_err("unknown");
        assert_eq!(refusal.to_string(), "ERR unknown subcommand 'no'. Try CONFIG HELP.");
    }
}
