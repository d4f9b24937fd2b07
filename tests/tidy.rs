//! Keeps the house in order: layers, file length, headers, stray marks, the top level of the
//! repository, and the list of skipped upstream tests, which may only shrink.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Lines that a file of `src` may have.
const FILE_LINES_MAX: usize = 700;

/// What each layer may use of ours. Everything that is not named here is forbidden.
const LAYERS: &[(&str, &[&str])] = &[
    ("env", &[]),
    ("protocol", &[]),
    ("observe", &["env"]),
    ("script", &["protocol"]),
    ("config", &["env", "protocol"]),
    ("engine", &["env"]),
    ("data", &["engine", "env"]),
    ("commands", &["config", "data", "engine", "env", "observe", "protocol", "script"]),
    ("server", &["commands", "config", "data", "engine", "env", "observe", "protocol"]),
];

/// What stands at the top of the repository, beside dotfiles.
const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "docs",
    "redis-tests",
    "src",
    "tests",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `directory`, as paths relative to the repository, in order.
fn files(directory: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(directory)];
    while let Some(directory) = open.pop() {
        let entries = directory.read_dir().expect("directory is readable");
        for entry in entries {
            let path = entry.expect("entry is readable").path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target") {
                    open.push(path);
                }
            } else {
                found.push(path.strip_prefix(root()).expect("below the root").to_owned());
            }
        }
    }
    found.sort();
    found
}

#[expect(clippy::disallowed_methods, reason = "the simulated file system holds no source files")]
fn text(path: &Path) -> String {
    let bytes = std::fs::read(root().join(path)).expect("file is readable");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn rust_files(directory: &str) -> Vec<(PathBuf, String)> {
    files(directory)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let text = text(&path);
            (path, text)
        })
        .collect()
}

/// Whether a file of `src` holds the tests of the module beside it, whose header is enough.
fn is_test(path: &Path) -> bool {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    stem.is_some_and(|stem| stem == "tests" || stem.ends_with("_tests"))
        || path.components().any(|part| part.as_os_str() == "tests")
}

/// Fails with all of `complaints` at once.
fn no_complaints(complaints: &[String]) {
    let mut list = String::new();
    for complaint in complaints {
        let _ = writeln!(list, "  {complaint}");
    }
    assert!(complaints.is_empty(), "{} complaint(s):\n{list}", complaints.len());
}

/// The layer that a file of `src` belongs to: its first folder or its own name.
fn layer_of(path: &Path) -> String {
    let below = path.strip_prefix("src").expect("a file of src");
    let first = below.components().next().expect("a name").as_os_str();
    first.to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// The modules of ours that `text` names, each with its offset: `crate::x` and each name of
/// `crate::{x::y, z}`.
fn modules_of(text: &str) -> Vec<(usize, &str)> {
    let mut modules = Vec::new();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        if text[..at].ends_with(|c: char| is_name(c) || c == '$') {
            continue;
        }
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut start = Some(0);
            for (i, c) in list.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = Some(i + 1),
                    c if c.is_whitespace() => {}
                    _ if start.is_some() => {
                        let name = list[i..].split(|c| !is_name(c)).next().unwrap_or("");
                        modules.push((at, name));
                        start = None;
                    }
                    _ => {}
                }
            }
        } else {
            modules.push((at, rest.split(|c| !is_name(c)).next().unwrap_or("")));
        }
    }
    modules
}

#[test]
fn finds_the_modules_a_text_names() {
    let names =
        |text| modules_of(text).into_iter().map(|(_, name)| name).collect::<Vec<_>>().join(" ");
    assert_eq!(names("use crate::engine::Error;"), "engine");
    assert_eq!(names("use crate::{\n    data::{A, B},\n    env, server::x};"), "data env server");
    assert_eq!(names("let x: crate::config::Size = crate::env::now();"), "config env");
    assert_eq!(names("use tokio::net; use mycrate::x;"), "");
}

