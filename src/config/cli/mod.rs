//! The command line: `siltdb [redis.conf] [--name value ...]`.
//!
//! Each setting of the table is an option. As in redis-server an option takes all words up to the
//! next one that starts with `--`, so `--save 900 1` and `--bind 127.0.0.1 -::1` work; clap gets
//! them as one value, with quotes, and does the rest.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::file::Loader;
use super::table::{GROUPS, RENAME_COMMAND, find, settings};
use super::{Config, Kind, LoadError, Setting};
use crate::env::{Fs, RealFs};
use crate::protocol::{quote, split_words};

/// What shall be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Run a server.
    Serve,
    /// Check the data directory: `siltdb check`.
    Check,
}

/// What the command line asked for.
#[derive(Debug)]
pub struct Parsed {
    /// What shall be done.
    pub action: Action,
    /// The settings of the file and the command line.
    pub config: Config,
    /// Lines to be logged as warnings once logging has been set up.
    pub notices: Vec<String>,
    /// The configuration, where standard input had it.
    pub stdin: Option<Vec<u8>>,
}

/// Why the server does not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum CliError {
    /// A mistake in the options, or the text of `--help` and `--version`: let clap print it and end
    /// the process (`clap::Error::exit`).
    Usage(clap::Error),
    /// A mistake in the configuration.
    Load(LoadError),
}

