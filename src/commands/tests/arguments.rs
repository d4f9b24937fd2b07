//! Calls generated from the argument trees: none may be refused for its shape. That ties the
//! documentation to the parsers.

use bytes::Bytes;

use super::Harness;
use crate::commands::test_server::TestServer;
use crate::commands::{Arg, ArgKind, Error, Run, table};

const CALLS_PER_COMMAND: usize = 200;
/// Arguments that say how often the next one comes.
const COUNTS: &[&str] = &["numkeys", "numfields"];

fn push_all(args: &[Arg], random: &mut fastrand::Rng, words: &mut Vec<Bytes>) {
    let mut count_at = None;
    for arg in args {
        if arg.optional && random.bool() {
            continue;
        }
        let times = if arg.multiple { random.usize(1..4) } else { 1 };
        if let Some(at) = count_at.take() {
            words[at] = times.to_string().into();
        }
        if COUNTS.contains(&arg.name) {
            count_at = Some(words.len());
        }
        for time in 0..times {
            if let Some(token) = arg.token.filter(|_| time == 0 || arg.multiple_token) {
                words.push(Bytes::from_static(token.as_bytes()));
            }
            push_value(arg.kind, random, words);
        }
    }
}

fn push_value(kind: ArgKind, random: &mut fastrand::Rng, words: &mut Vec<Bytes>) {
    let mut word = |text: String| words.push(text.into());
    match kind {
        ArgKind::Key => word(format!("key:{}", random.u8(0..6))),
        ArgKind::String => word(format!("value:{}", random.u8(..))),
        ArgKind::Integer => word(random.u8(1..9).to_string()),
        ArgKind::Double => word(format!("{}.5", random.i8(..))),
        ArgKind::Pattern => word("key:[1-3]*".to_owned()),
        ArgKind::UnixTime => word("1800000000".to_owned()),
        ArgKind::PureToken => {}
        ArgKind::OneOf(choices) => {
            let choice = *random.choice(choices).expect("a choice has branches");
            push_all(&[Arg { optional: false, ..choice }], random, words);
        }
        ArgKind::Block(parts) => push_all(parts, random, words),
    }
}

/// Redis documents these options of `RESTORE` as if they could be joined, and refuses it.
const NOT_TOGETHER: [&str; 2] = ["IDLETIME", "FREQ"];

#[test]
fn generated_calls_are_well_formed() {
    let mut server = Harness::new();
    let mut random = fastrand::Rng::with_seed(7);
    for command in table::all() {
        if !matches!(
            command.spec.run,
            Run::Read(_) | Run::Write(_) | Run::Blocking(_) | Run::ReadOrBlock(..)
        ) {
            continue;
        }
        for _ in 0..CALLS_PER_COMMAND {
            let mut words: Vec<Bytes> = command
                .full_name
                .split('|')
                .map(|word| Bytes::from_static(word.as_bytes()))
                .collect();
            push_all(command.spec.args, &mut random, &mut words);
            if NOT_TOGETHER.iter().all(|option| words.iter().any(|word| word == option)) {
                continue;
            }
            if let Err(error) = server.call(&words) {
                let shape = matches!(
                    error,
                    Error::Syntax
                        | Error::WrongArity(_)
                        | Error::UnsupportedOption(_)
                        | Error::InvalidExpire(_)
                );
                assert!(!shape, "{error}: {words:?}");
            }
            server.store.check();
        }
    }
}

/// Redis documents the two filters of `CLIENT LIST`, and `ABORT` of `FAILOVER` with other options, as if
/// they could be joined, and refuses it.
const NOT_AS_DOCUMENTED: &[&str] = &["client|list", "failover"];

#[test]
fn generated_session_calls_are_well_formed() {
    let mut server = TestServer::new();
    let mut random = fastrand::Rng::with_seed(7);
    for command in table::all() {
        let name = command.full_name;
        if !matches!(command.spec.run, Run::Session(_)) || NOT_AS_DOCUMENTED.contains(&name) {
            continue;
        }
        for _ in 0..CALLS_PER_COMMAND {
            let mut words: Vec<Bytes> =
                name.split('|').map(|word| Bytes::from_static(word.as_bytes())).collect();
            push_all(command.spec.args, &mut random, &mut words);
            // The tree cannot say that of optional words at least one has to be there.
            if !command.accepts(words.len()) {
                continue;
            }
            if let Err(error) = server.run_words(&words) {
                let shape = matches!(error, Error::Syntax | Error::WrongArity(_));
                assert!(!shape, "{error}: {words:?}");
            }
        }
    }
}
