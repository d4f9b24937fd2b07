//! Scripts against a host that only echoes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::protocol::{Reply, Version};

/// Answers each call with its words; `fail` fails, `again` cannot be carried out.
struct Echo;

impl Host for Echo {
    fn call(
        &mut self,
        words: Vec<Bytes>,
        _version: Version,
    ) -> Result<Result<Reply, Failed>, Stop> {
        match &*words[0] {
            b"fail" => Ok(Err(Failed { text: b"BAD call".to_vec(), counted: true })),
            b"again" => Err(Stop::Again),
            _ => Ok(Ok(Reply::array(words))),
        }
    }

    fn may_call(&mut self, words: &[Bytes]) -> Option<bool> {
        (words[0] != "nosuch").then_some(true)
    }
}

/// Stops at the look of that number.
struct Looks(AtomicU32);

impl Watch for Looks {
    fn look(&self) -> Option<Stop> {
        (self.0.fetch_sub(1, Ordering::Relaxed) == 1).then_some(Stop::Killed)
    }
}

fn patience(looks: u32) -> Arc<dyn Watch> {
    Arc::new(Looks(AtomicU32::new(looks)))
}

fn vm() -> Vm {
    Vm::new(Language { version: "7.4.0", number: 0x0007_0400 }, 64 << 20).expect("a machine")
}

fn run_on(vm: &mut Vm, text: &str, looks: u32) -> Result<Outcome, Stop> {
    let id = ScriptId::of(text.as_bytes());
    vm.compile(id, text.as_bytes(), 0).expect("it compiles");
    vm.run(id, &[], &[], &mut Echo, patience(looks))
}

fn run(text: &str) -> Outcome {
    run_on(&mut vm(), text, 0).expect("it was not stopped")
}

