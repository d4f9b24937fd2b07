//! The scripts that the server knows.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::script::ScriptId;

/// Scripts that are known only because `EVAL` ran them: beyond this the one that was called the longest
/// time ago is forgotten.
const EVALUATED_MAX: usize = 500;
/// What a script takes beside its text, in bytes.
const ENTRY_BYTES: usize = 128;

/// A script.
#[derive(Debug)]
struct Known {
    text: Bytes,
    /// When it was called; `None` where `SCRIPT LOAD` keeps it.
    called: Option<u64>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Cache {
    known: HashMap<ScriptId, Known>,
    /// The scripts that may be forgotten, by when they were called.
    by_call: BTreeMap<u64, ScriptId>,
    calls: u64,
    text_bytes: usize,
    /// How many were forgotten because there were too many.
    evicted: u64,
}

impl Cache {
    /// Whether it is known.
    #[must_use]
    pub fn has(&self, id: ScriptId) -> bool {
        self.known.contains_key(&id)
    }

    /// The text of a script that is called now.
    pub fn call(&mut self, id: ScriptId) -> Option<Bytes> {
        let known = self.known.get_mut(&id)?;
        if let Some(called) = &mut known.called {
            self.by_call.remove(called);
            self.calls += 1;
            *called = self.calls;
            self.by_call.insert(self.calls, id);
        }
        Some(known.text.clone())
    }

    /// Keeps a script that `EVAL` runs.
    pub fn evaluate(&mut self, id: ScriptId, text: &Bytes) {
        if self.has(id) {
            return;
        }
        if self.by_call.len() >= EVALUATED_MAX
            && let Some((_, oldest)) = self.by_call.pop_first()
            && let Some(known) = self.known.remove(&oldest)
        {
            self.text_bytes -= known.text.len();
            self.evicted += 1;
        }
        self.calls += 1;
        self.by_call.insert(self.calls, id);
        self.text_bytes += text.len();
        self.known.insert(id, Known { text: text.clone(), called: Some(self.calls) });
    }

    /// Keeps a script until all are forgotten.
    pub fn load(&mut self, id: ScriptId, text: &[u8]) {
        match self.known.get_mut(&id) {
            Some(known) => {
                if let Some(called) = known.called.take() {
                    self.by_call.remove(&called);
                }
            }
            None => {
                self.text_bytes += text.len();
                let text = Bytes::copy_from_slice(text);
                self.known.insert(id, Known { text, called: None });
            }
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Self { evicted: self.evicted, ..Self::default() };
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// What they take in memory, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.text_bytes + self.known.len() * ENTRY_BYTES
    }

    /// How many were forgotten because there were too many.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(number: usize) -> (ScriptId, Bytes) {
        let text = Bytes::from(format!("return {number}"));
        (ScriptId::of(&text), text)
    }

    #[test]
    fn scripts_not_called_for_long_are_forgotten_and_loaded_ones_stay() {
        let mut cache = Cache::default();
        let (loaded, text) = script(1_000_000);
        cache.load(loaded, &text);
        for number in 0..EVALUATED_MAX {
            let (id, text) = script(number);
            cache.evaluate(id, &text);
        }
        assert_eq!(cache.len(), EVALUATED_MAX + 1);
        assert_eq!(cache.call(script(0).0), Some(script(0).1));
        let (id, text) = script(EVALUATED_MAX);
        cache.evaluate(id, &text);
        assert!(cache.has(script(0).0) && cache.has(loaded) && !cache.has(script(1).0));
        assert_eq!((cache.len(), cache.evicted()), (EVALUATED_MAX + 1, 1));
        cache.clear();
        assert_eq!((cache.len(), cache.bytes(), cache.evicted()), (0, 0, 1));
    }
}
