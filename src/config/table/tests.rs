//! Walks the table.

use std::collections::BTreeSet;
use std::path::Path;

use crate::config::kind::{Kind, Shape, Source};
use crate::config::table::{GROUPS, REFUSED_DIRECTIVES, find, settings};
use crate::config::{AppendFsync, Config, Settings};
use crate::env::RealFs;

#[test]
fn names_are_unique_and_lower_case() {
    let mut seen = BTreeSet::new();
    for setting in settings() {
        for name in [Some(setting.name), setting.alias].into_iter().flatten() {
            assert!(seen.insert(name), "{name} twice");
            let lower = |byte: u8| byte.is_ascii_lowercase() || byte == b'-' || byte == b'_';
            assert!(name.bytes().all(lower), "{name}");
            assert!(REFUSED_DIRECTIVES.iter().all(|(refused, _)| *refused != name), "{name}");
            let upper = name.to_ascii_uppercase();
            assert_eq!(find(&upper).map(|found| found.name), Some(setting.name));
        }
        assert!(!setting.docs.is_empty(), "{}", setting.name);
        assert!(!setting.docs.ends_with('.'), "{}", setting.name);
    }
}

#[test]
fn kept_settings_are_where_nothing_has_an_effect() {
    for group in GROUPS {
        for setting in group.settings {
            let kept = matches!(setting.kind, Kind::Kept(_) | Kind::Only(_));
            assert!(!(kept && group.has_effect), "{}", setting.name);
        }
    }
}

#[test]
fn defaults_parse_to_themselves() {
    let defaults = Settings::default();
    for setting in settings() {
        let printed = setting.print(&defaults);
        let mut again = Settings::default();
        assert_eq!(
            setting.apply(&mut again, &[&printed], Source::Command),
            Ok(()),
            "{}",
            setting.name
        );
        assert_eq!(again, defaults, "{}", setting.name);
        let size = matches!(setting.kind, Kind::Memory { .. } | Kind::Kept(Shape::Memory(..)));
        if !size && !setting.default.contains("mb") {
            assert_eq!(printed, setting.default, "{}", setting.name);
        }
    }
    assert_eq!(defaults.port, 6379);
    assert_eq!(defaults.databases, 16);
    assert_eq!(defaults.appendfsync, AppendFsync::Always);
    assert_eq!(defaults.proto_max_bulk_len, 512 << 20);
    assert_eq!(defaults.client_output_buffer_limit.pubsub.hard_bytes, 32 << 20);
    assert_eq!(defaults.latency_tracking_info_percentiles, [50.0, 99.0, 99.9]);
    assert!(defaults.save.is_empty());
}

/// What Redis does not let change, and so Redis's own suite does not try to.
const IMMUTABLE_IN_REDIS: &str = "aclfile always-show-logo appenddirname appendfilename cluster-config-file \
    cluster-enabled cluster-port daemonize databases dir disable-thp enable-debug-command enable-module-command \
    enable-protected-configs io-threads io-threads-do-reads logfile pidfile rdbchecksum replicaof set-proc-title \
    socket-mark-id supervised syslog-enabled syslog-facility syslog-ident tcp-backlog unixsocket unixsocketperm";

#[test]
fn what_is_shown_can_be_set_as_in_redis() {
    for setting in settings().filter(|setting| setting.immutable && !setting.hidden) {
        let known = IMMUTABLE_IN_REDIS.split_whitespace().any(|name| name == setting.name);
        assert!(known, "{}", setting.name);
    }
}

/// The tables of `docs/configuration.md`.
fn documentation() -> String {
    let mut text = String::new();
    for group in GROUPS {
        let meaning = if group.has_effect { "Meaning" } else { "Why" };
        text.push_str(&format!(
            "\n## {}\n\n| Setting | Default | {meaning} |\n|---|---|---|\n",
            group.title
        ));
        for setting in group.settings {
            let alias = setting.alias.map(|alias| format!(", `{alias}`")).unwrap_or_default();
            let default = match setting.default {
                "" => "none".to_owned(),
                default => format!("`{default}`"),
            };
            let fixed = if setting.immutable { " (at start only)" } else { "" };
            text.push_str(&format!(
                "| `{}`{alias} | {default} | {}{fixed} |\n",
                setting.name,
                setting.docs.replace('|', "\\|"),
            ));
        }
    }
    text
}

/// With `SILTDB_REWRITE_DOCS` in the environment the tables are written anew.
#[test]
fn the_documentation_has_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let fs = RealFs::shared();
    let text = String::from_utf8(fs.read(&path).expect("there").to_vec()).expect("text");
    let (head, tables) = text.split_at(text.find("\n## Network").unwrap_or(text.len()));
    if std::env::var_os("SILTDB_REWRITE_DOCS").is_some() {
        let file = fs.open(&path).expect("there");
        let new = format!("{head}{}", documentation());
        file.set_len(0).expect("cut");
        file.write_at(0, new.as_bytes()).expect("written");
    } else {
        assert!(
            tables == documentation(),
            "docs/configuration.md is stale: run this test with SILTDB_REWRITE_DOCS=1"
        );
    }
}

