//! Libraries of functions: how they are loaded, and what is called.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, MultiValue, Table, Value};

use super::host::{Host, Stop, Watch};
use super::reply::{bytes_of, lossy};
use super::server::{raise, text_of};
use super::vm::{Outcome, Shared, Vm, error_text};
use super::{ScriptFlags, ScriptId};
use crate::protocol::split_words;

const NAMES: &str = "Library names can only contain letters, numbers, or underscores(_) and must be \
     at least one character long";
const NOT_LOADING: &str = "redis.register_function can only be called on FUNCTION LOAD command";

/// What the first line of a library says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryHeader {
    /// Its name.
    pub name: Bytes,
    /// Bytes of it, without the end of its line.
    length: usize,
}

impl LibraryHeader {
    /// Reads the first line of `code`.
    ///
    /// # Errors
    /// The error text, code included.
    pub fn of(code: &[u8]) -> Result<Self, String> {
        let wrong = |text: &str| format!("ERR {text}");
        if !code.starts_with(b"#!") {
            return Err(wrong("Missing library metadata"));
        }
        let invalid = || wrong("Invalid library metadata");
        let length = memchr::memchr(b'\n', code).ok_or_else(invalid)?;
        let words = split_words(&code[..length]).ok_or_else(invalid)?;
        let (engine, options) = words.split_first().ok_or_else(invalid)?;
        let mut name = None;
        for word in options {
            let (option, value) = word.split_at(word.len().min(5));
            if !option.eq_ignore_ascii_case(b"name=") {
                return Err(wrong(&format!("Invalid metadata value given: {}", lossy(word))));
            }
            if name.replace(value).is_some() {
                let text = "Invalid metadata value, name argument was given multiple times";
                return Err(wrong(text));
            }
        }
        let name = name.ok_or_else(|| wrong("Library name was not given"))?;
        if !is_name(name) {
            return Err(wrong(NAMES));
        }
        if !engine[2..].eq_ignore_ascii_case(b"lua") {
            return Err(wrong(&format!("Engine '{}' not found", lossy(&engine[2..]))));
        }
        Ok(Self { name: Bytes::copy_from_slice(name), length })
    }
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// A function of a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Its name.
    pub name: Bytes,
    /// What it is for.
    pub description: Option<Bytes>,
    /// What it says of itself.
    pub flags: ScriptFlags,
}

/// A function that a machine can call.
pub(super) type Callable = (Registered, Function);

/// A library that a machine knows.
#[derive(Debug)]
pub struct Library {
    /// Which code it was loaded from.
    pub id: ScriptId,
    functions: Vec<Callable>,
}

impl Library {
    /// Its functions in the order of their names.
    pub fn functions(&self) -> impl Iterator<Item = &Registered> {
        self.functions.iter().map(|(registered, _)| registered)
    }
}

/// The libraries of a machine, by name.
pub type Libraries = BTreeMap<Bytes, Library>;

/// Why a library was not loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadError {
    /// The error text, code included.
    Failed(String),
    /// It was stopped.
    Stopped(Stop),
}

impl Vm {
    /// The libraries that it knows.
    #[must_use]
    pub fn libraries(&self) -> &Libraries {
        &self.libraries
    }

    /// Runs the code of a library, which registers its functions; they are not kept.
    ///
    /// # Errors
    /// Why it was not loaded.
    pub fn try_library(
        &mut self,
        code: &[u8],
        watch: Arc<dyn Watch>,
    ) -> Result<Vec<Registered>, LoadError> {
        let functions = self.load_library(code, watch)?;
        Ok(functions.into_iter().map(|(registered, _)| registered).collect())
    }

    /// Knows the library of this code from now on, in place of any of its name.
    ///
    /// # Errors
    /// Why it was not loaded.
    pub fn keep_library(
        &mut self,
        name: &Bytes,
        code: &[u8],
        watch: Arc<dyn Watch>,
    ) -> Result<(), LoadError> {
        self.libraries.remove(name);
        let functions = self.load_library(code, watch)?;
        self.libraries.insert(name.clone(), Library { id: ScriptId::of(code), functions });
        Ok(())
    }

    /// Forgets the libraries for which `keep` answers no.
    pub fn retain_libraries(&mut self, mut keep: impl FnMut(&Bytes, &Library) -> bool) {
        self.libraries.retain(|name, library| keep(name, library));
    }

    /// The function of this name, in any case.
    #[must_use]
    pub fn find_function(&self, name: &[u8]) -> Option<&Registered> {
        self.callable(name).map(|(registered, _)| registered)
    }

    fn callable(&self, name: &[u8]) -> Option<&Callable> {
        let mut all = self.libraries.values().flat_map(|library| &library.functions);
        all.find(|(registered, _)| registered.name.eq_ignore_ascii_case(name))
    }

