//! The notation in which a family names its commands.
//!
//! ```text
//! WORD       itself          name      a value of this name, see `vocabulary.rs`
//! [a|b]      one, or nothing (a|b)     one
//! x+         once or several times     {a b c}   in any order
//! ```

/// A part of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// A word that stands for itself.
    Word(String),
    /// A value that is made up.
    Name(String),
    /// One of these.
    OneOf(Vec<Vec<Node>>),
    /// One of these, or nothing.
    Maybe(Vec<Vec<Node>>),
    /// All of these, in any order.
    Shuffled(Vec<Node>),
    /// This, once or several times.
    Repeated(Box<Node>),
}

/// Reads a pattern; panics where it is not well formed.
pub(crate) fn parse(pattern: &str) -> Vec<Node> {
    let mut spaced = String::new();
    for c in pattern.chars() {
        if "[](){}|+".contains(c) {
            spaced.extend([' ', c, ' ']);
        } else {
            spaced.push(c);
        }
    }
    let mut tokens = spaced.split_whitespace().peekable();
    let mut choices = choices(&mut tokens, pattern);
    assert!(tokens.next().is_none() && choices.len() == 1, "a bracket too many: {pattern}");
    choices.pop().expect("one sequence")
}

type Tokens<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

/// Sequences up to the closing bracket, separated by `|`.
fn choices(tokens: &mut Tokens<'_>, pattern: &str) -> Vec<Vec<Node>> {
    let mut all = vec![Vec::new()];
    while let Some(token) = tokens.next_if(|token| !matches!(*token, "]" | ")" | "}")) {
        let sequence: &mut Vec<Node> = all.last_mut().expect("never empty");
        match token {
            "|" => all.push(Vec::new()),
            "+" => {
                let node = sequence.pop().unwrap_or_else(|| panic!("nothing repeats: {pattern}"));
                sequence.push(Node::Repeated(Box::new(node)));
            }
            "[" | "(" | "{" => {
                let mut inner = choices(tokens, pattern);
                let (node, end) = match token {
                    "[" => (Node::Maybe(inner), "]"),
                    "(" => (Node::OneOf(inner), ")"),
                    _ => (Node::Shuffled(inner.remove(0)), "}"),
                };
                assert_eq!(tokens.next(), Some(end), "an open bracket: {pattern}");
                sequence.push(node);
            }
            word if word.chars().all(|c| c.is_ascii_lowercase() || "_#".contains(c)) => {
                sequence.push(Node::Name(word.to_owned()));
            }
            word => sequence.push(Node::Word(word.to_owned())),
        }
    }
    all
}

#[test]
fn patterns_are_read() {
    let word = |word: &str| Node::Word(word.to_owned());
    let name = |name: &str| Node::Name(name.to_owned());
    assert_eq!(
        parse("SET key [NX|XX] {(a b)+}"),
        [
            word("SET"),
            name("key"),
            Node::Maybe(vec![vec![word("NX")], vec![word("XX")]]),
            Node::Shuffled(vec![Node::Repeated(Box::new(Node::OneOf(vec![vec![
                name("a"),
                name("b")
            ]])))]),
        ]
    );
}
