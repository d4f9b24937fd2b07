//! `ACL`.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use super::category::Category;
use super::log::Entry;
use super::revoke;
use super::selector::Selector;
use super::user::{DEFAULT, User};
use crate::commands::client::CALLABLE_ANYTIME;
use crate::commands::spec::ServerFuture;
use crate::commands::table::{self, Lookup};
use crate::commands::{
    Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, Group, Run, ServerState, Session,
    SessionHandler, help,
};
use crate::env::fill_random;
use crate::protocol::Reply;

const USUAL: Flags = CALLABLE_ANYTIME.or(Flags::SENTINEL);
const ADMIN: Flags = USUAL.or(Flags::ADMIN);
const USERNAME: Arg = Arg::string("username");

/// Bits of a password that `ACL GENPASS` makes without an argument, and at most.
const PASSWORD_BITS: i64 = 256;
const PASSWORD_BITS_MAX: i64 = 4096;
/// Entries that `ACL LOG` answers without a count.
const ENTRIES_DEFAULT: usize = 10;

const NO_FILE: &str = "ERR This Redis instance is not configured to use an ACL file. You may want to \
                       specify users via the ACL SETUSER command and then issue a CONFIG REWRITE \
                       (assuming you have a Redis configuration file set) in order to store users \
                       in the Redis configuration.";

/// The family's table.
pub(in crate::commands) const COMMANDS: &[CommandSpec] =
    &[CommandSpec::container("acl", SUBCOMMANDS)
        .group(Group::Server)
        .since("6.0.0")
        .summary("Commands about users and what they may do.")
        .flags(Flags::SENTINEL)];

const fn sub(name: &'static str, arity: Arity, run: SessionHandler) -> CommandSpec {
    CommandSpec::session(name, arity, run).group(Group::Server).since("6.0.0")
}

const SUBCOMMANDS: &[CommandSpec] = &[
    sub("cat", Arity::AtLeast(2), cat)
        .complexity("O(1) since the categories and commands are a fixed set.")
        .summary("Lists the categories of commands, or the commands of one.")
        .flags(USUAL)
        .args(&[Arg::string("category").optional()]),
    sub("deluser", Arity::AtLeast(3), deluser)
        .complexity("O(N) with N users and connections")
        .summary("Deletes users and ends their connections.")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .flags(ADMIN)
        .secrets(|words| 2..words.len())
        .args(&[USERNAME.multiple()]),
    sub("dryrun", Arity::AtLeast(4), dryrun)
        .since("7.0.0")
        .summary("Tells whether a user may make a call, without making it.")
        .flags(ADMIN)
        .args(&[USERNAME, Arg::string("command"), Arg::string("arg").optional().multiple()]),
    sub("genpass", Arity::AtLeast(2), genpass)
        .summary("Answers a random password.")
        .flags(USUAL)
        .args(&[Arg::integer("bits").optional()]),
    sub("getuser", Arity::Exactly(3), getuser)
        .complexity("O(N) with N rules of the user")
        .summary("Describes a user.")
        .history(&[
            ("6.2.0", "Patterns of channels."),
            ("7.0.0", "Selectors; keys and channels as rules."),
        ])
        .flags(ADMIN)
        .secrets(|words| 2..words.len())
        .args(&[USERNAME]),
    help::subcommand(Group::Server, "6.0.0").flags(Flags::SENTINEL),
    sub("list", Arity::Exactly(2), list)
        .complexity("O(N) with N users")
        .summary("Answers all users as lines of an ACL file.")
        .flags(ADMIN),
    CommandSpec::new("load", Arity::Exactly(2), Run::Server(load))
        .group(Group::Server)
        .since("6.0.0")
        .complexity("O(N) with N users and connections")
        .summary("Takes the users from the ACL file, all or none.")
        .flags(ADMIN),
    sub("log", Arity::AtLeast(2), log)
        .complexity("O(N) with N entries answered")
        .summary("Answers the latest refusals, or forgets them.")
        .history(&[("7.2.0", "Fields entry-id, timestamp-created, timestamp-last-updated.")])
        .flags(ADMIN)
        .args(&[Arg::one_of("operation", &[Arg::integer("count"), Arg::token("reset", "RESET")])
            .optional()]),
    CommandSpec::new("save", Arity::Exactly(2), Run::Server(save))
        .group(Group::Server)
        .since("6.0.0")
        .complexity("O(N) with N users")
        .summary("Writes the users to the ACL file.")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .flags(ADMIN),
    sub("setuser", Arity::AtLeast(3), setuser)
        .complexity("O(N) with N rules given")
        .summary("Makes or changes a user.")
        .history(&[
            ("6.2.0", "Patterns of channels."),
            ("7.0.0", "Selectors, and patterns of keys that may be read or written only."),
        ])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .flags(ADMIN)
        .secrets(|words| 2..words.len())
        .args(&[USERNAME, Arg::string("rule").optional().multiple()]),
    sub("users", Arity::Exactly(2), users)
        .complexity("O(N) with N users")
        .summary("Answers the names of all users.")
        .flags(ADMIN),
    sub("whoami", Arity::Exactly(2), whoami)
        .summary("Answers the name of the user of this connection.")
        .flags(USUAL),
];

