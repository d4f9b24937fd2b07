//! Native functions of the sandbox: how they read their arguments and how they fail.
//!
//! The errors of native functions are objects of the machine. The sandbox makes strings and tables of
//! them wherever a script may catch one, so that they are as those of Lua's own functions.

use mlua::{Function, IntoLua, Lua, LuaString, MultiValue, Value};

/// Level of the stack at which the caller of a native function stands.
const CALLER: usize = 1;

/// Why a native function failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// An error of the script, without the place.
    Said(String),
    /// Memory is exhausted, or the machine failed otherwise.
    Lua(mlua::Error),
}

impl Failure {
    /// An error of the script.
    pub(super) fn said(text: impl Into<String>) -> Self {
        Self::Said(text.into())
    }
}

impl From<mlua::Error> for Failure {
    fn from(error: mlua::Error) -> Self {
        Self::Lua(error)
    }
}

/// What a native function answers.
pub(super) type Native = Result<MultiValue, Failure>;

/// The arguments of a call of a native function.
pub(super) struct Arguments<'a> {
    pub(super) lua: &'a Lua,
    name: &'static str,
    values: Vec<Value>,
}

/// A function for scripts; `name` is what its error texts call it.
pub(super) fn native<F>(lua: &Lua, name: &'static str, function: F) -> mlua::Result<Function>
where
    F: Fn(Arguments<'_>) -> Native + Send + 'static,
{
    lua.create_function(move |lua, values: MultiValue| {
        let arguments = Arguments { lua, name, values: values.into_iter().collect() };
        function(arguments).map_err(|failure| match failure {
            Failure::Said(text) => mlua::Error::RuntimeError(format!("{}{text}", place(lua))),
            Failure::Lua(error) => error,
        })
    })
}

/// Where the caller of a native function stands, as Lua begins its error texts.
fn place(lua: &Lua) -> String {
    let place = lua.inspect_stack(CALLER, |frame| {
        let source = frame.source();
        let name = source.short_src.as_deref().unwrap_or_default().to_owned();
        frame.current_line().map(|line| format!("{name}:{line}: "))
    });
    place.flatten().unwrap_or_default()
}

/// One result.
pub(super) fn one(lua: &Lua, value: impl IntoLua) -> Native {
    Ok([value.into_lua(lua)?].into_iter().collect())
}

impl Arguments<'_> {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.values.len()
    }

    /// All of them.
    pub(super) fn values(&self) -> &[Value] {
        &self.values
    }

    /// The argument `number`, from 1; `None` where the call has fewer.
    pub(super) fn get(&self, number: usize) -> Option<&Value> {
        self.values.get(number - 1)
    }

    /// Refuses the argument `number`.
    pub(super) fn refuse(&self, number: usize, why: &str) -> Failure {
        Failure::Said(format!("bad argument #{number} to '{}' ({why})", self.name))
    }

    fn expected(&self, number: usize, what: &str) -> Failure {
        let got = self.get(number).map_or("no value", type_name);
        self.refuse(number, &format!("{what} expected, got {got}"))
    }

    /// A number, or a string that is one.
    pub(super) fn number(&self, number: usize) -> Result<f64, Failure> {
        let value = self.get(number).cloned().unwrap_or(Value::Nil);
        let converted = self.lua.coerce_number(value)?;
        converted.ok_or_else(|| self.expected(number, "number"))
    }

    /// A whole number; fractions are cut off.
    pub(super) fn integer(&self, number: usize) -> Result<i64, Failure> {
        self.number(number).map(truncate)
    }

    /// A whole number, or `absent` where there is none.
    pub(super) fn integer_or(&self, number: usize, absent: i64) -> Result<i64, Failure> {
        match self.get(number) {
            None | Some(Value::Nil) => Ok(absent),
            Some(_) => self.integer(number),
        }
    }

    /// A string, or the digits of a number.
    pub(super) fn string(&self, number: usize) -> Result<LuaString, Failure> {
        match self.get(number) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(value @ (Value::Integer(_) | Value::Number(_))) => {
                let converted = self.lua.coerce_string(value.clone())?;
                converted.ok_or_else(|| self.expected(number, "string"))
            }
            _ => Err(self.expected(number, "string")),
        }
    }
}

/// Names of types as Lua's own error texts have them.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Boolean(_) => "boolean",
        Value::Integer(_) | Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Table(_) => "table",
        Value::Function(_) => "function",
        Value::Thread(_) => "thread",
        _ => "userdata",
    }
}

/// The number of a value that is one.
pub(super) fn number_of(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

/// The fraction is cut off; what does not fit, or is no number, becomes the smallest integer.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked before")]
pub(super) fn truncate(number: f64) -> i64 {
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    if (-BOUND..BOUND).contains(&number) { number as i64 } else { i64::MIN }
}
