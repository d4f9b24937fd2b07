//! Several connections that take turns: transactions, scripts, publish and subscribe. What each of
//! them gets is compared.

use super::compare::same;
use super::exceptions::prelude;
use super::generator::{Generator, Step};
use super::servers::Servers;
use super::value::{Value, Wire};

/// Connections to each server; every other one speaks RESP3.
const CONNECTIONS: usize = 4;
/// Turns after which both servers are emptied.
const CHAPTER: u64 = 400;
/// Turns that are shown where a difference is found.
const SHOWN: usize = 40;

/// What a family does in its turns.
pub(crate) type Turn = fn(&mut Conversation, &mut Generator) -> Vec<Step>;

/// One connection to each of both servers.
struct Pair {
    wires: [Wire; 2],
    resp3: bool,
    /// The calls that wait for `EXEC`, where `MULTI` was called.
    queued: Option<Vec<Step>>,
    /// What was pushed in RESP3 together with replies, by server: since 7.2 what a call publishes to
    /// its own connection comes behind its reply.
    pushed: [Vec<Value>; 2],
}

/// The reply to a call; what is pushed before it is kept.
fn reply(wire: &mut Wire, pushed: &mut Vec<Value>) -> Value {
    loop {
        match wire.receive().expect("a reply") {
            Value::Push(words) if words.first().is_some_and(is_message) => {
                pushed.push(Value::Push(words));
            }
            value => return value,
        }
    }
}

fn is_message(word: &Value) -> bool {
    let words: [&[u8]; 3] = [b"message", b"pmessage", b"smessage"];
    words.iter().any(|message| *word == Value::Bulk(message.to_vec()))
}

/// The connections, and what was said.
pub(crate) struct Conversation {
    servers: Servers,
    pairs: Vec<Pair>,
    /// Whose turn it is.
    at: usize,
    said: Vec<String>,
    /// The calls of the script that is called.
    inner: Vec<Step>,
}

/// A call whose reply is the same.
fn exact(words: &str) -> Step {
    Step::exact(&words.split(' ').map(str::as_bytes).collect::<Vec<_>>())
}

/// A call of some family, the reply of which says all, and which waits for nobody.
fn some_call(generator: &mut Generator, resp3: bool) -> Vec<Step> {
    loop {
        let step = generator.step(resp3);
        let name = step.words[0].to_ascii_uppercase();
        let may_wait = name.starts_with(b"B") && !name.starts_with(b"BIT")
            || step.words.iter().any(|word| word.eq_ignore_ascii_case(b"BLOCK"));
        if !step.stands_alone() && !may_wait {
            let mut calls = prelude(&step);
            calls.push(step);
            return calls;
        }
    }
}

impl Conversation {
    fn start() -> Self {
        let servers = Servers::start();
        let pair = |number| {
            let resp3 = number % 2 == 1;
            Pair { wires: servers.open(resp3), resp3, queued: None, pushed: Default::default() }
        };
        let pairs = (0..CONNECTIONS).map(pair).collect();
        Self { servers, pairs, at: 0, said: Vec::new(), inner: Vec::new() }
    }

    /// Has a call made by the connection whose turn it is; whether both answer the same.
    fn say(&mut self, step: &Step) -> bool {
        self.said.push(format!("{}: {step}", self.at));
        let pair = &mut self.pairs[self.at];
        let words: Vec<&[u8]> = step.words.iter().map(Vec::as_slice).collect();
        let bytes = super::support::encode(&words);
        let sides = pair.wires.iter_mut().zip(&mut pair.pushed);
        let replies = sides.map(|(wire, pushed)| {
            wire.send(&bytes).expect("the server reads");
            reply(wire, pushed)
        });
        let replies: Vec<Value> = replies.collect();
        let [redis, siltdb] = &replies[..] else { panic!("two servers") };
        let inner = std::mem::take(&mut self.inner);
        let are_same = match &inner[..] {
            [] => pair.compare(step, redis, siltdb),
            calls => all_same(calls, redis, siltdb),
        };
        if !are_same {
            self.show(redis, siltdb);
        }
        are_same
    }

    /// Whether every connection has been pushed the same: with what each of them gets before the
    /// answer to a call that tells nothing, made twice since what is pushed may come behind the first.
    fn hear(&mut self) -> bool {
        for at in 0..self.pairs.len() {
            let pair = &mut self.pairs[at];
            let heard = pair.wires.iter_mut().zip(&mut pair.pushed).map(|(wire, pushed)| {
                let mut heard = std::mem::take(pushed);
                for _ in 0..2 {
                    wire.send(&super::support::encode(&[b"PING", b"mark"])).expect("sent");
                    loop {
                        let value = wire.receive().expect("a reply");
                        if is_mark(&value) {
                            break;
                        }
                        heard.push(value);
                    }
                }
                // Which of several patterns comes first is not promised.
                heard.sort();
                Value::Array(heard)
            });
            let heard: Vec<Value> = heard.collect();
            let [redis, siltdb] = &heard[..] else { panic!("two servers") };
            if redis != siltdb {
                self.said.push(format!("{at}: what it hears"));
                self.show(redis, siltdb);
                return false;
            }
        }
        true
    }

    fn show(&self, redis: &Value, siltdb: &Value) {
        println!("\n--- a difference behind these calls, each with its connection");
        let first = self.said.len().saturating_sub(SHOWN);
        self.said[first..].iter().for_each(|said| println!("    {said}"));
        println!("  redis:  {redis}\n  siltdb: {siltdb}");
    }

