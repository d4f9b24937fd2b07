//! Scripts against a host that only echoes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;

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
            b"fail" => Ok(Err(Failed { text: "BAD call".to_owned(), counted: true })),
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

fn error_of(text: &str) -> String {
    run(text).expect_err("it fails").text
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
fn zz_dump() {
    std::thread::Builder::new().stack_size(32 << 20).spawn(dump).unwrap().join().unwrap();
}

fn dump() {
    let mut vm = vm();
    let mut out = String::new();
    for line in std::fs::read_to_string("/tmp/luatry/cases.hex").unwrap().lines() {
        let script: Vec<u8> = (0..line.len() / 2)
            .map(|i| u8::from_str_radix(&line[2 * i..2 * i + 2], 16).unwrap())
            .collect();
        let id = ScriptId::of(&script);
        let reply = match vm.compile(id, &script, 0) {
            Err(e) => {
                Reply::Error(format!("ERR Error compiling script (new function): {e}").into())
            }
            Ok(()) => match vm.run(id, &[], &[], &mut Echo, patience(0)).unwrap() {
                Ok(r) => r,
                Err(f) => Reply::Error(f.text.into()),
            },
        };
        let mut b = bytes::BytesMut::new();
        crate::protocol::ReplyEncoder::new(Version::Resp2).write(&reply, &mut b);
        out += &format!("{line} {}\n", b.iter().map(|b| format!("{b:02x}")).collect::<String>());
    }
    std::fs::write("/tmp/luatry/ours.txt", out).unwrap();
    println!("memory {}", vm.used_memory());
}
