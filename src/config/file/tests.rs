//! Files, good and bad.

use std::path::Path;
use std::sync::Arc;

use crate::config::file::Loader;
use crate::config::table::FORGOTTEN;
use crate::config::{AppendFsync, LoadError, Settings};
use crate::env::{Fs, SimFs};

/// A simulated disk with these files in `/etc`.
fn disk(files: &[(&str, &str)]) -> Arc<dyn Fs> {
    let fs = SimFs::new(1).shared();
    for (name, text) in files {
        let path = Path::new("/etc").join(name);
        fs.create_dir_all(path.parent().expect("has one")).expect("made");
        fs.create(&path).expect("created").write_at(0, text.as_bytes()).expect("written");
    }
    fs
}

fn load(files: &[(&str, &str)]) -> Result<(Settings, Vec<&'static str>), LoadError> {
    let fs = disk(files);
    let mut loader = Loader::new(&*fs);
    loader.file(Path::new("/etc/redis.conf"))?;
    Ok((loader.settings, loader.without_effect))
}

fn check_error(text: &str, line: usize, why: &str) {
    let error = load(&[("redis.conf", text)]).expect_err(text);
    assert_eq!(error.line, line, "{error}");
    assert!(error.to_string().contains(why), "{error}");
    assert!(error.to_string().contains("/etc/redis.conf"), "{error}");
}

#[test]
fn lines() {
    let text = "# a comment\n\n  PORT 7000 \r\nbind 127.0.0.1 -::1\nmaxmemory 1gb\nrequirepass \"a b\\x21\"\n\
        dir '/var/lib/silt db'\nappendfsync everysec\nsave 900 1\nsave 300 10\n\
        client-output-buffer-limit normal 1mb 0 0\nhash-max-ziplist-entries 7\nactive-defrag-cycle-max 8\nunixsocketperm 700";
    let (settings, without_effect) = load(&[("redis.conf", text)]).expect("valid");
    assert_eq!(settings.port, 7000);
    assert_eq!(settings.bind, ["127.0.0.1", "-::1"]);
    assert_eq!(settings.maxmemory, 1 << 30);
    assert_eq!(settings.requirepass, "a b!");
    assert_eq!(settings.dir, "/var/lib/silt db");
    assert_eq!(settings.appendfsync, AppendFsync::EverySecond);
    assert_eq!(settings.save, [(900, 1), (300, 10)]);
    assert_eq!(settings.client_output_buffer_limit.normal.hard_bytes, 1 << 20);
    assert_eq!(settings.client_output_buffer_limit.pubsub.hard_bytes, 32 << 20);
    assert_eq!(settings.hash_max_listpack_entries, 7);
    assert_eq!(settings.kept["active-defrag-cycle-max"], "8");
    assert_eq!(settings.unixsocketperm, 0o700);
    assert_eq!(without_effect, ["save", "active-defrag-cycle-max"]);
}

#[test]
fn later_lines_win() {
    let (settings, _) = load(&[("redis.conf", "port 1\nport 2\nsave 1 1\nsave \"\"")]).expect("ok");
    assert_eq!(settings.port, 2);
    assert!(settings.save.is_empty());
    let (settings, _) = load(&[("redis.conf", "save 1 1\nsave \n")]).expect("valid");
    assert!(settings.save.is_empty());
}

#[test]
fn settings_without_effect_are_named() {
    let text = "rdbchecksum no\nport 1\nslave-read-only no\nrdbchecksum yes\nappendonly no\n";
    let (settings, without_effect) = load(&[("redis.conf", text)]).expect("valid");
    assert_eq!(without_effect, ["rdbchecksum", "replica-read-only", "appendonly"]);
    assert_eq!(settings.kept["replica-read-only"], "no");
}

#[test]
fn what_redis_reads_and_forgets_is_no_mistake() {
    let text =
        "List-Max-Ziplist-Entries 512\nlist-max-ziplist-value 64\nlua-replicate-commands yes\n";
    let (settings, without_effect) = load(&[("redis.conf", text)]).expect("valid");
    assert_eq!(settings, Settings::default());
    assert_eq!(without_effect, FORGOTTEN);
}

#[test]
fn mistakes_name_file_and_line() {
    check_error("port 1\nprot 2\n", 2, "there is no setting 'prot'");
    check_error("port", 1, "port: wrong number of arguments");
    check_error("port 1 2", 1, "port: wrong number of arguments");
    check_error("\n\nport 70000", 3, "port: argument must be between 0 and 65535 inclusive");
    check_error("port x", 1, "port: argument couldn't be parsed into an integer");
    check_error("maxmemory lots", 1, "maxmemory: argument must be a memory value");
    check_error("protected-mode maybe", 1, "argument must be 'yes' or 'no'");
    check_error("appendfsync often", 1, "must be one of the following: everysec, always, no");
    check_error("dir \"/tmp", 1, "unbalanced quotes");
    check_error("rename-command FLUSHALL", 1, "rename-command: wrong number of arguments");
    check_error("lua-replicate-commands", 1, "lua-replicate-commands: wrong number of arguments");
    check_error("list-max-ziplist-value 1 2", 1, "wrong number of arguments");
    check_error(
        "proc-title-template \"{bad}\"",
        1,
        "template format is invalid or contains unknown",
    );
    check_error("loadmodule /lib/x.so", 1, "modules are not supported");
    check_error("replicaof 10.0.0.1 6379", 1, "replicaof: replication is not supported");
    check_error("slaveof host", 1, "replicaof: wrong number of arguments");
    check_error("cluster-enabled yes", 1, "cluster mode is not supported");
    check_error("include /etc/missing.conf", 1, "/etc/missing.conf: cannot be read");
    check_error("include /etc/redis.conf", 1, "more than 16 deep");
}

#[test]
fn secrets_are_not_shown() {
    for text in ["requirepass secret extra", "masterauth secret \"", "user x >secret \""] {
        let error = load(&[("redis.conf", text)]).expect_err(text).to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn included_files_are_read_in_place() {
    let files = [
        ("redis.conf", "port 1\ninclude /etc/more.conf\ninclude /etc/conf.d/*.conf\ntimeout 5\n"),
        ("more.conf", "port 2\ntimeout 4\n"),
        ("conf.d/b.conf", "port 4\n"),
        ("conf.d/a.conf", "port 3\n"),
        ("conf.d/c.txt", "port 5\n"),
        ("conf.d/.hidden.conf", "port 6\n"),
    ];
    let (settings, _) = load(&files).expect("valid");
    assert_eq!((settings.port, settings.timeout), (4, 5));

    for pattern in ["/etc/*.none", "/nowhere/*.conf"] {
        let text = format!("include {pattern}\n");
        let (nothing, _) = load(&[("redis.conf", &text)]).expect("a pattern may find none");
        assert_eq!(nothing, Settings::default());
    }

    let inner = load(&[("redis.conf", "port 1\ninclude /etc/in.conf"), ("in.conf", "\nx y")]);
    let text = inner.expect_err("unknown").to_string();
    assert!(text.contains("/etc/redis.conf, line 2"), "{text}");
    assert!(text.contains("/etc/in.conf, line 2: there is no setting 'x'"), "{text}");
}
