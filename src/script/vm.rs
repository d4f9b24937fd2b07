//! The machine: one Lua state with its sandbox, which runs one script at a time.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use mlua::chunk::ChunkMode;
use mlua::{
    Function, HookTriggers, IntoLua, Lua, LuaOptions, MultiValue, StdLib, Table, Value, VmState,
};
use parking_lot::Mutex;

use super::arguments::{number_of, truncate};
use super::host::{Failed, Host, Stop, Watch};
use super::library::{Callable, Libraries};
use super::reply::{bytes_of, lossy, text_field, to_reply};
use super::{ScriptId, bits, json, msgpack, random, server, structs};
use crate::protocol::{Reply, Version};

const SANDBOX: &str = include_str!("sandbox.lua");
/// Source of the frames that are the sandbox's own.
const SANDBOX_NAME: &str = "=sandbox";
/// Instructions between two looks at the watch.
const LOOK_EVERY: u32 = 10_000;
/// Runs between two steps of the garbage collector beside its own.
const COLLECT_EVERY: u32 = 50;
/// Below this all garbage is collected then: that takes about as long as a step.
const SMALL_BYTES: usize = 1 << 20;
/// Compiled scripts that a machine keeps; beyond it all are compiled again when they are called.
const COMPILED_MAX: usize = 2000;
/// Levels of the stack that are searched for the place of an error.
const PLACE_LEVELS_MAX: usize = 12;

/// How a script ended that was not stopped.
pub type Outcome = Result<Reply, Failed>;

/// What the closures of a state share with its machine.
#[derive(Default)]
pub(super) struct Shared {
    /// The functions that a library has registered so far; `None` where none is loaded.
    pub(super) registered: Mutex<Option<Vec<Callable>>>,
    watch: Mutex<Option<Arc<dyn Watch>>>,
    stopped: Mutex<Option<Stop>>,
    resp3: AtomicBool,
}

impl Shared {
    /// The version that the script asked for.
    pub(super) fn version(&self) -> Version {
        if self.resp3.load(Ordering::Relaxed) { Version::Resp3 } else { Version::Resp2 }
    }

    pub(super) fn speak(&self, version: Version) {
        self.resp3.store(version == Version::Resp3, Ordering::Relaxed);
    }

    pub(super) fn stop(&self, why: Stop) {
        *self.stopped.lock() = Some(why);
    }

    /// Whether the script has to end; the reason stays.
    pub(super) fn look(&self) -> bool {
        let mut stopped = self.stopped.lock();
        if stopped.is_none() {
            *stopped = self.watch.lock().as_ref().and_then(|watch| watch.look());
        }
        stopped.is_some()
    }
}

/// A machine.
pub struct Vm {
    pub(super) lua: Lua,
    pub(super) shared: Arc<Shared>,
    pub(super) libraries: Libraries,
    digest: Bytes,
    memory_max: usize,
    /// The metatable behind which the globals stand.
    front: Table,
    /// The globals that a library sees while it is loaded.
    load_globals: Table,
    globals: Table,
    redis: Table,
    run: Function,
    compiled: HashMap<ScriptId, Function>,
    runs: u32,
}

impl std::fmt::Debug for Vm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vm").field("used_memory", &self.used_memory()).finish_non_exhaustive()
    }
}

/// The version that scripts are told: its text and its number.
#[derive(Debug, Clone, Copy)]
pub struct Language {
    /// Three numbers with points between.
    pub version: &'static str,
    /// A byte for each of the three.
    pub number: u32,
}

impl Vm {
    /// A machine whose values take at most `memory_max` bytes.
    ///
    /// # Errors
    /// Where memory does not even suffice for the sandbox.
    pub fn new(language: Language, memory_max: usize) -> Result<Self, String> {
        Self::start(language, memory_max).map_err(|error| error.to_string())
    }