impl std::fmt::Display for CliError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Usage(error) => write!(f, "{error}"),
            Self::Load(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for CliError {}

impl From<LoadError> for CliError {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

/// Reads the command line (the program's name first) and the files it names; `-` as the file reads
/// standard input. Options win over the file.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Parsed, CliError> {
    parse_with(args, &RealFs, &mut std::io::stdin())
}

fn parse_with(
    args: impl IntoIterator<Item = OsString>,
    fs: &dyn Fs,
    stdin: &mut dyn Read,
) -> Result<Parsed, CliError> {
    let (args, others) = gather(args.into_iter().collect());
    let matches = command().try_get_matches_from(args).map_err(CliError::Usage)?;
    let (action, matches) = match matches.subcommand() {
        Some((_, matches)) => (Action::Check, matches),
        None => (Action::Serve, &matches),
    };

    let mut loader = Loader::new(fs);
    let (mut file, mut piped) = (None, None);
    match matches.get_one::<PathBuf>("CONFIG").map(PathBuf::as_path) {
        None => {}
        Some(path) if path == Path::new("-") => {
            piped = Some(read_stdin(&mut loader, stdin)?);
        }
        Some(path) => {
            // CONFIG REWRITE must find it again wherever the process then is.
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            loader.file(&path)?;
            file = Some(path);
        }
    }
    for (name, words) in others {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let done = loader.directive(&name, &words);
        done.map_err(|why| in_options(format!("--{name}"), why))?;
    }
    options(&mut loader, matches)?;
    loader.settings.dir = absolute_dir(&loader.settings.dir)?;
    let notices = notices(&loader);
    Ok(Parsed { action, config: Config::new(loader.settings, file), notices, stdin: piped })
}

/// What the log has to say of settings without effect.
fn notices(loader: &Loader<'_>) -> Vec<String> {
    match &loader.without_effect[..] {
        [] => Vec::new(),
        names => vec![format!("settings accepted without effect: {}", names.join(", "))],
    }
}

fn in_options(text: String, why: String) -> LoadError {
    LoadError { file: None, line: 0, text, why }
}

/// The data directory by a path that stays right wherever the process, or who reads of it, then is.
fn absolute_dir(dir: &str) -> Result<String, LoadError> {
    let why = |why: String| LoadError { file: None, line: 0, text: String::new(), why };
    if dir.is_empty() {
        return Err(why("dir: it names no directory".to_owned()));
    }
    let path = std::path::absolute(dir).map_err(|error| why(format!("dir: {error}")))?;
    path.into_os_string().into_string().map_err(|_| why("dir: not UTF-8 text".to_owned()))
}

fn read_stdin(loader: &mut Loader<'_>, stdin: &mut dyn Read) -> Result<Vec<u8>, LoadError> {
    /// Longest configuration taken from standard input, in bytes.
    const STDIN_BYTES_MAX: u64 = 16 << 20;

    let name = Path::new("(standard input)");
    let mut text = Vec::new();
    stdin.take(STDIN_BYTES_MAX).read_to_end(&mut text).map_err(|error| LoadError {
        file: Some(name.to_owned()),
        line: 0,
        text: String::new(),
        why: format!("cannot be read: {error}"),
    })?;
    loader.text(&text, name)?;
    Ok(text)
}

/// Carries out the options, as lines behind the last one of the file.
fn options(loader: &mut Loader<'_>, matches: &ArgMatches) -> Result<(), LoadError> {
    for line in matches.try_get_many::<String>(USER).ok().flatten().into_iter().flatten() {
        let words = split_words(line.as_bytes()).unwrap_or_default();
        loader.user(words).map_err(|why| in_options(format!("--{USER}"), why))?;
    }
    for name in settings().map(|setting| setting.name).chain([RENAME_COMMAND]) {
        // `check` does not have all of them.
        let lines = matches.try_get_many::<String>(name).ok().flatten();
        for line in lines.into_iter().flatten() {
            let words = split_words(line.as_bytes()).unwrap_or_default();
            let words: Vec<String> =
                words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let done = loader.set(name, &words);
            done.map_err(|why| in_options(format!("--{name}"), why))?;
        }
    }
    Ok(())
}

/// A directive that is no option here, with its words.
type Other = (String, Vec<String>);

/// Joins the words of each option to one argument, `--name=<words with quotes>`; what is no option of
/// this program is told apart.
fn gather(args: Vec<OsString>) -> (Vec<OsString>, Vec<Other>) {
    let (mut gathered, mut others) = (Vec::with_capacity(args.len()), Vec::new());
    let mut args = args.into_iter().peekable();
    while let Some(arg) = args.next() {
        let Some((name, value)) = arg.to_str().and_then(name_and_value) else {
            gathered.push(arg);
            continue;
        };
        let mut words: Vec<String> = value.map(str::to_owned).into_iter().collect();
        while let Some(word) = args.next_if(|word| is_value(word)) {
            words.push(word.to_string_lossy().into_owned());
        }
        let Some(name) = option_name(name) else {
            others.push((name.to_owned(), words));
            continue;
        };
        // As in a file, no words are an empty list. Where a value is missing clap says so.
        if words.is_empty()
            && find(name).is_some_and(|known| matches!(known.kind, Kind::Words { .. }))
        {
            words.push(String::new());
        }
        let words: Vec<String> = words.iter().map(|word| quote(word.as_bytes())).collect();
        let joined = match words.is_empty() {
            true => format!("--{name}"),
            false => format!("--{name}={}", words.join(" ")),
        };
        gathered.push(joined.into());
    }
    (gathered, others)
}

/// The name, and the value behind `=`, of a long option that is a directive.
fn name_and_value(arg: &str) -> Option<(&str, Option<&str>)> {
    let arg = arg.strip_prefix("--").filter(|arg| !OF_PROGRAM.contains(arg))?;
    Some(arg.split_once('=').map_or((arg, None), |(name, value)| (name, Some(value))))
}

/// The option that has this name, in any case.
fn option_name(name: &str) -> Option<&'static str> {
    if name.eq_ignore_ascii_case(USER) {
        return Some(USER);
    }
    let known = find(name).map(|setting| setting.name);
    known.or((name == RENAME_COMMAND).then_some(RENAME_COMMAND))
}

/// Whether an argument belongs to the option before it. A single `-` is the file.
fn is_value(arg: &std::ffi::OsStr) -> bool {
    arg != "-" && !arg.as_encoded_bytes().starts_with(b"--")
}