fn cat(_: &mut Session, _: &ServerState, args: &mut Args<'_>) -> CommandResult {
    match args.rest() {
        [] => Ok(Reply::array(Category::ALL.iter().map(|(_, name)| *name))),
        [name] => {
            let category = Category::by_name(name).ok_or_else(|| {
                let name = name.get(..128).unwrap_or(name);
                Error::quoting("ERR Unknown category '{}'", &[name])
            })?;
            let commands = table::all().iter();
            let found = commands.filter(|command| command.categories.has(category));
            Ok(Reply::array(found.map(|command| command.full_name)))
        }
        _ => Err(Error::subcommand_syntax(args.all())),
    }
}

fn setuser(session: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let name = args.next_bytes()?;
    let all_channels = state.config.load().acl_pubsub_all_channels;
    let (before, user) = state
        .users
        .set(name, args.rest(), all_channels)
        .map_err(|why| Error::quoting("ERR {}", &[&why]))?;
    if let Some(before) = before {
        revoke::channels(state, session, &before, &user);
    }
    Ok(Reply::OK)
}

fn deluser(session: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let names = args.rest();
    if names.iter().any(|name| name[..] == *DEFAULT) {
        return Err(Error::Text("ERR The 'default' user cannot be removed".to_owned()));
    }
    let deleted = state.users.delete(names);
    if deleted > 0 {
        revoke::users_gone(state, session);
    }
    Ok(Reply::count(deleted))
}

fn getuser(_: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let Some(user) = state.users.get(args.next_bytes()?) else { return Ok(Reply::Null) };
    let passwords = user.passwords.iter().map(|hash| Reply::bulk(hash.digits()));
    let flags = user.flags().into_iter().map(Reply::bulk);
    let selectors = user.selectors.iter().map(|selector| Reply::Map(described(selector)));
    let mut fields = vec![
        (Reply::bulk("flags"), Reply::Set(flags.collect())),
        (Reply::bulk("passwords"), Reply::Array(passwords.collect())),
    ];
    fields.extend(described(&user.root));
    fields.push((Reply::bulk("selectors"), Reply::Array(selectors.collect())));
    Ok(Reply::Map(fields))
}

fn described(selector: &Selector) -> Vec<(Reply, Reply)> {
    let text = |describe: &dyn Fn(&mut Vec<u8>)| {
        let mut text = Vec::new();
        describe(&mut text);
        Reply::bulk(text)
    };
    vec![
        (Reply::bulk("commands"), text(&|out| selector.commands.describe(out))),
        (Reply::bulk("keys"), text(&|out| selector.describe_keys(out))),
        (Reply::bulk("channels"), text(&|out| selector.describe_channels(out))),
    ]
}

fn list(_: &mut Session, state: &ServerState, _: &mut Args<'_>) -> CommandResult {
    Ok(Reply::Array(state.users.all().values().map(|user| Reply::bulk(user.line())).collect()))
}

fn users(_: &mut Session, state: &ServerState, _: &mut Args<'_>) -> CommandResult {
    Ok(Reply::Array(state.users.all().keys().cloned().map(Reply::Bulk).collect()))
}

fn whoami(session: &mut Session, _: &ServerState, _: &mut Args<'_>) -> CommandResult {
    Ok(Reply::Bulk(session.user().name().clone()))
}

fn genpass(_: &mut Session, _: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let bits = if args.is_empty() { PASSWORD_BITS } else { args.next_int()? };
    if !args.is_empty() {
        return Err(Error::subcommand_syntax(args.all()));
    }
    let bits = usize::try_from(bits).ok().filter(|_| (1..=PASSWORD_BITS_MAX).contains(&bits));
    let digits = bits.map(|bits| bits.div_ceil(4)).ok_or_else(|| {
        Error::Text(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a \
             positive number up to {PASSWORD_BITS_MAX}"
        ))
    })?;
    let mut random = vec![0; digits.div_ceil(2)];
    fill_random(&mut random).map_err(|error| Error::Text(format!("ERR {error}")))?;
    let mut password = String::with_capacity(2 * random.len());
    for byte in random {
        let _ = write!(password, "{byte:02x}");
    }
    password.truncate(digits);
    Ok(Reply::bulk(password))
}