    fn start(language: Language, memory_max: usize) -> mlua::Result<Self> {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::OS;
        let lua = Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(false))?;
        lua.set_memory_limit(memory_max)?;
        let shared = Arc::new(Shared::default());
        let natives = natives(&lua, &shared, language)?;
        let sandbox = lua.load(SANDBOX).set_name(SANDBOX_NAME);
        let parts: Table = sandbox.into_function()?.call(natives)?;
        lua.set_globals(parts.raw_get("front")?)?;
        let vm = Self {
            globals: parts.raw_get("globals")?,
            redis: parts.raw_get("redis")?,
            front: parts.raw_get("metatable")?,
            load_globals: parts.raw_get("load_globals")?,
            libraries: Libraries::new(),
            digest: Bytes::new(),
            memory_max,
            run: parts.raw_get("run")?,
            lua,
            shared,
            compiled: HashMap::new(),
            runs: 0,
        };
        vm.watch_instructions()?;
        vm.lua.gc_collect()?;
        Ok(vm)
    }

    /// Bytes that the values of this machine take.
    #[must_use]
    pub fn used_memory(&self) -> usize {
        self.lua.used_memory()
    }

    /// Collects all garbage, where that takes no time to speak of: in a machine of less than a mebibyte.
    pub fn tidy(&self) {
        if self.used_memory() < SMALL_BYTES {
            // What fails here fails with the next allocation too, which tells.
            drop(self.lua.gc_collect());
        }
    }

    /// What the owner has noted of the libraries that it knows; empty at first.
    #[must_use]
    pub fn digest(&self) -> &Bytes {
        &self.digest
    }

    /// Notes which libraries it knows.
    pub fn set_digest(&mut self, digest: Bytes) {
        self.digest = digest;
    }

    /// Compiles the script `text`, which runs by its id from then on; `skipped` bytes at its start
    /// are not of the language.
    ///
    /// # Errors
    /// The error text of the compiler.
    pub fn compile(&mut self, id: ScriptId, text: &[u8], skipped: usize) -> Result<(), String> {
        if self.compiled.contains_key(&id) {
            return Ok(());
        }
        let body = text.get(skipped..).unwrap_or_default();
        let chunk = self.lua.load(body).set_name("@user_script").set_mode(ChunkMode::Text);
        let function = chunk.into_function().map_err(|error| match error {
            mlua::Error::SyntaxError { message, .. } => message,
            error => error.to_string(),
        })?;
        if self.compiled.len() >= COMPILED_MAX {
            self.compiled.clear();
        }
        self.compiled.insert(id, function);
        Ok(())
    }

    /// Runs a script that was compiled, with its keys and its arguments.
    ///
    /// # Errors
    /// Why it was stopped.
    pub fn run(
        &mut self,
        id: ScriptId,
        keys: &[Bytes],
        arguments: &[Bytes],
        host: &mut dyn Host,
        watch: Arc<dyn Watch>,
    ) -> Result<Outcome, Stop> {
        let Some(function) = self.compiled.get(&id).cloned() else {
            return Ok(Err(failed("ERR the script is not compiled".to_owned())));
        };
        let words = self.words(keys).and_then(|keys| {
            self.globals.raw_set("KEYS", keys)?;
            self.globals.raw_set("ARGV", self.words(arguments)?)
        });
        let ran = self.guarded(host, watch, |run| {
            words?;
            run.call(function)
        });
        self.finish(ran, &id.to_string())
    }

    /// A table of these words.
    pub(super) fn words(&self, words: &[Bytes]) -> mlua::Result<Table> {
        let table = self.lua.create_table_with_capacity(words.len(), 0)?;
        for (at, word) in words.iter().enumerate() {
            table.raw_set(at + 1, self.lua.create_string(word)?)?;
        }
        Ok(table)
    }

    /// Runs `body` with the functions that lead to the host, and makes a reply of what it answers.
    pub(super) fn guarded(
        &mut self,
        host: &mut dyn Host,
        watch: Arc<dyn Watch>,
        body: impl FnOnce(&Function) -> mlua::Result<(bool, Value)>,
    ) -> mlua::Result<(bool, Value)> {
        *self.shared.watch.lock() = Some(watch);
        *self.shared.stopped.lock() = None;
        self.shared.resp3.store(false, Ordering::Relaxed);
        let host = Mutex::new(host);
        let (shared, redis) = (&*self.shared, &self.redis);
        self.lua.scope(|scope| {
            let call = scope.create_function(|lua, words: MultiValue| {
                let reply = server::call(lua, shared, &mut **host.lock(), &words)?;
                reply.map_err(|failed| mlua::Error::external(Raised(failed)))
            })?;
            let pcall = scope.create_function(|lua, words: MultiValue| {
                match server::call(lua, shared, &mut **host.lock(), &words)? {
                    Ok(reply) => Ok(reply),
                    Err(failed) => server::error_table(lua, &failed),
                }
            })?;
            let may_call = scope.create_function(|_, words: MultiValue| {
                server::may_call(&mut **host.lock(), &words)
            })?;
            redis.raw_set("call", call)?;
            redis.raw_set("pcall", pcall)?;
            redis.raw_set("acl_check_cmd", may_call)?;
            body(&self.run)
        })
    }

    /// Runs the code of a library, with what it sees then of the server.
    pub(super) fn loading(
        &self,
        watch: Arc<dyn Watch>,
        chunk: Function,
    ) -> mlua::Result<(bool, Value)> {
        *self.shared.watch.lock() = Some(watch);
        *self.shared.stopped.lock() = None;
        self.front.raw_set("__index", &self.load_globals)?;
        let ran = self.run.call(chunk);
        self.front.raw_set("__index", &self.globals)?;
        ran
    }

    /// Why the script that just ended was stopped, if it was; the next one is not.
    pub(super) fn take_stop(&self) -> Option<Stop> {
        *self.shared.watch.lock() = None;
        let stopped = self.shared.stopped.lock().take()?;
        if let Err(error) = self.watch_instructions() {
            // Every further script is stopped at once.
            tracing::error!(%error, "a machine for scripts has failed");
        }
        Some(stopped)
    }

    /// What a run has come to; `name` is what error texts call the script.
    pub(super) fn finish(
        &mut self,
        ran: mlua::Result<(bool, Value)>,
        name: &str,
    ) -> Result<Outcome, Stop> {
        let stopped = self.take_stop();
        self.runs = (self.runs + 1) % COLLECT_EVERY;
        if self.runs == 0 {
            if self.used_memory() < SMALL_BYTES {
                self.tidy();
            } else {
                // What fails here fails with the next allocation too, which tells.
                drop(self.lua.gc_step());
            }
        }
        if self.used_memory() > self.memory_max / 2 {
            // The machine collects nothing when an allocation fails.
            drop(self.lua.gc_collect());
        }
        if let Some(stop) = stopped {
            return Err(stop);
        }
        let outcome = match ran {
            Ok((true, value)) => {
                let failed = |text| Err(Failed { text, counted: is_counted(&value) });
                to_reply(&value, self.shared.version(), self.memory_max).map(|reply| match reply {
                    Reply::Error(text) => failed(text.into_owned().into()),
                    Reply::RawError(text) => failed(text.into()),
                    reply => Ok(reply),
                })
            }
            Ok((false, error)) => error_of(&error, name).map(Err),
            Err(error) => Err(error),
        };
        Ok(outcome.unwrap_or_else(|error| Err(failed(format!("ERR {}", message(&error))))))
    }

    /// Has the watch asked now and then.
    fn watch_instructions(&self) -> mlua::Result<()> {
        let shared = Arc::clone(&self.shared);
        let triggers = HookTriggers::new().every_nth_instruction(LOOK_EVERY);
        self.lua.set_global_hook(triggers, move |lua, _| {
            if shared.look() {
                halt(lua)?;
                return Err(mlua::Error::runtime("stopped"));
            }
            Ok(VmState::Continue)
        })
    }
}