    /// Both servers are empty, and no connection has a transaction or a subscription.
    fn reset(&mut self) {
        self.said.clear();
        for pair in &mut self.pairs {
            let resp3: &[u8] = if pair.resp3 { b"3" } else { b"2" };
            for wire in &mut pair.wires {
                wire.call(&[b"RESET"]).expect("a reply");
                wire.call(&[b"HELLO", resp3]).expect("a reply");
            }
            pair.queued = None;
            pair.pushed = Default::default();
        }
        self.servers.reset();
    }
}

fn is_mark(value: &Value) -> bool {
    let mark = Value::Bulk(b"mark".to_vec());
    match value {
        Value::Array(items) => items.last() == Some(&mark) && items.len() == 2,
        value => *value == mark,
    }
}

impl Pair {
    fn compare(&mut self, step: &Step, redis: &Value, siltdb: &Value) -> bool {
        let name = step.words[0].to_ascii_uppercase();
        match (&name[..], &mut self.queued) {
            (b"MULTI", queued @ None) => *queued = Some(Vec::new()),
            (b"DISCARD", queued) => *queued = None,
            (b"EXEC", queued) => {
                let steps = queued.take().unwrap_or_default();
                return all_same(&steps, redis, siltdb);
            }
            (_, Some(steps)) if *redis == Value::Simple("QUEUED".into()) => {
                steps.push(step.clone());
            }
            _ => {}
        }
        same(step, redis, siltdb)
    }
}

/// Whether the replies to several calls, in one array, are the same.
fn all_same(steps: &[Step], redis: &Value, siltdb: &Value) -> bool {
    match (redis, siltdb) {
        (Value::Array(a), Value::Array(b)) if a.len() == steps.len() && b.len() == steps.len() => {
            steps.iter().zip(a.iter().zip(b)).all(|(step, (a, b))| same(step, a, b))
        }
        (a, b) => a == b,
    }
}

/// Transactions over keys that others watch and change.
pub(crate) fn transactions(on: &mut Conversation, generator: &mut Generator) -> Vec<Step> {
    let resp3 = on.pairs[on.at].resp3;
    let queues = on.pairs[on.at].queued.is_some();
    let words = match generator.random().u8(..20) {
        0..3 => "MULTI",
        3..6 if queues => "EXEC",
        3 => "EXEC",
        6 => "DISCARD",
        7 => "UNWATCH",
        8..11 => {
            let kinds = ["str", "num", "hash", "set", "zset", "list", "stream"];
            let random = generator.random();
            let kind = kinds[random.usize(..kinds.len())];
            return vec![exact(&format!("WATCH {kind}:{}", random.u8(..6)))];
        }
        11 => "SELECT 1",
        12 => "SELECT 0",
        _ => return some_call(generator, resp3),
    };
    vec![exact(words)]
}

/// Makes the calls that its arguments hold, each behind the number of its words.
const SCRIPT: &str = "local replies, at = {}, 1 \
    while at <= #ARGV do \
    local count = tonumber(ARGV[at]) local words = {} \
    for i = 1, count do words[i] = ARGV[at + i] end \
    at = at + count + 1 \
    replies[#replies + 1] = redis.pcall(unpack(words)) \
    end return replies";

/// Scripts of a few calls of any family.
pub(crate) fn scripts(on: &mut Conversation, generator: &mut Generator) -> Vec<Step> {
    let resp3 = on.pairs[on.at].resp3;
    let mut step = Step::exact(&[b"EVAL", SCRIPT.as_bytes(), b"0"]);
    for _ in 0..generator.random().usize(1..5) {
        for call in some_call(generator, resp3) {
            step.words.push(call.words.len().to_string().into());
            step.words.extend_from_slice(&call.words);
            on.inner.push(call);
        }
    }
    vec![step]
}

/// Subscriptions of all kinds, and messages to them.
pub(crate) fn messages(on: &mut Conversation, generator: &mut Generator) -> Vec<Step> {
    let random = generator.random();
    let channel = |random: &mut fastrand::Rng| format!("c{}", random.u8(..4));
    let pattern = |random: &mut fastrand::Rng| ["c*", "c[12]", "?3"][random.usize(..3)].to_owned();
    let words = match random.u8(..16) {
        0 | 1 => format!("SUBSCRIBE {}", channel(random)),
        2 => format!("PSUBSCRIBE {}", pattern(random)),
        3 => format!("SSUBSCRIBE {}", channel(random)),
        4 => format!("UNSUBSCRIBE {}", channel(random)),
        5 => format!("PUNSUBSCRIBE {}", pattern(random)),
        6 => format!("SUNSUBSCRIBE {}", channel(random)),
        7 => format!("PUBSUB NUMSUB {} {}", channel(random), channel(random)),
        8 => "PUBSUB NUMPAT".to_owned(),
        9 => format!("SPUBLISH {} {}", channel(random), random.u16(..)),
        _ => format!("PUBLISH {} {}", channel(random), random.u16(..)),
    };
    on.at = random.usize(..CONNECTIONS);
    vec![exact(&words)]
}

/// Has the connections take so many turns; the number of differences, with which it ends.
pub(crate) fn run(turn: Turn, hears: bool, turns: u64, seed: u64) -> u64 {
    let mut generator = Generator::new(seed);
    let mut on = Conversation::start();
    on.reset();
    for number in 1..=turns {
        on.at = generator.random().usize(..CONNECTIONS);
        let steps = turn(&mut on, &mut generator);
        if !steps.iter().all(|step| on.say(step)) || (hears && !on.hear()) {
            return 1;
        }
        if number % CHAPTER == 0 {
            on.reset();
        }
    }
    println!("{turns} turns without a difference");
    0
}