/// A value other than the default.
fn other_value(kind: Kind, default: &str) -> Option<String> {
    Some(match kind {
        Kind::Switch { .. } | Kind::Kept(Shape::Switch) => {
            if default == "yes" { "no" } else { "yes" }.to_owned()
        }
        Kind::Integer { min, max, .. } | Kind::Kept(Shape::Integer(min, max)) => {
            if default == max.to_string() { min } else { max }.to_string()
        }
        Kind::Memory { min, max, .. } | Kind::Kept(Shape::Memory(min, max)) => {
            if default == max.to_string() { min } else { max }.to_string()
        }
        Kind::Choice { names, .. } | Kind::Kept(Shape::Choice(names)) => {
            (*names.iter().find(|name| **name != default)?).to_owned()
        }
        Kind::MemoryOrPercent { .. } => "5%".to_owned(),
        Kind::Text { .. } | Kind::Kept(Shape::Text | Shape::Words) => "some text".to_owned(),
        Kind::Mode { .. } => "700".to_owned(),
        Kind::Kept(Shape::Template) => "{title} {port}".to_owned(),
        Kind::Kept(Shape::Choices(_)) => "nosave force".to_owned(),
        Kind::Kept(Shape::Integers(count, min, _)) => vec![min.to_string(); count].join(" "),
        Kind::Words { .. } | Kind::Only(_) | Kind::On(_) => return None,
    })
}

#[test]
fn what_is_set_is_what_is_shown() {
    for setting in settings() {
        let config = Config::default();
        let Some(mut value) = other_value(setting.kind, setting.default) else {
            continue;
        };
        if setting.name == "hz" {
            // Cut to what makes sense.
            value = "500".to_owned();
        }
        let set = config.set(&[(setting.name.as_bytes(), value.as_bytes())]);
        assert_eq!(set.is_err(), setting.immutable, "{}", setting.name);
        let mut settings = Settings::default();
        setting.apply(&mut settings, &[&value], Source::Command).expect(setting.name);
        assert_eq!(setting.print(&settings), value, "{}", setting.name);
        if !setting.immutable {
            for name in [Some(setting.name), setting.alias].into_iter().flatten() {
                let shown = config.get_matching(&[name.as_bytes()]);
                assert_eq!(shown, [(name, value.clone())]);
            }
        }
    }
}

#[test]
fn what_is_shown_can_be_set_again() {
    let config = Config::default();
    for (name, value) in config.get_matching(&[b"*"]) {
        if find(name).is_some_and(|setting| !setting.immutable) {
            assert_eq!(config.set(&[(name.as_bytes(), value.as_bytes())]), Ok(()), "{name}");
        }
    }
    assert_eq!(**config.load(), Settings::default());
}

#[test]
fn settings_of_several_words() {
    let check = |name: &str, value: &str, expected: Result<&str, &str>| {
        let config = Config::default();
        let done = config.set(&[(name.as_bytes(), value.as_bytes())]);
        match expected {
            Ok(shown) => {
                assert_eq!(done, Ok(()), "{name} {value}");
                assert_eq!(config.get_matching(&[name.as_bytes()])[0].1, shown);
            }
            Err(why) => {
                let error = done.expect_err(value).to_string();
                assert!(error.ends_with(why), "{error}");
            }
        }
    };
    check("save", "3600 1 300 100", Ok("3600 1 300 100"));
    check("save", "", Ok(""));
    check("save", "3600", Err("Invalid save parameters"));
    check("save", "0 1", Err("Invalid save parameters"));
    check("bind", "127.0.0.1 -::1", Ok("127.0.0.1 -::1"));
    check("bind", "", Ok(""));
    check("bind", &"a ".repeat(17), Err("Too many bind addresses specified."));
    check(
        "client-output-buffer-limit",
        "replica 1k 2kb 3 normal 1 2 3",
        Ok("normal 1 2 3 slave 1000 2048 3 pubsub 33554432 8388608 60"),
    );
    check("client-output-buffer-limit", "normal 1 2", Err("in buffer limit configuration."));
    check(
        "client-output-buffer-limit",
        "master 0 0 0",
        Err("class specified in buffer limit configuration."),
    );
    check(
        "client-output-buffer-limit",
        "normal x 0 0",
        Err("setting in buffer limit configuration."),
    );
    check("latency-tracking-info-percentiles", "99.99 1", Ok("99.99 1"));
    check("latency-tracking-info-percentiles", "", Ok(""));
    check("latency-tracking-info-percentiles", "101", Err("between [0.0,100.0]"));
    check("notify-keyspace-events", "KEA", Ok("AKE"));
    check("notify-keyspace-events", "xE$g", Ok("g$xE"));
    check("notify-keyspace-events", "KtmEn", Ok("tnKEm"));
    check("notify-keyspace-events", "", Ok(""));
    check("notify-keyspace-events", "KQ", Err("Use 'Ag$lshzxeKEtmdn'."));
    check("oom-score-adj-values", "1 2", Err("wrong number of arguments"));
    check("oom-score-adj-values", "1 2 2001", Err("elements must be between -2000 and 2000."));
    check("oom-score-adj-values", "-1 2 2000", Ok("-1 2 2000"));
    check("shutdown-on-sigterm", "", Err("following: default, save, nosave, now, force"));
    for title in ["x", "{port}", "{title} {{", "{config-file}{server-mode}", "a}b"] {
        check("proc-title-template", title, Ok(title));
    }
    for title in ["", " ", "{title}", "{bad}", "{", "x {port", "x{", "{ port}"] {
        check(
            "proc-title-template",
            title,
            Err("template format is invalid or contains unknown variables"),
        );
    }
    check("hz", "0", Ok("1"));
    check("hz", "501", Ok("500"));
}
