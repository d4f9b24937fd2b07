//! Command lines.

use std::ffi::OsString;
use std::path::Path;

use super::{Action, CliError, Parsed, command, parse_with};
use crate::config::AppendFsync;
use crate::env::SimFs;

const FILE: &str = "port 7000\ntimeout 9\nrdbchecksum no\n";

fn run_with(args: &[&str], stdin: &str) -> Result<Parsed, CliError> {
    let fs = SimFs::new(1).shared();
    fs.create_dir_all(Path::new("/etc")).expect("made");
    let file = fs.create(Path::new("/etc/redis.conf")).expect("created");
    file.write_at(0, FILE.as_bytes()).expect("written");
    let args = ["siltdb"].iter().chain(args).map(OsString::from);
    parse_with(args, &*fs, &mut stdin.as_bytes())
}

fn run(args: &[&str]) -> Parsed {
    run_with(args, "").unwrap_or_else(|error| panic!("{args:?}: {error}"))
}

fn error(args: &[&str]) -> String {
    run_with(args, "").expect_err("a mistake").to_string()
}

#[test]
fn the_table_makes_a_sound_command() {
    command().debug_assert();
}

#[test]
fn check_is_a_command_of_its_own() {
    let parsed = run(&["check", "/etc/redis.conf", "--dir", "/some where"]);
    assert_eq!(parsed.action, Action::Check);
    assert_eq!(parsed.config.load().dir, "/some where");
    assert_eq!(parsed.config.load().timeout, 9);
    assert_eq!(run(&["check"]).action, Action::Check);
    for args in [&["check", "--port", "1"][..], &["/etc/redis.conf", "check"]] {
        assert!(matches!(run_with(args, ""), Err(CliError::Usage(_))), "{args:?}");
    }
    let help = error(&["--help"]);
    assert!(help.contains("siltdb check --dir"), "{help}");
    assert!(error(&["check", "--help"]).contains("Exit status"));
}

#[test]
fn defaults() {
    let parsed = run(&[]);
    assert_eq!(parsed.action, Action::Serve);
    let mut settings = crate::config::Settings::default();
    let here = std::env::current_dir().expect("there is one");
    settings.dir = here.join("data").to_str().expect("text").to_owned();
    assert_eq!(**parsed.config.load(), settings);
    assert_eq!(parsed.config.file(), None);
    assert!(parsed.notices.is_empty());
}

#[test]
fn options_win_over_the_file() {
    let parsed = run(&["/etc/redis.conf", "--port", "7001", "--appendfsync=everysec"]);
    let settings = parsed.config.load();
    assert_eq!((settings.port, settings.timeout), (7001, 9));
    assert_eq!(settings.appendfsync, AppendFsync::EverySecond);
    assert_eq!(parsed.config.file(), Some(Path::new("/etc/redis.conf")));
    assert_eq!(parsed.notices, ["settings accepted without effect: rdbchecksum"]);
}

#[test]
fn options_of_several_words() {
    let parsed = run(&[
        "--save",
        "900",
        "1",
        "--bind",
        "127.0.0.1",
        "-::1",
        "--save",
        "300 10",
        "--client-output-buffer-limit",
        "normal",
        "1kb",
        "0",
        "0",
        "--slowlog-log-slower-than",
        "-1",
        "--requirepass",
        "-a b\"c",
        "--PORT",
        "1",
        "--slave-priority",
        "7",
    ]);
    let settings = parsed.config.load();
    assert_eq!(settings.bind, ["127.0.0.1", "-::1"]);
    assert_eq!(settings.client_output_buffer_limit.normal.hard_bytes, 1024);
    assert_eq!(settings.slowlog_log_slower_than, -1);
    assert_eq!(settings.requirepass, "-a b\"c");
    assert_eq!(settings.port, 1);
    assert_eq!(settings.kept["replica-priority"], "7");
    assert_eq!(settings.save, [(900, 1), (300, 10)]);
}

#[test]
fn empty_values() {
    let parsed = run(&["/etc/redis.conf", "--save", "", "--bind", "", "--logfile="]);
    let settings = parsed.config.load();
    assert!(settings.save.is_empty());
    assert!(settings.bind.is_empty());
    assert!(settings.logfile.is_empty());
    // As Redis has it for `--save`: the end, or the next option, is as good as an empty value.
    for args in [&["--port", "1", "--save"][..], &["--save", "--port", "1"]] {
        let settings = run(&[&["--save", "900", "1"], args].concat()).config.load_full();
        assert!(settings.save.is_empty() && settings.port == 1, "{args:?}");
    }
}

#[test]
fn directives_that_are_no_options() {
    let parsed =
        run(&["--list-max-ziplist-entries", "512", "--port", "1", "--include", "/etc/redis.conf"]);
    let settings = parsed.config.load();
    assert_eq!((settings.port, settings.timeout), (1, 9));
    let notice = "settings accepted without effect: list-max-ziplist-entries, rdbchecksum";
    assert_eq!(parsed.notices, [notice]);
    let refused = error(&["--loadmodule", "/x.so"]);
    assert!(
        refused.contains("'loadmodule' cannot be used: modules are not supported"),
        "{refused}"
    );
    let unknown = error(&["--nosuch", "1"]);
    assert!(unknown.contains("there is no setting 'nosuch'"), "{unknown}");
    assert!(!unknown.contains("meant"), "{unknown}");
}

#[test]
fn standard_input_is_a_file() {
    let parsed = run_with(&["--port", "1", "-"], "port 5\ntimeout 6\n").expect("valid");
    let settings = parsed.config.load();
    assert_eq!((settings.port, settings.timeout), (1, 6));
    let error = run_with(&["-"], "x y\n").expect_err("unknown").to_string();
    assert!(error.contains("(standard input), line 1: there is no setting 'x'"), "{error}");
}

#[test]
fn mistakes() {
    for slip in ["prot", "por", "portt", "pott"] {
        let error = error(&[&format!("--{slip}"), "1"]);
        assert!(error.contains("is 'port' meant?"), "{error}");
    }
    assert!(error(&["--port"]).contains("a value is required"));
    assert!(error(&["--port", "70000"]).contains("between 0 and 65535"));
    assert!(error(&["--port", "1", "2"]).contains("port: wrong number of arguments"));
    assert!(error(&["/etc/none.conf"]).contains("/etc/none.conf: cannot be read"));
    assert!(error(&["--cluster-enabled", "yes"]).contains("cluster mode is not supported"));
}

#[test]
fn help_and_version() {
    let help = error(&["--help"]);
    for part in
        ["--appendfsync", "[default: 6379]", "Network:", "Examples:", "--active-expire-effort"]
    {
        assert!(help.contains(part), "{part} in {help}");
    }
    assert!(!help.contains("rdbchecksum"), "{help}");
    let short = error(&["-h"]);
    assert!(short.contains("--maxmemory ") && !short.contains("--active-expire"), "{short}");
    assert!(error(&["-v"]).contains(env!("CARGO_PKG_VERSION")));
    assert!(error(&["--version"]).starts_with("siltdb "));
}