/// A failed call as an error of the machine.
#[derive(Debug)]
pub(super) struct Raised(pub(super) Failed);

impl std::fmt::Display for Raised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&lossy(&self.0.text))
    }
}

impl std::error::Error for Raised {}

/// Ends the running script: from now on each of its instructions fails, whatever it catches.
pub(super) fn halt(lua: &Lua) -> mlua::Result<()> {
    let triggers = HookTriggers::new().every_nth_instruction(1);
    lua.set_global_hook(triggers, |lua, _| {
        // A coroutine ends first; what resumed it is another thread, whose hook comes here later.
        halt(lua)?;
        Err(mlua::Error::runtime("stopped"))
    })
}

fn failed(text: impl Into<Vec<u8>>) -> Failed {
    Failed { text: text.into(), counted: false }
}

/// Whether an error table is of a call, which was counted when it failed.
fn is_counted(error: &Value) -> bool {
    match error {
        Value::Table(table) => {
            matches!(table.raw_get("ignore_error_stats_update"), Ok(Value::Boolean(true)))
        }
        _ => false,
    }
}

/// The text of an uncaught error, without the place.
pub(super) fn error_text(error: &Value) -> String {
    match error {
        Value::Table(table) => match text_field(table, "err") {
            Ok(Some(text)) => lossy(&text),
            _ => "ERR unknown error".to_owned(),
        },
        Value::String(text) => lossy(&bytes_of(text)),
        _ => "ERR execution failure".to_owned(),
    }
}