#[test]
fn layers_use_only_what_is_below_them() {
    let mut complaints = Vec::new();
    for (path, text) in rust_files("src") {
        let layer = layer_of(&path);
        if layer == "main" || layer == "lib" {
            continue;
        }
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
            complaints.push(format!("{}: '{layer}' is no layer", path.display()));
            continue;
        };
        let code: String = text
            .lines()
            .map(|line| if line.trim_start().starts_with("//") { "" } else { line })
            .flat_map(|line| [line, "\n"])
            .collect();
        for (at, module) in modules_of(&code) {
            let is_layer = LAYERS.iter().any(|(name, _)| *name == module);
            if is_layer && module != layer && !allowed.contains(&module) {
                let line = code[..at].matches('\n').count() + 1;
                complaints.push(format!("{}:{line}: {layer} uses {module}", path.display()));
            }
        }
    }
    no_complaints(&complaints);
}

#[test]
fn files_are_short_and_open_with_what_they_are_for() {
    let mut complaints = Vec::new();
    for (path, text) in rust_files("src") {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            complaints.push(format!("{}: {lines} lines, {FILE_LINES_MAX} at most", path.display()));
        }
        if !is_test(&path) && !text.starts_with("//! ") {
            complaints.push(format!("{}: no header comment", path.display()));
        }
    }
    no_complaints(&complaints);
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let marks = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["XX", "X"],
        ["HA", "CK"],
        ["to", "do!("],
        ["unimple", "mented!("],
        ["dbg", "!("],
        ["#[ign", "ore"],
    ]
    .map(|parts| parts.concat());
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    let mut complaints = Vec::new();
    for path in ["src", "tests", "benches", "docs", "redis-tests"].into_iter().flat_map(files) {
        for (number, line) in text(&path).lines().enumerate() {
            for mark in &marks {
                let stands_alone = line.match_indices(mark.as_str()).any(|(at, _)| {
                    !is_word(line[..at].chars().next_back())
                        && (!mark.ends_with(|c: char| c.is_ascii_uppercase())
                            || !is_word(line[at + mark.len()..].chars().next()))
                });
                if stands_alone {
                    complaints.push(format!("{}:{}: {mark}", path.display(), number + 1));
                }
            }
        }
    }
    no_complaints(&complaints);
}

#[test]
fn top_level_is_as_listed() {
    let mut complaints = Vec::new();
    for entry in root().read_dir().expect("root is readable") {
        let name = entry.expect("entry is readable").file_name().to_string_lossy().into_owned();
        // `target` and `data` are what building and running leave, git ignores both.
        let left_behind = name == "target" || name == "data";
        if !name.starts_with('.') && !left_behind && !TOP_LEVEL.contains(&name.as_str()) {
            complaints.push(format!("{name} does not belong at the top level"));
        }
    }
    for name in TOP_LEVEL {
        if !root().join(name).exists() {
            complaints.push(format!("{name} is missing"));
        }
    }
    no_complaints(&complaints);
}

#[test]
fn documents_speak_of_the_project_only() {
    // Put together here, so that this file does not find itself.
    let words = [["/wo", "rk/"], ["issue", "s show"], ["/tmp", "/common"], ["work", "tree"]]
        .map(|parts| parts.concat());
    let mut complaints = Vec::new();
    let mut paths: Vec<PathBuf> =
        ["src", "tests", "benches", "docs", "redis-tests"].into_iter().flat_map(files).collect();
    paths.push("README.md".into());
    for path in paths {
        for (number, line) in text(&path).lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(word.as_str())) {
                complaints.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    no_complaints(&complaints);
}

#[test]
fn skipped_upstream_tests_are_counted_and_reasoned() {
    let skip = Path::new("redis-tests/skip");
    let mut complaints = Vec::new();
    let mut names = 0;
    for path in files("redis-tests/skip") {
        let file = path.file_name().expect("a name").to_string_lossy().into_owned();
        if !file.starts_with("unit-") {
            continue;
        }
        let mut reasoned = false;
        for line in text(&path).lines().filter(|line| !line.is_empty()) {
            if let Some(reason) = line.strip_prefix("reason: ") {
                reasoned = !reason.trim().is_empty();
            } else {
                names += 1;
                if !reasoned {
                    complaints.push(format!("{file}: '{line}' has no reason"));
                }
            }
        }
    }
    let count: usize = text(&skip.join("COUNT")).trim().parse().expect("COUNT holds a number");
    if names > count {
        complaints.push(format!("{names} tests are skipped, {count} at most"));
    }
    if names < count {
        complaints.push(format!("only {names} tests are skipped now: write that to COUNT"));
    }
    no_complaints(&complaints);
}