fn dryrun(_: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let name = args.next_bytes()?;
    let user: Arc<User> =
        state.users.get(name).ok_or_else(|| Error::quoting("ERR User '{}' not found", &[name]))?;
    let words = args.rest();
    let Some(name) = words.first() else { return Err(Error::Syntax) };
    let Lookup::Found(command) = table::lookup(name, words.get(1).map(|word| &word[..])) else {
        return Err(Error::quoting("ERR Command '{}' not found", &[name]));
    };
    if !command.accepts(words.len()) {
        return Err(Error::WrongArity(command.full_name));
    }
    match user.check(command, words) {
        Ok(()) => Ok(Reply::OK),
        Err(denied) => Ok(Reply::bulk(denied.full_text(&user, command, words))),
    }
}

fn log(_: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let count = match args.rest() {
        [] => ENTRIES_DEFAULT,
        [word] if word.eq_ignore_ascii_case(b"RESET") => {
            state.acl_log.reset();
            return Ok(Reply::OK);
        }
        [count] => {
            let count = crate::data::parse_int(count).ok_or(Error::NotAnInteger)?;
            usize::try_from(count).unwrap_or(0)
        }
        _ => return Err(Error::subcommand_syntax(args.all())),
    };
    let now_ms = state.clock.unix_ms();
    let entries = state.acl_log.latest(count).into_iter();
    Ok(Reply::Array(entries.map(|entry| entry_reply(entry, now_ms)).collect()))
}

fn entry_reply(entry: Entry, now_ms: u64) -> Reply {
    let number = |number: u64| Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    let age_ms = now_ms.saturating_sub(entry.updated_ms);
    Reply::Map(vec![
        (Reply::bulk("count"), number(entry.count)),
        (Reply::bulk("reason"), Reply::bulk(entry.denial.reason.name())),
        (Reply::bulk("context"), Reply::bulk(entry.denial.context.name())),
        (Reply::bulk("object"), Reply::Bulk(entry.denial.object)),
        (Reply::bulk("username"), Reply::Bulk(entry.denial.user)),
        (Reply::bulk("age-seconds"), Reply::Double(age_ms as f64 / 1000.0)),
        (Reply::bulk("client-info"), Reply::Bulk(entry.client)),
        (Reply::bulk("entry-id"), number(entry.id)),
        (Reply::bulk("timestamp-created"), number(entry.created_ms)),
        (Reply::bulk("timestamp-last-updated"), number(entry.updated_ms)),
    ])
}

/// The file is read on the blocking pool.
fn load<'a>(
    session: &'a mut Session,
    state: &'a Arc<ServerState>,
    _: &'a [Bytes],
) -> ServerFuture<'a> {
    Box::pin(async move {
        let before = on_blocking_pool(state, |state| {
            let loaded = state.users.load(&*state.fs, &state.config.load());
            loaded.map_err(|why| Error::Text(format!("ERR {why}")))
        });
        let before = before.await?;
        revoke::users_gone(state, session);
        for user in state.users.all().values() {
            if let Some(before) = before.get(user.name()) {
                revoke::channels(state, session, before, user);
            }
        }
        Ok(Reply::OK)
    })
}

fn save<'a>(_: &'a mut Session, state: &'a Arc<ServerState>, _: &'a [Bytes]) -> ServerFuture<'a> {
    Box::pin(async move {
        let saved = on_blocking_pool(state, |state| {
            state.users.save(&*state.fs, &state.config.load()).map_err(|error| {
                tracing::warn!(%error, "the ACL file cannot be written");
                Error::Text(
                    "ERR There was an error trying to save the ACLs. Please check the server logs \
                     for more information"
                        .to_owned(),
                )
            })
        });
        saved.await.map(|()| Reply::OK)
    })
}

/// Runs what reads or writes the ACL file, if there is one.
async fn on_blocking_pool<T: Send + 'static>(
    state: &Arc<ServerState>,
    run: impl FnOnce(&ServerState) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    if state.config.load().aclfile.is_empty() {
        return Err(Error::Text(NO_FILE.to_owned()));
    }
    let state = Arc::clone(state);
    let ran = tokio::task::spawn_blocking(move || run(&state)).await;
    // Cancelled only when the runtime ends.
    ran.map_err(|error| Error::Text(format!("ERR {error}")))?
}