/// What a script answers that returns one string.
fn text_of(text: &str) -> String {
    match run(text) {
        Ok(Reply::Bulk(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        other => panic!("{text}: {other:?}"),
    }
}

/// Runs a test where there is as much stack as the server's threads have.
fn with_stack(test: fn()) {
    let thread = std::thread::Builder::new().stack_size(16 << 20).spawn(test);
    thread.expect("a thread").join().expect("the test passes");
}

fn error_of(text: &str) -> String {
    shown(run(text).expect_err("it fails"))
}

fn shown(failed: Failed) -> String {
    String::from_utf8(failed.text).expect("a text")
}

#[test]
fn errors_say_where_they_were_raised() {
    let id = |text: &str| ScriptId::of(text.as_bytes());
    for (text, error) in [
        ("error('x')", "ERR user_script:1: x"),
        (
            "\n\nfoo()",
            "ERR user_script:3: Script attempted to access nonexistent global variable 'foo'",
        ),
        (
            "cjson.decode('x')",
            "ERR user_script:1: Expected value but found invalid token at character 1",
        ),
        ("redis.call('fail')", "BAD call"),
        ("return redis.call()", "ERR Please specify at least one argument for this redis lib call"),
        ("rawset(_G, 'a', 1)", "ERR Attempt to modify a readonly table"),
        (
            "string.rep()",
            "ERR user_script:1: bad argument #1 to 'rep' (string expected, got no value)",
        ),
    ] {
        let line = text.chars().take_while(|c| *c == '\n').count() + 1;
        let expected = format!("{error} script: {}, on @user_script:{line}.", id(text));
        assert_eq!(error_of(text), expected);
    }
}

#[test]
fn a_call_of_nothing_is_an_error_that_pcall_answers() {
    let text = "ERR Please specify at least one argument for this redis lib call";
    assert_eq!(error_of("return redis.pcall()"), text);
    assert!(error_of("return redis.acl_check_cmd()").starts_with(text));
}

/// As Redis 7.2 and later have it: words of calls as integers where they are whole, all others as the
/// language has them.
#[test]
fn numbers_become_words() {
    for (number, text) in [
        ("291709823336425920", "291709823336425920"),
        ("-4611686018427387904", "-4611686018427387904"),
        ("4611686018427388928", "4611686018427389000"),
        ("-1 * 0", "0"),
        ("0.1", "0.1"),
        ("1e300", "1e+300"),
    ] {
        assert_eq!(text_of(&format!("return redis.call('echo', {number})[2]")), text);
    }
    for (number, text) in [("0.1", "'0.1'"), ("2^60", "'1.1529215046068e+18'"), ("7", "'7'")] {
        let script = format!("return tostring(redis.sha1hex({number}) == redis.sha1hex({text}))");
        assert_eq!(text_of(&script), "true", "{number}");
    }
}

#[test]
fn what_is_caught_is_a_text_as_of_any_other_error() {
    for (call, text) in [
        ("redis.call, 'fail'", "BAD call"),
        ("redis.sha1hex", "ERR wrong number of arguments"),
        ("redis.setresp, 5", "ERR RESP version must be 2 or 3."),
        ("cjson.decode, 'x'", "Expected value but found invalid token at character 1"),
        ("error, 'a'", "a"),
        ("string.rep", "bad argument #1 to '?' (string expected, got no value)"),
    ] {
        let script = format!("local ok, e = pcall({call}) return type(e) .. ' ' .. e");
        assert_eq!(text_of(&script), format!("string {text}"));
    }
    let script =
        "local t = redis.pcall('fail') return t.err .. tostring(t.ignore_error_stats_update)";
    assert_eq!(text_of(script), "BAD calltrue");
    let script = "local ok, e = xpcall(function() cjson.encode() end, function(e) return type(e) end) \
                  return e";
    assert_eq!(text_of(script), "string");
    let script = "local co = coroutine.create(function() cjson.encode() end) \
                  local ok, e = coroutine.resume(co) return type(e)";
    assert_eq!(text_of(script), "string");
}

#[test]
fn nothing_that_scripts_share_can_be_changed() {
    for script in [
        "x = 1",
        "redis = 1",
        "_G.x = 1",
        "KEYS = {}",
        "redis.call = 1",
        "string.upper = 1",
        "math.x = 1",
        "table.x = 1",
        "coroutine.x = 1",
        "cjson.encode = 1",
        "os.clock = 1",
        "rawset(_G, 'x', 1)",
        "rawset(redis, 'x', 1)",
        "table.insert(redis, 1)",
        "table.insert(redis, 1, 1)",
        "setmetatable(_G, {})",
        "setmetatable(string, {})",
        "getmetatable(_G).__index = 1",
        "rawset(getmetatable(_G), '__index', 1)",
        "getmetatable('').__index = 1",
        "for _, t in pairs(_G) do if type(t) == 'table' then t.x = 1 end end",
    ] {
        let error = error_of(script);
        assert!(error.contains("Attempt to modify a readonly table"), "{script}: {error}");
    }
    // Neither the real tables nor their metatables can be reached.
    let script = "assert(getmetatable(redis) == nil and getmetatable(string) == nil) \
                  for k, v in pairs(string) do assert(rawget(string, k) == v) end \
                  for k, v in next, string do assert(string[k] == v) end return _G._G == _G";
    assert_eq!(run(script), Ok(Reply::Integer(1)));
    let mut vm = vm();
    assert_eq!(run_on(&mut vm, "local t = {} t.x = 1 return t.x", 0), Ok(Ok(Reply::Integer(1))));
}

#[test]
fn dangerous_functions_are_not_there() {
    for name in [
        "print", "dofile", "loadfile", "require", "module", "io", "debug", "package", "newproxy",
        "getfenv", "setfenv",
    ] {
        let error = error_of(&format!("return {name}"));
        let expected = format!("Script attempted to access nonexistent global variable '{name}'");
        assert!(error.contains(&expected), "{name}: {error}");
    }
    let script = "local f, e = loadstring(string.dump(function() end)) return e";
    assert!(text_of(script).contains("unexpected symbol near 'char(27)'"));
    assert_eq!(run("return loadstring('return KEYS ~= nil')()"), Ok(Reply::Integer(1)));
    assert!(error_of("loadstring('x = 1')()").contains("readonly table"));
}

#[test]
fn replies_become_values_and_values_replies() {
    struct Answers(Reply);
    impl Host for Answers {
        fn call(&mut self, _: Vec<Bytes>, _: Version) -> Result<Result<Reply, Failed>, Stop> {
            Ok(Ok(self.0.clone()))
        }
        fn may_call(&mut self, _: &[Bytes]) -> Option<bool> {
            None
        }
    }
    let pairs = || vec![("a".into(), Reply::Integer(1))];
    let bulk = |text: &'static str| Reply::from(text);
    let verbatim = || Reply::Verbatim("mkd", "text".into());
    for (answer, resp2, resp3) in [
        (Reply::Integer(7), Reply::Integer(7), Reply::Integer(7)),
        (Reply::OK, Reply::OK, Reply::OK),
        (Reply::Null, Reply::Null, Reply::Null),
        (Reply::Bool(true), Reply::Integer(1), Reply::Bool(true)),
        (Reply::Double(2.5), bulk("2.5"), Reply::Double(2.5)),
        (Reply::BigNumber("12".into()), bulk("12"), Reply::BigNumber("12".into())),
        (verbatim(), bulk("text"), verbatim()),
        (
            Reply::Map(pairs()),
            Reply::Array(vec![bulk("a"), Reply::Integer(1)]),
            Reply::Map(pairs()),
        ),
        (Reply::set([bulk("a")]), Reply::array([bulk("a")]), Reply::set([bulk("a")])),
    ] {
        for (version, expected) in [(2, resp2), (3, resp3)] {
            let text = format!("redis.setresp({version}) return redis.call('x')");
            let id = ScriptId::of(text.as_bytes());
            let mut vm = vm();
            vm.compile(id, text.as_bytes(), 0).expect("it compiles");
            let reply = vm.run(id, &[], &[], &mut Answers(answer.clone()), patience(0));
            assert_eq!(reply, Ok(Ok(expected)), "{answer:?} with {version}");
        }
    }
    for (script, reply) in [
        (
            "return {1, 2.9, 'x', nil, 4}",
            Reply::Array(vec![Reply::Integer(1), Reply::Integer(2), bulk("x")]),
        ),
        ("return {0/0, 1/0, -3.99}", Reply::array([i64::MIN, i64::MIN, -3])),
        ("return function() end", Reply::Null),
        ("return {double='x'}", Reply::EMPTY),
        ("return {big_number='1\\r2'}", Reply::BigNumber("1 2".into())),
    ] {
        assert_eq!(run(script), Ok(reply), "{script}");
    }
}

#[test]
fn a_reply_may_not_nest_without_end() {
    with_stack(|| {
        let Ok(mut reply) = run("local t = {} t[1] = t return t") else { panic!("it fails") };
        let mut depth = 0;
        while let Reply::Array(mut items) = reply {
            reply = items.remove(0);
            depth += 1;
        }
        assert_eq!(reply, Reply::error("ERR reached lua stack limit"));
        assert_eq!(depth, 512);
    });
}

#[test]
fn words_of_calls() {
    let script = "return redis.call('a', 1, 0.1, -7, 1e20, 2^53, 1e15)";
    let words = ["a", "1", "0.1", "-7", "1e+20", "9007199254740992", "1000000000000000"];
    assert_eq!(run(script), Ok(Reply::array(words)));
    let bad = "ERR Lua redis lib command arguments must be strings or integers";
    assert!(error_of("redis.call('a', {})").starts_with(bad));
    assert!(error_of("redis.call('a', nil, 'b')").starts_with(bad));
    let script =
        "local t = {} for i = 1, 7900 do t[i] = 'x' .. i end return #redis.call(unpack(t))";
    assert_eq!(run(script), Ok(Reply::Integer(7900)));
}

#[test]
fn a_stopped_script_ends_whatever_it_catches() {
    for script in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do pcall(redis.call, 'a') end",
        "local f f = function() pcall(f) f() end f()",
        "while true do coroutine.wrap(function() pcall(function() while true do end end) end)() end",
        "xpcall(function() while true do end end, function() while true do end end)",
        "setmetatable({}, {__index = function() while true do end end}).x = nil while true do end",
    ] {
        let mut vm = vm();
        assert_eq!(run_on(&mut vm, script, 3), Err(Stop::Killed), "{script}");
        assert_eq!(run_on(&mut vm, "return 1", 0), Ok(Ok(Reply::Integer(1))), "{script}");
    }
    let script = "while true do pcall(redis.call, 'again') end";
    assert_eq!(run_on(&mut vm(), script, 0), Err(Stop::Again));
}

#[test]
fn memory_is_bounded() {
    let mut vm = Vm::new(Language { version: "7.4.0", number: 0 }, 4 << 20).expect("a machine");
    for script in [
        "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
        "return ('x'):rep(1e9)",
        "return cjson.encode(('x'):rep(3e6))",
        "local s = 'x' while true do s = s .. s end",
    ] {
        let failed = run_on(&mut vm, script, 0).expect("not stopped").expect_err("it fails");
        let error = shown(failed);
        assert!(error.contains("not enough memory"), "{script}: {error}");
        assert_eq!(run_on(&mut vm, "return 1", 0), Ok(Ok(Reply::Integer(1))));
    }
    let deep = "local s = ('a'):rep(1e5) return s:find(('.?'):rep(1e5))";
    assert!(error_of(deep).contains("pattern too complex"));
}

#[test]
fn random_numbers_are_those_of_redis() {
    let script = "math.randomseed(12345) return table.concat({math.random(), math.random(), \
                  math.random(1000000), math.random(-5, 8)}, ' ')";
    assert_eq!(text_of(script), "0.22532851259472 0.91918306887112 206842 5");
    let mut vm = vm();
    let next = |vm: &mut Vm| run_on(vm, "return tostring(math.random())", 0);
    assert_ne!(next(&mut vm), next(&mut vm));
}

#[test]
fn nested_texts_are_taken_apart_up_to_a_depth() {
    with_stack(|| {
        let ok = |script: &str| assert_eq!(run(script), Ok(Reply::Integer(1)), "{script}");
        ok("return type(cjson.decode(('['):rep(1000) .. (']'):rep(1000))) == 'table'");
        let error = error_of("cjson.decode_max_depth(1e6) cjson.decode(('['):rep(1e6))");
        assert!(error.contains("Found too many nested data structures (1001)"), "{error}");
        let error = error_of("local t = {} t[1] = t cjson.encode_max_depth(1e6) cjson.encode(t)");
        assert!(error.contains("Cannot serialise, excessive nesting (1001)"), "{error}");
        let error = error_of("cmsgpack.unpack(('\\145'):rep(1e6))");
        assert!(error.contains("stack overflow"), "{error}");
        ok(
            "local t = cjson.decode(cjson.encode({a={1,2,{b=cjson.null}}})) return t.a[3].b == cjson.null",
        );
        ok(
            "cjson.decode_array_with_array_mt(true) return cjson.encode(cjson.decode('[[],{}]')) == '[[],{}]'",
        );
    });
}

#[test]
fn libraries_are_loaded_and_called() {
    let mut vm = vm();
    let code = b"#!lua name=lib\nlocal n = 40\n\
                 redis.register_function('add', function(keys, args) return n + #keys + #args end)\n\
                 redis.register_function{function_name='ro', callback=function() return 1 end,\n\
                 description='d', flags={'no-writes'}}";
    let name = LibraryHeader::of(code).expect("a header").name;
    assert_eq!(name, "lib");
    let found = vm.try_library(code, patience(0)).expect("it loads");
    let names: Vec<_> = found.iter().map(|function| &function.name[..]).collect();
    assert_eq!(names, [b"add" as &[u8], b"ro"]);
    assert!(found[1].flags.no_writes && found[1].description.as_deref() == Some(b"d"));
    assert!(vm.find_function(b"add").is_none(), "only tried");
    vm.keep_library(&name, code, patience(0)).expect("it loads");
    let word = [Bytes::from_static(b"x")];
    let called = vm.call_function(b"ADD", &word, &word, &mut Echo, patience(0));
    assert_eq!(called, Some(Ok(Ok(Reply::Integer(42)))));
    for (body, error) in [
        ("x x", "ERR Error compiling function: user_function:2: '=' expected near 'x'"),
        ("return 1", "ERR No functions registered"),
        (
            "redis.call('x')",
            "ERR Error registering functions: ERR user_function:2: Script attempted to access \
             nonexistent global variable 'call'",
        ),
        (
            "math.abs(1)",
            "ERR Error registering functions: ERR user_function:2: Script attempted to access \
             nonexistent global variable 'math'",
        ),
        (
            "redis.register_function('a')",
            "ERR Error registering functions: ERR calling redis.register_function with a single \
             argument is only applicable to Lua table (representing named arguments).",
        ),
        (
            "redis.x = 1",
            "ERR Error registering functions: ERR user_function:2: Attempt to modify a readonly table",
        ),
    ] {
        let code = format!("#!lua name=other\n{body}");
        let loaded = vm.try_library(code.as_bytes(), patience(0));
        assert_eq!(loaded, Err(LoadError::Failed(error.to_owned())), "{body}");
    }
    let endless = b"#!lua name=other\nwhile true do end";
    let loaded = vm.try_library(endless, patience(2));
    assert_eq!(loaded, Err(LoadError::Stopped(Stop::Killed)));
    let called = vm.call_function(b"add", &[], &[], &mut Echo, patience(0));
    assert_eq!(called, Some(Ok(Ok(Reply::Integer(40)))), "the globals are the usual ones again");
    vm.retain_libraries(|_, _| false);
    assert!(vm.find_function(b"add").is_none());
}

#[test]
fn first_lines_of_libraries() {
    for (line, error) in [
        ("x", "ERR Missing library metadata"),
        ("#!lua", "ERR Invalid library metadata"),
        ("#!lua name=\"a\n", "ERR Invalid library metadata"),
        ("#!lua\n", "ERR Library name was not given"),
        ("#!lua a=b\n", "ERR Invalid metadata value given: a=b"),
        ("#!js name=a\n", "ERR Engine 'js' not found"),
        (
            "#!lua name=a name=b\n",
            "ERR Invalid metadata value, name argument was given multiple times",
        ),
        (
            "#!lua name=a-b\n",
            "ERR Library names can only contain letters, numbers, or underscores(_) and must be at \
             least one character long",
        ),
    ] {
        assert_eq!(LibraryHeader::of(line.as_bytes()), Err(error.to_owned()), "{line}");
    }
    assert_eq!(LibraryHeader::of(b"#!LUA NAME=\"a_1\"\n").expect("a header").name, "a_1");
}

/// Runs a script over any bytes as `ARGV[1]`; it may fail, but nothing else.
fn over_bytes(vm: &mut Vm, text: &str, bytes: Vec<u8>) {
    let id = ScriptId::of(text.as_bytes());
    vm.compile(id, text.as_bytes(), 0).expect("it compiles");
    let ended = vm.run(id, &[], &[bytes.into()], &mut Echo, patience(0));
    assert!(ended.is_ok(), "not stopped");
    assert_eq!(run_on(vm, "return 1", 0), Ok(Ok(Reply::Integer(1))));
    assert!(vm.used_memory() < 64 << 20);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_taken_apart(bytes in prop::collection::vec(any::<u8>(), 0..64), format in "[<>!bBhHlLiITsfdcx0-9 ]{0,8}") {
        let mut vm = vm();
        over_bytes(&mut vm, "return {cmsgpack.unpack(ARGV[1])}", bytes.clone());
        over_bytes(&mut vm, "return cjson.decode(ARGV[1])", bytes.clone());
        over_bytes(&mut vm, &format!("return {{struct.unpack('{format}', ARGV[1])}}"), bytes);
    }

    #[test]
    fn what_is_packed_is_unpacked(value in json(), numbers in prop::collection::vec(any::<f64>(), 0..4)) {
        let text = value.to_string();
        let mut vm = vm();
        let script = "return cjson.encode(cmsgpack.unpack(cmsgpack.pack(cjson.decode(ARGV[1]))))";
        let id = ScriptId::of(script.as_bytes());
        vm.compile(id, script.as_bytes(), 0).expect("it compiles");
        let ended = vm.run(id, &[], &[text.clone().into()], &mut Echo, patience(0));
        let Ok(Ok(Reply::Bulk(encoded))) = ended else { panic!("{text}: {ended:?}") };
        let decoded: serde_json::Value = serde_json::from_slice(&encoded).expect("it is JSON");
        prop_assert_eq!(decoded, value);
        let items: Vec<String> = numbers.iter().map(|n| format!("{n:e}")).filter(|n| n.parse::<f64>().is_ok_and(f64::is_finite)).collect();
        let list = items.join(",");
        let script = format!("return {{struct.unpack(('d'):rep({n}), struct.pack(('d'):rep({n}), {list}))}}", n = items.len());
        let script = if items.is_empty() { "return 1".to_owned() } else { script };
        prop_assert!(matches!(run_on(&mut vm, &script, 0), Ok(Ok(_))));
    }
}

/// JSON that comes back as it is: no empty containers, no null, short numbers.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i32>().prop_map(serde_json::Value::from),
        "\\PC{0,12}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map("[a-z]{1,4}", inner, 1..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}
