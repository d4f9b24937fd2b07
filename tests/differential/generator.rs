//! Makes calls from the rules of the families.

use super::families::{FAMILIES, SINCE_7_4};
use super::judge::{Judge, judge};
use super::pattern::{Node, parse};
use super::rule::{Check, Rule};
use super::vocabulary::{ODD_WORDS, Vocabulary};

/// Times that what repeats is repeated at most, as a rule.
const REPEATS_MAX: usize = 4;
/// And now and then, so that collections outgrow a record.
const MANY_REPEATS_MAX: usize = 40;
/// Once in so many calls a word of it is distorted.
const DISTORTED: u32 = 25;

/// A call.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) words: Vec<Vec<u8>>,
    pub(crate) check: Check,
    /// Sent on the connections that speak RESP3.
    pub(crate) resp3: bool,
    /// Something ends within milliseconds behind it.
    pub(crate) pause: bool,
}

impl Step {
    /// A call whose replies are the same.
    pub(crate) fn exact(words: &[&[u8]]) -> Self {
        let words = words.iter().map(|word| word.to_vec()).collect();
        Self { words, check: Check::default(), resp3: false, pause: false }
    }

    /// The same call on the connection of another one.
    pub(crate) fn like(self, other: &Self) -> Self {
        Self { resp3: other.resp3, ..self }
    }

    /// Its words, borrowed.
    pub(crate) fn words_of(&self) -> Vec<&[u8]> {
        self.words.iter().map(Vec::as_slice).collect()
    }

    /// Whether each server takes over the value of the other: no command of either.
    pub(crate) fn is_exchange(&self) -> bool {
        self.words[0] == b"EXCHANGE"
    }

    /// Whether the replies of others may not be under way with its own.
    pub(crate) fn stands_alone(&self) -> bool {
        self.pause
            || self.is_exchange()
            || self.check.alone
            || self.check.deletes
            || self.check.cursor.is_some()
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<String> = self
            .words
            .iter()
            .map(|word| match word.escape_ascii().to_string() {
                word if word.is_empty() || word.contains([' ', '\\', '"']) => format!("\"{word}\""),
                word => word,
            })
            .collect();
        write!(f, "{}{}", words.join(" "), if self.resp3 { "    (RESP3)" } else { "" })
    }
}

struct Parsed {
    rule: Rule,
    nodes: Vec<Node>,
}

/// Makes calls up.
pub(crate) struct Generator {
    vocabulary: Vocabulary,
    families: Vec<(u32, Vec<Parsed>)>,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        let parsed = |rule: &Rule| Parsed { rule: *rule, nodes: parse(rule.pattern) };
        let newer = if judge() != Judge::Seven { SINCE_7_4 } else { &[] };
        let families = FAMILIES
            .iter()
            .chain(newer)
            .map(|(weight, rules)| (*weight, rules.iter().map(parsed).collect()))
            .collect();
        Self { vocabulary: Vocabulary::new(seed), families }
    }

    /// What further decisions are taken with.
    pub(crate) fn random(&mut self) -> &mut fastrand::Rng {
        &mut self.vocabulary.random
    }

    /// The next call.
    pub(crate) fn step(&mut self, resp3: bool) -> Step {
        let random = &mut self.vocabulary.random;
        let family = chosen(random, &self.families, |(weight, _)| *weight);
        let parsed = chosen(random, &family.1, |parsed| parsed.rule.weight);
        self.vocabulary.short_lived = false;
        let mut words = Vec::new();
        expand(&mut self.vocabulary, &parsed.nodes, &mut words);
        if !parsed.rule.check.fixed && self.vocabulary.once_in(DISTORTED) {
            distort(&mut self.vocabulary.random, &mut words);
            // Any number may stand where a time did.
            self.vocabulary.short_lived |= words.iter().any(|word| word == b"1");
        }
        Step { words, check: parsed.rule.check, resp3, pause: self.vocabulary.short_lived }
    }
}

fn chosen<'a, T>(random: &mut fastrand::Rng, from: &'a [T], weight: impl Fn(&T) -> u32) -> &'a T {
    let sum: u32 = from.iter().map(&weight).sum();
    let mut left = random.u32(..sum);
    from.iter()
        .find(|item| {
            let found = left < weight(item);
            left = left.saturating_sub(weight(item));
            found
        })
        .expect("the weights were summed")
}

fn expand(vocabulary: &mut Vocabulary, nodes: &[Node], words: &mut Vec<Vec<u8>>) {
    for node in nodes {
        match node {
            Node::Word(word) if word != "EXCHANGE" && vocabulary.once_in(8) => {
                words.push(word.to_ascii_lowercase().into());
            }
            Node::Word(word) => words.push(word.clone().into()),
            Node::Name(name) => words.extend(vocabulary.words(name)),
            Node::Maybe(choices) => {
                if vocabulary.random.u8(..5) < 2 {
                    let choice = &choices[vocabulary.random.usize(..choices.len())];
                    expand(vocabulary, choice, words);
                }
            }
            Node::OneOf(choices) => {
                let choice = &choices[vocabulary.random.usize(..choices.len())];
                expand(vocabulary, choice, words);
            }
            Node::Shuffled(parts) => {
                let mut parts: Vec<&Node> = parts.iter().collect();
                vocabulary.random.shuffle(&mut parts);
                if vocabulary.once_in(30) {
                    parts.push(parts[0]);
                }
                for part in parts {
                    expand(vocabulary, std::slice::from_ref(part), words);
                }
            }
            Node::Repeated(part) => {
                let most = if vocabulary.once_in(15) { MANY_REPEATS_MAX } else { REPEATS_MAX };
                for _ in 0..vocabulary.random.usize(1..=most) {
                    expand(vocabulary, std::slice::from_ref(part), words);
                }
            }
        }
    }
}

/// Takes a word away, doubles it, moves it, adds one or puts another one in its place.
fn distort(random: &mut fastrand::Rng, words: &mut Vec<Vec<u8>>) {
    let odd = ODD_WORDS[random.usize(..ODD_WORDS.len())].to_vec();
    if words.len() == 1 {
        words.push(odd);
        return;
    }
    let (at, other) = (random.usize(1..words.len()), random.usize(1..words.len()));
    match random.u8(..6) {
        0 => drop(words.remove(at)),
        1 => words.insert(at, words[at].clone()),
        2 => words.swap(at, other),
        3 => words.push(odd),
        4 => words.truncate(at),
        _ => words[at] = odd,
    }
}
