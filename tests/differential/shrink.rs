//! Finds a few calls that show a difference.

use std::collections::BTreeSet;

use super::compare::same;
use super::generator::Step;
use super::servers::Servers;
use super::value::Value;
use super::vocabulary::{ALONE, KINDS};

/// Times that calls are repeated.
const TRIES_MAX: usize = 400;

/// A few of these calls, the last one among them, with the replies to the last one, if the
/// difference shows again.
pub(crate) fn shrink(servers: &mut Servers, history: &[Step]) -> Option<(Vec<Step>, Value, Value)> {
    let mut kept = related(history);
    let mut found = replay(servers, &kept);
    if found.is_none() {
        kept = history.to_vec();
        found = replay(servers, &kept);
    }
    let mut found = found?;
    let mut tries = 0;
    let mut size = (kept.len() - 1).div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < kept.len() - 1 && tries < TRIES_MAX {
            tries += 1;
            let end = (at + size).min(kept.len() - 1);
            let fewer = [&kept[..at], &kept[end..]].concat();
            match replay(servers, &fewer) {
                Some(again) => (kept, found) = (fewer, again),
                None => at = end,
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    Some((kept, found.0, found.1))
}

/// The replies to the last of these calls, sent to empty servers, where they differ.
fn replay(servers: &mut Servers, steps: &[Step]) -> Option<(Value, Value)> {
    servers.reset();
    let (last, before) = steps.split_last()?;
    let mut from = 0;
    for at in 0..before.len() {
        let ends = before[at].pause
            || before[at].is_exchange()
            || before.get(at + 1).is_none_or(Step::is_exchange)
            || before.get(at + 1).is_none_or(|next| next.resp3 != before[at].resp3);
        if ends {
            let calls: Vec<Step> =
                before[from..=at].iter().filter(|s| s.check.cursor.is_none()).cloned().collect();
            servers.run(&calls);
            from = at + 1;
        }
    }
    let replies = servers.run(std::slice::from_ref(last));
    let (redis, siltdb) = replies.into_iter().next()?;
    (!same(last, &redis, &siltdb)).then_some((redis, siltdb))
}

/// The calls that have to do with the keys of the last one, over others if need be.
pub(crate) fn related(history: &[Step]) -> Vec<Step> {
    let mut keys: BTreeSet<Vec<u8>> = BTreeSet::new();
    let mut kept = Vec::new();
    for (at, step) in history.iter().enumerate().rev() {
        let of_step: Vec<&Vec<u8>> = step.words.iter().filter(|word| is_key(word)).collect();
        let name = step.words[0].to_ascii_uppercase();
        let concerns_all = matches!(&name[..], b"SELECT" | b"SWAPDB");
        let is_last = at == history.len() - 1;
        if is_last || concerns_all || of_step.iter().any(|key| keys.contains(*key)) {
            keys.extend(of_step.into_iter().cloned());
            kept.push(step.clone());
        }
    }
    kept.reverse();
    kept
}

fn is_key(word: &[u8]) -> bool {
    KINDS
        .iter()
        .chain(ALONE)
        .any(|kind| word.strip_prefix(kind.as_bytes()).is_some_and(|rest| rest.starts_with(b":")))
}
