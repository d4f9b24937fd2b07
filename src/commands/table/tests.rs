use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::commands::{Arg, ArgKind};

#[test]
fn entries_are_complete() {
    let mut names = BTreeSet::new();
    for command in all() {
        let (name, spec) = (command.full_name, command.spec);
        assert!(names.insert(name), "{name} is there twice");
        let is_of_names = |byte: u8| byte.is_ascii_lowercase() || b"-_".contains(&byte);
        assert!(spec.name.bytes().all(is_of_names), "{name}");
        assert!(!spec.summary.is_empty(), "{name}: no summary");
        assert!(!spec.complexity.is_empty(), "{name}");
        assert!(spec.subcommands.iter().all(|sub| sub.subcommands.is_empty()), "{name}");
        let is_container = matches!(spec.run, Run::Container);
        assert!(!is_container || !spec.subcommands.is_empty(), "{name}: an empty container");
        for arg in spec.args {
            check_arg(name, arg, spec.keys.len());
        }
    }
}

#[test]
fn elements_are_named_where_the_arguments_say() {
    let at = |name: &str| match lookup(name.as_bytes(), None) {
        Lookup::Found(command) => command.element_at,
        other => panic!("{name}: {other:?}"),
    };
    let expected = [
        ("hset", Some(2)),
        ("hmget", Some(2)),
        ("hincrby", Some(2)),
        ("sadd", Some(2)),
        ("sismember", Some(2)),
        ("zadd", Some(3)),
        ("zincrby", Some(3)),
        ("zscore", Some(2)),
        ("geoadd", Some(4)),
        ("get", None),
        ("smove", None),
        ("xadd", None),
        ("hexpire", None),
        ("hrandfield", None),
        ("sinter", None),
    ];
    for (name, word) in expected {
        assert_eq!(at(name), word, "{name}");
    }
}

fn check_arg(command: &str, arg: &Arg, key_specs: usize) {
    let is_token = matches!(arg.kind, ArgKind::PureToken);
    assert!(!is_token || arg.token.is_some(), "{command}: {}", arg.name);
    assert!(arg.key_spec.is_none_or(|i| usize::from(i) < key_specs), "{command}: {}", arg.name);
    for child in arg.kind.children() {
        check_arg(command, child, key_specs);
    }
}

#[test]
fn lookup_finds_by_any_case() {
    for command in all() {
        let mut words = command.full_name.split('|').map(|word| word.to_ascii_uppercase());
        let name = words.next().expect("a name");
        let sub = words.next();
        let found = lookup(name.as_bytes(), sub.as_deref().map(str::as_bytes));
        assert!(matches!(found, Lookup::Found(c) if c.id == command.id), "{}", command.full_name);
    }
    assert!(matches!(lookup(b"nosuch", None), Lookup::Unknown));
    assert!(matches!(lookup(&[b'x'; 100], None), Lookup::Unknown));
    assert!(matches!(lookup(b"client", Some(b"nosuch")), Lookup::UnknownSubcommand(_)));
    assert!(matches!(lookup(b"client", None), Lookup::Found(c) if c.full_name == "client"));
    assert!(matches!(lookup(b"ping", Some(b"x")), Lookup::Found(c) if c.full_name == "ping"));
}

/// Where Redis 7.4 certainly differs from the facts, which come partly from Valkey 8.0: what to
/// take instead, as (command, fact), with the reason.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    ("client|kill", "arguments", "no type `primary`; MAXAGE is of 7.4"),
    ("multi", "flags", "`no_multi` is Valkey's: in Redis a nested one does not abort"),
    ("watch", "flags", "as of MULTI"),
    ("cluster|setslot", "arguments", "TIMEOUT is of Valkey 8.0"),
    ("cluster|setslot", "flags", "`may_replicate` is Valkey's"),
    ("cluster|slots", "deprecated", "Valkey has taken the deprecation back"),
    ("bgsave", "arguments", "CANCEL is Valkey's"),
    ("bitcount", "arguments", "a start without an end is Valkey's"),
    ("zscan", "arguments", "the facts name NOSCORES, which Redis 7.4 does not have"),
];

