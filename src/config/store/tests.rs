//! `CONFIG GET` and `CONFIG SET` with Redis's texts.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::config::{Config, Settings, Veto};

fn set(config: &Config, pairs: &[(&str, &str)]) -> Result<(), String> {
    let pairs: Vec<(&[u8], &[u8])> =
        pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    config.set(&pairs).map_err(|error| error.to_string())
}

fn names(config: &Config, patterns: &[&str]) -> Vec<&'static str> {
    let patterns: Vec<&[u8]> = patterns.iter().map(|pattern| pattern.as_bytes()).collect();
    config.get_matching(&patterns).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn patterns_and_names() {
    let config = Config::default();
    assert_eq!(names(&config, &["PORT"]), ["port"]);
    assert_eq!(names(&config, &["nothing"]), [""; 0]);
    assert_eq!(
        names(&config, &["maxmemory", "maxmemory*", "bind", "*laveof"]),
        [
            "bind",
            "maxmemory",
            "maxmemory-clients",
            "maxmemory-eviction-tenacity",
            "maxmemory-policy",
            "maxmemory-samples",
            "slaveof",
        ]
    );
    assert_eq!(
        names(&config, &["list-max-*"]),
        ["list-max-listpack-size", "list-max-ziplist-size"]
    );
    assert!(names(&config, &["*"]).len() > 200);
}

#[test]
fn hidden_settings_are_shown_by_name_only() {
    let config = Config::default();
    assert_eq!(names(&config, &["key-load-delay"]), ["key-load-delay"]);
    assert_eq!(names(&config, &["key-load-*"]), [""; 0]);
    assert!(!names(&config, &["*"]).contains(&"key-load-delay"));
}

#[test]
fn many_are_set_together_or_not_at_all() {
    let config = Config::default();
    assert_eq!(
        set(&config, &[("maxmemory", "1mb"), ("SLOWLOG-max-len", "7"), ("hz", "9")]),
        Ok(())
    );
    let settings = config.load_full();
    assert_eq!(settings.maxmemory, 1 << 20);
    assert_eq!((settings.slowlog_max_len, settings.hz), (7, 9));

    assert!(set(&config, &[("maxmemory", "2mb"), ("timeout", "x")]).is_err());
    assert_eq!(*config.load_full(), *settings);
}

#[test]
fn texts_of_errors() {
    let config = Config::default();
    let check = |pairs: &[(&str, &str)], text: &str| {
        assert_eq!(set(&config, pairs), Err(text.to_owned()));
    };
    check(&[("foo", "1")], "ERR Unknown option or number of arguments for CONFIG SET - 'foo'");
    check(
        &[("timeout", "x"), ("databases", "1"), ("foo", "1")],
        "ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config",
    );
    check(
        &[("TIMEOUT", "x")],
        "ERR CONFIG SET failed (possibly related to argument 'timeout') - argument couldn't be parsed into an integer",
    );
    check(
        &[("port", "x"), ("foo", "1")],
        "ERR Unknown option or number of arguments for CONFIG SET - 'foo'",
    );
    let failed = |name: &str, value: &str, why: &str| {
        check(
            &[(name, value)],
            &format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}"),
        );
    };
    failed("databases", "5", "can't set immutable config");
    failed("dir", "/tmp", "can't set protected config");
    failed("appendfsync", "1", "argument(s) must be one of the following: everysec, always, no");
    failed("protected-mode", "1", "argument must be 'yes' or 'no'");
    failed("maxmemory", "-1", "argument must be a memory value");
    failed("maxmemory-clients", "200%", "percentage argument must be less or equal to 100");
    failed("maxmemory-clients", "x%", "argument must be a memory or percent value");
    failed(
        "shutdown-on-sigint",
        "save x",
        "argument(s) must be one of the following: default, save, nosave, now, force",
    );
    failed("timeout", "1s", "argument couldn't be parsed into an integer");
    failed("timeout", "-1", "argument must be between 0 and 2147483647 inclusive");
    failed("appendonly", "no", "every write is logged; see appendfsync for when the log is synced");
    check(
        &[("timeout", "1"), ("timeout", "2")],
        "ERR CONFIG SET failed (possibly related to argument 'timeout') - duplicate parameter",
    );
    check(
        &[("replica-priority", "1"), ("slave-priority", "2")],
        "ERR CONFIG SET failed (possibly related to argument 'slave-priority') - duplicate parameter",
    );
    let error = config.set(&[(b"requirepass", b"\xff")]).expect_err("not text");
    assert!(error.to_string().ends_with("argument must be UTF-8 text"), "{error}");
    assert_eq!(**config.load(), Settings::default());
}

#[test]
fn the_server_carries_out_or_refuses() {
    type Calls = Vec<(u16, u16, Vec<&'static str>)>;
    let seen: Arc<Mutex<Calls>> = Arc::default();
    let config = Config::default();
    let into = Arc::clone(&seen);
    config.on_change(Box::new(move |old, new, names| {
        into.lock().push((old.port, new.port, names.to_vec()));
        if new.port == 80 {
            return Err(Veto { name: "port", why: "Unable to listen on this port".to_owned() });
        }
        Ok(())
    }));
    assert_eq!(set(&config, &[("port", "7000"), ("TIMEOUT", "1")]), Ok(()));
    assert_eq!(
        set(&config, &[("timeout", "2"), ("port", "80")]),
        Err("ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port"
            .to_owned())
    );
    assert_eq!((config.load().port, config.load().timeout), (7000, 1));
    let calls = seen.lock().clone();
    assert_eq!(calls[0], (6379, 7000, vec!["port", "timeout"]));
    assert_eq!(calls[1], (7000, 80, vec!["timeout", "port"]));
}

#[test]
fn debug_output_has_no_password() {
    let config = Config::default();
    set(&config, &[("requirepass", "secret")]).expect("set");
    assert!(!format!("{config:?}").contains("secret"));
}