fn command() -> Command {
    let styles = Styles::styled()
        .header(AnsiColor::Green.on_default().bold())
        .literal(AnsiColor::Cyan.on_default().bold());
    let mut command = Command::new("siltdb")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A Redis server whose data lives on disk and survives a power cut.")
        .styles(styles)
        .override_usage(
            "siltdb [CONFIG] [--<setting> <value>...]\n       siltdb check [CONFIG] [--dir <DIR>]",
        )
        .after_help(AFTER_HELP)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .args_conflicts_with_subcommands(true)
        .subcommand(check_command())
        .arg(config_file())
        .arg(
            Arg::new(USER)
                .long(USER)
                .action(ArgAction::Append)
                .value_name("NAME RULES")
                .help_heading("Users")
                .help("Add a user, with rules as those of ACL SETUSER"),
        )
        .arg(
            Arg::new(RENAME_COMMAND)
                .long(RENAME_COMMAND)
                .action(ArgAction::Append)
                .value_name("COMMAND NAME")
                .hide_short_help(true)
                .help("Call a command by another name only; by none where that is \"\""),
        )
        .arg(
            Arg::new("version")
                .short('v')
                .visible_short_alias('V')
                .long("version")
                .action(ArgAction::Version)
                .help("Print the version"),
        );
    for group in GROUPS {
        for setting in group.settings {
            command = command.arg(
                option(setting)
                    .help_heading(group.title)
                    .hide(!group.has_effect)
                    .hide_short_help(!FREQUENT.contains(&setting.name)),
            );
        }
    }
    command
}

/// `siltdb check`, with the settings that it looks at.
fn check_command() -> Command {
    let of_check = settings().filter(|setting| CHECK_SETTINGS.contains(&setting.name));
    Command::new("check")
        .about("Read a whole data directory and prove that it is sound; no server may run on it")
        .after_help(AFTER_CHECK_HELP)
        .arg(config_file())
        .args(of_check.map(option))
        .mut_arg("dir", |dir| dir.help("Data directory to check; it is not changed"))
}

fn config_file() -> Arg {
    Arg::new("CONFIG")
        .help("Configuration file in the syntax of redis.conf; '-' reads standard input")
        .value_parser(clap::value_parser!(PathBuf))
}

fn option(setting: &Setting) -> Arg {
    Arg::new(setting.name)
        .long(setting.name)
        .action(ArgAction::Append)
        .value_name(value_name(setting.kind))
        .help(help(setting))
}

/// A user with its rules; no setting, since there may be any number.
const USER: &str = "user";

/// Long options that are about the program and not about its configuration.
const OF_PROGRAM: &[&str] = &["", "help", "version"];

/// What `siltdb check` takes.
const CHECK_SETTINGS: &[&str] = &["dir", "maxmemory"];

const AFTER_CHECK_HELP: &str = "\
Reads every block of every table, the manifest and the log, then holds each key of each database
against its elements, the counts and the indexes. Prints what there is, and each damage on a line that
starts with DAMAGED. Changes no record.

Exit status: 0 sound, 1 damage was found, 2 the directory cannot be opened.";

/// What `-h` shows.
const FREQUENT: &[&str] = &[
    "port",
    "bind",
    "unixsocket",
    "requirepass",
    "maxclients",
    "timeout",
    "tcp-keepalive",
    "io-threads",
    "dir",
    "appendfsync",
    "databases",
    "maxmemory",
    "loglevel",
    "logfile",
];

const AFTER_HELP: &str = "\
Sizes: 1k is 1000 bytes, 1kb is 1024; likewise m, mb, g, gb.
-h shows the most used settings, --help all that have an effect. Every other setting of Redis 7.4
is accepted too, so that a redis.conf can be used as it is.

`siltdb check --dir DIR` proves that a data directory is sound; see `siltdb check --help`.

Examples:
  siltdb
  siltdb /etc/siltdb.conf --port 7000 --maxmemory 2gb
  siltdb --dir /var/lib/siltdb --appendfsync everysec --bind 127.0.0.1 -::1";

fn help(setting: &Setting) -> String {
    let mut text = setting.docs.to_owned();
    if let Kind::Choice { names, .. } = setting.kind {
        text.push_str(&format!(" [{}]", names.join(", ")));
    }
    if !setting.default.is_empty() {
        text.push_str(&format!(" [default: {}]", setting.default));
    }
    text
}

fn value_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Switch { .. } | Kind::On(_) => "yes|no",
        Kind::Memory { .. } => "SIZE",
        Kind::MemoryOrPercent { .. } => "SIZE|PERCENT",
        Kind::Integer { .. } => "N",
        Kind::Words { .. } => "WORDS",
        Kind::Choice { .. } => "WORD",
        Kind::Mode { .. } | Kind::Text { .. } | Kind::Kept(_) | Kind::Only(_) => "VALUE",
    }
}

#[cfg(test)]
mod tests;