/// The error that an uncaught error of the script `name` is sent as.
fn error_of(error: &Value, name: &str) -> mlua::Result<Failed> {
    let Value::Table(table) = error else {
        let text = match error {
            Value::String(text) => text.as_bytes().to_vec(),
            Value::Error(error) => message(error).into(),
            _ => b"execution failure".to_vec(),
        };
        let running = format!("ERR Error running script {name}, ");
        return Ok(failed([running.as_bytes(), &text].concat()));
    };
    let text = text_field(table, "err")?;
    let mut text = text.map_or_else(|| b"ERR unknown error".to_vec(), Into::into);
    let place = (text_field(table, "source")?, number_of(&table.raw_get("line")?));
    if let (Some(source), Some(line)) = place {
        let (source, line) = (lossy(&source), truncate(line));
        text.extend_from_slice(format!(" script: {name}, on {source}:{line}.").as_bytes());
    }
    Ok(Failed { text, counted: is_counted(error) })
}

/// What the sandbox is made of.
fn natives(lua: &Lua, shared: &Arc<Shared>, language: Language) -> mlua::Result<Table> {
    let natives = lua.create_table()?;
    natives.raw_set("bit", bits::natives(lua)?)?;
    natives.raw_set("struct", structs::natives(lua)?)?;
    natives.raw_set("cmsgpack", msgpack::natives(lua)?)?;
    natives.raw_set("random", random::natives(lua)?)?;
    let array_mark = lua.create_table()?;
    let cjson = lua.create_function(move |lua, ()| json::natives(lua, &array_mark))?;
    natives.raw_set("cjson", cjson)?;
    natives.raw_set("null", Value::NULL)?;
    let os: Table = lua.globals().get("os")?;
    natives.raw_set("clock", os.get::<Function>("clock")?)?;
    natives.raw_set("version", language.version)?;
    natives.raw_set("version_number", language.number)?;
    natives.raw_set("redis", server::natives(lua, shared)?)?;
    natives.raw_set("position", lua.create_function(|lua, ()| Ok(position(lua)))?)?;
    natives.raw_set("plain", lua.create_function(plain)?)?;
    let stopping = Arc::clone(shared);
    let stopped = lua.create_function(move |_, ()| Ok(stopping.stopped.lock().is_some()))?;
    natives.raw_set("stopped", stopped)?;
    Ok(natives)
}

/// The value that scripts catch in place of an error of a native function.
fn plain(lua: &Lua, error: Value) -> mlua::Result<Value> {
    match &error {
        Value::Error(failure) => match raised(failure) {
            Some(failed) => server::error_table(lua, failed),
            None => message(failure).into_lua(lua),
        },
        _ => Ok(error),
    }
}

/// The failed call behind an error.
fn raised(error: &mlua::Error) -> Option<&Failed> {
    match error {
        mlua::Error::CallbackError { cause, .. } => raised(cause),
        error => error.downcast_ref::<Raised>().map(|raised| &raised.0),
    }
}

/// The text of an error, without what the machine adds.
fn message(error: &mlua::Error) -> String {
    match error {
        mlua::Error::CallbackError { cause, .. } => message(cause),
        mlua::Error::RuntimeError(text) => text.clone(),
        mlua::Error::MemoryError(text) => text.lines().next().unwrap_or_default().to_owned(),
        error => error.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

/// Where the error under way was raised: source and line of the innermost frame of a script, and both as
/// error texts begin.
fn position(lua: &Lua) -> (Option<String>, Option<usize>, Option<String>) {
    for level in 1..PLACE_LEVELS_MAX {
        let frame = lua.inspect_stack(level, |frame| {
            let source = frame.source();
            let text = |name: Option<Cow<'_, str>>| name.unwrap_or_default().into_owned();
            (text(source.source), text(source.short_src), frame.current_line())
        });
        match frame {
            None => break,
            Some((name, short, Some(line))) if name != SANDBOX_NAME => {
                return (Some(name), Some(line), Some(format!("{short}:{line}: ")));
            }
            Some(_) => {}
        }
    }
    (None, None, None)
}
