//! Calls that together show everything a database holds.

use super::generator::Step;
use super::rule::{Rule, rule};
use super::servers::Servers;
use super::value::Value;

/// What shows a key of each type.
const INSPECTIONS: &[(&str, Rule)] = &[
    ("string", rule(1, "GET")),
    ("hash", rule(1, "HGETALL").sorted(2)),
    ("set", rule(1, "SMEMBERS").sorted(1)),
    ("zset", rule(1, "ZRANGE * 0 -1 WITHSCORES").floats()),
    ("list", rule(1, "LRANGE * 0 -1")),
    ("stream", rule(1, "XRANGE * - +")),
    ("stream", rule(1, "XINFO STREAM * FULL COUNT 0").info()),
    ("stream", rule(1, "XINFO GROUPS *").info()),
];

/// The calls for the present database: its keys, and type, expiry and value of each.
pub(crate) fn inspections(servers: &mut Servers) -> Vec<Step> {
    let Value::Array(keys) = servers.redis(&[b"KEYS", b"*"]) else { panic!("KEYS answers keys") };
    let all = rule(1, "SCAN 0 COUNT 1000").iterated(1).sorted(1);
    let mut steps = vec![step(&all, b"")];
    for key in keys {
        let Value::Bulk(key) = key else { panic!("keys are strings") };
        steps.push(Step::exact(&[b"TYPE", &key]));
        steps.push(step(&rule(1, "PTTL *").near(5000), &key));
        steps.push(Step::exact(&[b"OBJECT", b"ENCODING", &key]));
        let Value::Simple(kind) = servers.redis(&[b"TYPE", &key]) else { panic!("a type") };
        for (of, rule) in INSPECTIONS {
            if *of == kind {
                steps.push(step(rule, &key));
            }
        }
    }
    steps
}

/// The key stands for `*`, or behind the name.
fn step(rule: &Rule, key: &[u8]) -> Step {
    let mut words: Vec<Vec<u8>> = rule.pattern.split(' ').map(Into::into).collect();
    match words.iter().position(|word| word == b"*") {
        Some(at) => words[at] = key.to_vec(),
        None if words.len() == 1 => words.push(key.to_vec()),
        None => {}
    }
    Step { words, check: rule.check, resp3: false, pause: false }
}