    /// Calls the function of this name with keys and arguments; `None` where there is none.
    ///
    /// # Errors
    /// Why it was stopped.
    pub fn call_function(
        &mut self,
        name: &[u8],
        keys: &[Bytes],
        arguments: &[Bytes],
        host: &mut dyn Host,
        watch: Arc<dyn Watch>,
    ) -> Option<Result<Outcome, Stop>> {
        let (registered, function) = self.callable(name).cloned()?;
        let words = self.words(keys).and_then(|keys| Ok((keys, self.words(arguments)?)));
        let ran = self.guarded(host, watch, |run| {
            let (keys, arguments) = words?;
            run.call((function, keys, arguments))
        });
        Some(self.finish(ran, &lossy(&registered.name)))
    }

    fn load_library(
        &mut self,
        code: &[u8],
        watch: Arc<dyn Watch>,
    ) -> Result<Vec<Callable>, LoadError> {
        let failed = |text: String| LoadError::Failed(format!("ERR {text}"));
        let header = LibraryHeader::of(code).map_err(LoadError::Failed)?;
        let body = code.get(header.length..).unwrap_or_default();
        let chunk = self.lua.load(body).set_name("@user_function").set_mode(ChunkMode::Text);
        let chunk = chunk.into_function().map_err(|error| match error {
            mlua::Error::SyntaxError { message, .. } => {
                failed(format!("Error compiling function: {message}"))
            }
            error => failed(format!("Error compiling function: {error}")),
        })?;
        *self.shared.registered.lock() = Some(Vec::new());
        let ran = self.loading(watch, chunk);
        let functions = self.shared.registered.lock().take().unwrap_or_default();
        if let Some(stop) = self.take_stop() {
            return Err(LoadError::Stopped(stop));
        }
        let error = match ran {
            Ok((true, _)) => None,
            Ok((false, error)) => Some(error_text(&error)),
            Err(error) => Some(format!("ERR {error}")),
        };
        match error {
            Some(error) => Err(failed(format!("Error registering functions: {error}"))),
            None if functions.is_empty() => Err(failed("No functions registered".to_owned())),
            None => Ok(functions),
        }
    }
}

/// `redis.register_function`.
pub(super) fn register(_lua: &Lua, shared: &Shared, values: MultiValue) -> mlua::Result<()> {
    let values: Vec<Value> = values.into_iter().collect();
    let callable = match &values[..] {
        [Value::Table(named)] => by_table(named)?,
        [_] => {
            return raise(
                "calling redis.register_function with a single argument is only applicable to Lua \
                 table (representing named arguments).",
            );
        }
        [name, callback] => by_place(name, callback)?,
        _ => return raise("wrong number of arguments to redis.register_function"),
    };
    if !is_name(&callable.0.name) {
        return raise(NAMES);
    }
    let mut registered = shared.registered.lock();
    let Some(functions) = &mut *registered else { return raise(NOT_LOADING) };
    match functions.binary_search_by(|(other, _)| other.name.cmp(&callable.0.name)) {
        Ok(_) => raise("Function already exists in the library"),
        Err(at) => {
            functions.insert(at, callable);
            Ok(())
        }
    }
}

fn by_place(name: &Value, callback: &Value) -> mlua::Result<Callable> {
    let Some(name) = text_of(name) else {
        return raise("first argument to redis.register_function must be a string");
    };
    let Value::Function(function) = callback else {
        return raise("second argument to redis.register_function must be a function");
    };
    let flags = ScriptFlags::default();
    Ok((Registered { name, description: None, flags }, function.clone()))
}

fn by_table(named: &Table) -> mlua::Result<Callable> {
    let (mut name, mut description, mut callback) = (None, None, None);
    let mut flags = ScriptFlags::default();
    for pair in named.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let Some(key) = text_of(&key) else {
            return raise("named argument key given to redis.register_function is not a string");
        };
        let key = key.to_ascii_lowercase();
        match (&key[..], value) {
            (b"function_name", value) => name = Some(string(&value, "function_name")?),
            (b"description", value) => description = Some(string(&value, "description")?),
            (b"callback", Value::Function(function)) => callback = Some(function),
            (b"callback", _) => {
                return raise(
                    "callback argument given to redis.register_function must be a function",
                );
            }
            (b"flags", Value::Table(words)) => flags = read_flags(&words)?,
            (b"flags", _) => {
                return raise(
                    "flags argument to redis.register_function must be a table representing \
                     function flags",
                );
            }
            _ => return raise("unknown argument given to redis.register_function"),
        }
    }
    let Some(name) = name else {
        return raise("redis.register_function must get a function name argument");
    };
    let Some(callback) = callback else {
        return raise("redis.register_function must get a callback argument");
    };
    Ok((Registered { name, description, flags }, callback))
}

fn string(value: &Value, argument: &str) -> mlua::Result<Bytes> {
    match text_of(value) {
        Some(text) => Ok(text),
        None => {
            raise(&format!("{argument} argument given to redis.register_function must be a string"))
        }
    }
}

fn read_flags(words: &Table) -> mlua::Result<ScriptFlags> {
    let mut flags = ScriptFlags::default();
    for index in 1.. {
        match words.raw_get::<Value>(index)? {
            Value::Nil => break,
            Value::String(word) if flags.set(&bytes_of(&word)) => {}
            _ => return raise("unknown flag given"),
        }
    }
    Ok(flags)
}
