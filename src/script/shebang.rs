//! The first line of a script that says in which language it is written and what it does.

/// What a script says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScriptFlags {
    /// Writes nothing.
    pub no_writes: bool,
    /// May run where memory is short.
    pub allow_oom: bool,
    /// May run on a replica that is not up to date.
    pub allow_stale: bool,
    /// Not in a cluster.
    pub no_cluster: bool,
    /// Its keys may lie in several slots.
    pub allow_cross_slot_keys: bool,
}

/// A flag with its word.
type Word = (&'static str, fn(&mut ScriptFlags) -> &mut bool);

impl ScriptFlags {
    /// The flags with their words, in the order in which they are listed.
    const WORDS: [Word; 5] = [
        ("no-writes", |flags| &mut flags.no_writes),
        ("allow-oom", |flags| &mut flags.allow_oom),
        ("allow-stale", |flags| &mut flags.allow_stale),
        ("no-cluster", |flags| &mut flags.no_cluster),
        ("allow-cross-slot-keys", |flags| &mut flags.allow_cross_slot_keys),
    ];

    /// Sets the flag of that name; false where there is none.
    pub fn set(&mut self, word: &[u8]) -> bool {
        let found = Self::WORDS.iter().find(|(name, _)| name.as_bytes() == word);
        if let Some((_, flag)) = found {
            *flag(self) = true;
        }
        found.is_some()
    }

    /// The words of the flags that are set.
    pub fn words(mut self) -> impl Iterator<Item = &'static str> {
        Self::WORDS.into_iter().filter(move |(_, flag)| *flag(&mut self)).map(|(name, _)| name)
    }
}

/// The first line of a script, as far as it has one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shebang {
    /// Whether there is one. A script without runs as it did before there were flags.
    pub present: bool,
    /// What it says.
    pub flags: ScriptFlags,
    /// Bytes of it, without the end of its line.
    pub length: usize,
}

impl Shebang {
    /// Reads the first line of the script `text`.
    ///
    /// # Errors
    /// The error text, code included, where the language is another or an option is unknown.
    pub fn of_script(text: &[u8]) -> Result<Self, String> {
        if !text.starts_with(b"#!") {
            return Ok(Self::default());
        }
        let Some(length) = memchr::memchr(b'\n', text) else {
            return Err("ERR Invalid script shebang".to_owned());
        };
        let mut words = text[..length].split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let engine = words.next().unwrap_or_default();
        if engine != b"#!lua" {
            return Err(format!("ERR Unexpected engine in script shebang: {}", shown(engine)));
        }
        let mut flags = ScriptFlags::default();
        for word in words {
            let Some(list) = word.strip_prefix(b"flags=") else {
                return Err(format!("ERR Unknown lua shebang option: {}", shown(word)));
            };
            for flag in list.split(|byte| *byte == b',').filter(|flag| !flag.is_empty()) {
                if !flags.set(flag) {
                    return Err(format!("ERR Unexpected flag in script shebang: {}", shown(flag)));
                }
            }
        }
        Ok(Self { present: true, flags, length })
    }
}

fn shown(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines() {
        let read = |text: &str| Shebang::of_script(text.as_bytes());
        assert_eq!(read("return 1"), Ok(Shebang::default()));
        let found = read("#!lua flags=no-writes,,allow-oom\nreturn 1").expect("a first line");
        assert!(found.present);
        assert_eq!(found.flags.words().collect::<Vec<_>>(), ["no-writes", "allow-oom"]);
        assert_eq!(found.length, 32);
        for (text, error) in [
            ("#!lua", "ERR Invalid script shebang"),
            ("#!js\n", "ERR Unexpected engine in script shebang: #!js"),
            ("#! lua\n", "ERR Unexpected engine in script shebang: #!"),
            ("#!lua flags\n", "ERR Unknown lua shebang option: flags"),
            ("#!lua name=a\n", "ERR Unknown lua shebang option: name=a"),
            ("#!lua flags=a\n", "ERR Unexpected flag in script shebang: a"),
        ] {
            assert_eq!(read(text), Err(error.to_owned()), "{text}");
        }
    }
}