/// The facts are not part of the repository: they are looked for beside the checkout.
fn facts() -> Option<Vec<Value>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let file = "shared/data/redis-commands.jsonl";
    let found = ["..", "../.."].iter().map(|up| root.join(up).join(file)).find(|f| f.exists());
    let Some(path) = found else {
        println!("skipped: no command facts ({file}) beside the checkout");
        return None;
    };
    let text = crate::env::Fs::read(&crate::env::RealFs, &path).expect("the facts can be read");
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Some(lines.map(|line| serde_json::from_slice(line).expect("one JSON object a line")).collect())
}

#[test]
fn entries_equal_the_facts() {
    let Some(facts) = facts() else { return };
    let mut wrong = Vec::new();
    for command in all() {
        let name = command.full_name.replace('|', " ");
        let Some(fact) = facts.iter().find(|fact| fact["name"] == name.as_str()) else {
            wrong.push(format!("{name}: not in the facts"));
            continue;
        };
        let mut check = |what: &str, ours: String, theirs: String| {
            let differs = |(n, w, _): &(&str, &str, &str)| *n == command.full_name && *w == what;
            if ours != theirs && !DIFFERENCES.iter().any(differs) {
                wrong.push(format!("{name}: {what}\n  ours  {ours}\n  facts {theirs}"));
            }
        };
        let spec = command.spec;
        check("arity", spec.arity.signed().to_string(), fact["arity"].to_string());
        check("group", spec.group.name().replace('-', "_"), text(&fact["group"]));
        check("since", spec.since.to_owned(), text(&fact["since"]));
        check("flags", sorted(flag_names(command.flags)), sorted(texts(&fact["flags"])));
        check("acl", sorted(command.categories.names().map(str::to_owned)), fact_categories(fact));
        check("keys", keys(spec.keys), fact_keys(&fact["key_specs"]));
        check("arguments", args(spec.args), fact_args(&fact["arguments"]));
        let deprecated = spec.deprecated.map_or("", |(since, _)| since);
        check("deprecated", deprecated.to_owned(), text(&fact["deprecated_since"]));
    }
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn sorted(words: impl IntoIterator<Item = String>) -> String {
    let words: BTreeSet<String> = words.into_iter().collect();
    words.into_iter().collect::<Vec<_>>().join(" ")
}

/// All flags of the facts; `movablekeys` is not among them, it is derived there as well.
fn flag_names(flags: Flags) -> Vec<String> {
    let hidden = [
        (Flags::SENTINEL, "sentinel"),
        (Flags::MAY_REPLICATE, "may_replicate"),
        (Flags::PROTECTED, "protected"),
        (Flags::TOUCHES_ARBITRARY_KEYS, "touches_arbitrary_keys"),
    ];
    let all = Flags::SHOWN.iter().chain(&hidden);
    let set = all.filter(|(flag, name)| flags.has(*flag) && *name != "movablekeys");
    set.map(|(_, name)| (*name).to_owned()).collect()
}

/// The facts name only what does not follow from the flags.
fn fact_categories(fact: &Value) -> String {
    let mut categories = texts(&fact["acl_categories"]);
    let flags = texts(&fact["flags"]);
    for (flag, category) in [
        ("write", "write"),
        ("readonly", "read"),
        ("admin", "admin"),
        ("admin", "dangerous"),
        ("blocking", "blocking"),
        ("pubsub", "pubsub"),
        ("fast", "fast"),
    ] {
        if flags.iter().any(|f| f == flag) {
            categories.push(category.to_owned());
        }
    }
    if categories.iter().any(|category| category == "scripting") {
        categories.retain(|category| category != "read");
    }
    if !flags.iter().any(|flag| flag == "fast") {
        categories.push("slow".to_owned());
    }
    sorted(categories)
}

fn keys(specs: &[KeySpec]) -> String {
    let one = |spec: &KeySpec| {
        let flags = sorted(spec.flags.names().map(str::to_uppercase));
        let begin = match spec.begin {
            BeginSearch::Index(index) => format!("index {index}"),
            BeginSearch::Keyword { keyword, start, .. } => format!("keyword {keyword} {start}"),
            BeginSearch::Unknown => "unknown".to_owned(),
        };
        let find = match spec.find {
            FindKeys::Range { last, step, limit } => format!("range {last} {step} {limit}"),
            FindKeys::KeyNum { index, first, step } => format!("keynum {index} {first} {step}"),
            FindKeys::Unknown => "unknown".to_owned(),
        };
        format!("[{flags}: {begin}, {find}]")
    };
    specs.iter().map(one).collect()
}

fn fact_keys(specs: &Value) -> String {
    let one = |spec: &Value| {
        let flags = sorted(texts(&spec["flags"]));
        let (begin, find) = (&spec["begin_search"], &spec["find_keys"]);
        let begin = if begin["index"].is_object() {
            format!("index {}", begin["index"]["pos"])
        } else if begin["keyword"].is_object() {
            let search = &begin["keyword"];
            format!("keyword {} {}", text(&search["keyword"]), search["startfrom"])
        } else {
            "unknown".to_owned()
        };
        let (range, number) = (&find["range"], &find["keynum"]);
        let find = if range.is_object() {
            format!("range {} {} {}", range["lastkey"], range["step"], range["limit"])
        } else if number.is_object() {
            format!("keynum {} {} {}", number["keynumidx"], number["firstkey"], number["step"])
        } else {
            "unknown".to_owned()
        };
        format!("[{flags}: {begin}, {find}]")
    };
    specs.as_array().into_iter().flatten().map(one).collect()
}

fn args(list: &[Arg]) -> String {
    let one = |arg: &Arg| {
        describe(
            [
                arg.name.to_owned(),
                arg.kind.name().to_owned(),
                arg.token.unwrap_or_default().to_owned(),
                arg.since.unwrap_or_default().to_owned(),
                arg.deprecated_since.unwrap_or_default().to_owned(),
                arg.key_spec.map(|index| index.to_string()).unwrap_or_default(),
            ],
            [arg.optional, arg.multiple, arg.multiple_token],
            &args(arg.kind.children()),
        )
    };
    list.iter().map(one).collect()
}

fn fact_args(list: &Value) -> String {
    let one = |arg: &Value| {
        let set = |name: &str| arg[name] == true || arg[name] == "true";
        describe(
            [
                // Redis writes all of them in lower case.
                text(&arg["name"]).to_lowercase(),
                text(&arg["type"]),
                text(&arg["token"]),
                text(&arg["since"]),
                text(&arg["deprecated_since"]),
                arg["key_spec_index"].as_u64().map(|index| index.to_string()).unwrap_or_default(),
            ],
            [set("optional"), set("multiple"), set("multiple_token")],
            &fact_args(&arg["arguments"]),
        )
    };
    list.as_array().into_iter().flatten().map(one).collect()
}

fn describe(words: [String; 6], flags: [bool; 3], children: &str) -> String {
    let flags = flags.map(|flag| if flag { '1' } else { '0' }).iter().collect::<String>();
    format!("<{} {flags} {children}>", words.join(" "))
}

#[test]
fn no_two_flags_are_one() {
    let hidden = [
        Flags::PROTECTED,
        Flags::TOUCHES_ARBITRARY_KEYS,
        Flags::SENTINEL,
        Flags::HEAVY,
        Flags::NOT_QUEUED,
        Flags::SUBSCRIBER,
        Flags::PUSHES,
        Flags::JOINS,
    ];
    let shown = Flags::SHOWN.iter().map(|(flag, _)| *flag);
    let all: Vec<Flags> = shown.chain(hidden).collect();
    for (number, flag) in all.iter().enumerate() {
        let others = all.iter().enumerate().filter(|(other, _)| *other != number);
        assert!(others.into_iter().all(|(_, other)| !other.has(*flag)), "{flag:?}");
    }
}
