-- The sandbox: what scripts see. Gets the native functions and answers what the machine needs.
--
-- Tables that scripts must not change are empty ones in front of the real tables; every way to write
-- to a table without its metatable (rawset, table.insert, setmetatable) knows them.

local native = ...

local error, type, tostring, select, unpack = error, type, tostring, select, unpack
local getmetatable, setmetatable, rawget, rawset = getmetatable, setmetatable, rawget, rawset
local next, pairs, ipairs, pcall, xpcall = next, pairs, ipairs, pcall, xpcall
local loadstring, find = loadstring, string.find

local READONLY = "Attempt to modify a readonly table"
-- Patterns longer than this may not repeat anything: each repetition takes some of the C stack.
local PATTERN_MAX = 2000
-- Bytes of a text that is put together for load: its reader may never end.
local LOAD_MAX = 4 * 1024 * 1024

-- Front of a table that scripts must not change -> the table.
local behind = setmetatable({}, { __mode = "k" })
-- Front -> what getmetatable answers for it.
local shown = setmetatable({}, { __mode = "k" })

local function refuse()
  error(READONLY, 2)
end

local function protect(real, metatable)
  local front = setmetatable({}, { __index = real, __newindex = refuse })
  behind[front] = real
  shown[front] = metatable
  return front
end

-- Errors of arguments as the C library words them, at the place of the caller's caller.
local function expected(number, name, what, ...)
  local got = select("#", ...) < number and "no value" or type((select(number, ...)))
  error(("bad argument #%d to '%s' (%s expected, got %s)"):format(number, name, what, got), 3)
end

-- Errors of native functions as scripts catch them; places within this file are not theirs.
local function plain(caught)
  if type(caught) == "userdata" then
    caught = native.plain(caught)
  end
  if type(caught) == "string" then
    caught = caught:gsub("^sandbox:%d+: ", "")
  end
  return caught
end

-- Base functions.

local base = {}

for _, name in ipairs({
  "assert", "collectgarbage", "error", "gcinfo", "rawequal", "rawget", "select", "tonumber",
  "tostring", "type", "unpack", "_VERSION",
}) do
  base[name] = _G[name]
end

function base.getmetatable(...)
  local object = ...
  if select("#", ...) == 0 then
    error("bad argument #1 to 'getmetatable' (value expected)", 2)
  end
  if behind[object or false] then
    return shown[object]
  end
  if type(object) == "string" then
    return shown.strings
  end
  return getmetatable(object)
end

function base.setmetatable(...)
  local object, metatable = ...
  if type(object) ~= "table" then
    expected(1, "setmetatable", "table", ...)
  end
  if select("#", ...) < 2 or (metatable ~= nil and type(metatable) ~= "table") then
    error("bad argument #2 to 'setmetatable' (nil or table expected)", 2)
  end
  if behind[object] then
    error(READONLY, 0)
  end
  local present = getmetatable(object)
  if present ~= nil and (type(present) ~= "table" or rawget(present, "__metatable") ~= nil) then
    error("cannot change a protected metatable", 2)
  end
  return setmetatable(object, metatable)
end

function base.rawset(...)
  local object, key, value = ...
  if type(object) ~= "table" then
    expected(1, "rawset", "table", ...)
  end
  if behind[object] then
    error(READONLY, 0)
  end
  return rawset(object, key, value)
end

function base.rawget(...)
  local object, key = ...
  if type(object) ~= "table" then
    expected(1, "rawget", "table", ...)
  end
  return rawget(behind[object] or object, key)
end

function base.next(...)
  local object, key = ...
  if type(object) ~= "table" then
    expected(1, "next", "table", ...)
  end
  return next(behind[object] or object, key)
end

function base.pairs(...)
  local object = ...
  if type(object) ~= "table" then
    expected(1, "pairs", "table", ...)
  end
  if behind[object] then
    return base.next, object, nil
  end
  return next, object, nil
end

function base.ipairs(...)
  if type((...)) ~= "table" then
    expected(1, "ipairs", "table", ...)
  end
  return ipairs((...))
end

-- Of an error of a call the text is what is caught.
local function settle(ok, ...)
  if ok then
    return ok, ...
  end
  local caught = plain((...))
  if type(caught) == "table" then
    local text = caught.err
    if type(text) == "string" or type(text) == "number" then
      return false, text
    end
  end
  return false, caught
end

function base.pcall(...)
  if select("#", ...) == 0 then
    error("bad argument #1 to 'pcall' (value expected)", 2)
  end
  return settle(pcall(...))
end

function base.xpcall(...)
  local f, handle = ...
  if select("#", ...) < 2 then
    error("bad argument #2 to 'xpcall' (value expected)", 2)
  end
  return xpcall(f, function(caught)
    -- Of a script that is stopped nothing more runs: the handler could not be stopped.
    if native.stopped() then
      return caught
    end
    return handle(plain(caught))
  end)
end

-- Source only: what is compiled already can break out of the machine.
local function compile(text, name)
  if text:byte() == 27 then
    local place = name:sub(1, 1) == "=" and name:sub(2) or '[string "' .. name .. '"]'
    return nil, place .. ":1: unexpected symbol near 'char(27)'"
  end
  return loadstring(text, name)
end

function base.loadstring(...)
  local text, name = ...
  if type(text) ~= "string" and type(text) ~= "number" then
    expected(1, "loadstring", "string", ...)
  end
  if name ~= nil and type(name) ~= "string" and type(name) ~= "number" then
    expected(2, "loadstring", "string", ...)
  end
  text = tostring(text)
  -- The machine reads a name up to its first NUL byte, and must find just that among its strings.
  name = (tostring(name or text):match("^%Z*"))
  return compile(text, name)
end

function base.load(...)
  local reader, name = ...
  if type(reader) ~= "function" then
    expected(1, "load", "function", ...)
  end
  if name ~= nil and type(name) ~= "string" and type(name) ~= "number" then
    expected(2, "load", "string", ...)
  end
  local pieces, length = {}, 0
  while true do
    local piece = reader()
    if piece == nil or piece == "" then
      break
    end
    if type(piece) ~= "string" and type(piece) ~= "number" then
      return nil, "reader function must return a string"
    end
    pieces[#pieces + 1] = piece
    length = length + #tostring(piece)
    if length > LOAD_MAX then
      return nil, "chunk too long"
    end
  end
  name = (tostring(name or "=(load)"):match("^%Z*"))
  return compile(table.concat(pieces), name)
end

local function resumed(ok, ...)
  if ok then
    return ok, ...
  end
  return false, plain((...))
end

local resume = coroutine.resume
function coroutine.resume(...)
  return resumed(resume(...))
end
base.coroutine = protect(coroutine)

-- Libraries.

local function match_guard(name, may_be_plain)
  local f = string[name]
  string[name] = function(...)
    local subject, pattern, _, plain = ...
    if type(subject) ~= "string" and type(subject) ~= "number" then
      expected(1, name, "string", ...)
    end
    if type(pattern) ~= "string" and type(pattern) ~= "number" then
      expected(2, name, "string", ...)
    end
    if type(pattern) == "string" and #pattern > PATTERN_MAX and not (may_be_plain and plain)
      and find(pattern, "[%*%+%?%-]") then
      error("pattern too complex", 2)
    end
    return f(...)
  end
end

match_guard("find", true)
match_guard("match")
match_guard("gmatch")
match_guard("gsub")
string.gfind = string.gmatch
base.string = protect(string)
-- Methods of strings come from the real table; its metatable is not to be had.
shown.strings = protect({ __index = base.string })

local insert = table.insert
function table.insert(...)
  local list, place = ...
  if type(list) ~= "table" then
    expected(1, "insert", "table", ...)
  end
  if behind[list] then
    error(READONLY, 0)
  end
  local count = select("#", ...)
  if count == 2 then
    return insert(list, place)
  end
  if count ~= 3 then
    error("wrong number of arguments to 'insert'", 2)
  end
  if not tonumber(place) then
    expected(2, "insert", "number", ...)
  end
  return insert(...)
end
base.table = protect(table)

math.random, math.randomseed = native.random.random, native.random.randomseed
base.math = protect(math)

base.os = protect({ clock = native.clock })
base.bit = protect(native.bit)
base.struct = protect(native.struct)

local cmsgpack = native.cmsgpack
cmsgpack._NAME, cmsgpack._VERSION = "cmsgpack", "lua-cmsgpack 0.4.0"
cmsgpack._COPYRIGHT = "Copyright (C) 2012, Salvatore Sanfilippo"
cmsgpack._DESCRIPTION = "MessagePack C implementation for Lua"
base.cmsgpack = protect(cmsgpack)

local function new_cjson()
  local cjson = native.cjson()
  cjson._NAME, cjson._VERSION, cjson.null = "cjson", "2.1.0", native.null
  cjson.new = new_cjson
  return cjson
end
base.cjson = protect(new_cjson())

-- The server.

-- Gets `call`, `pcall` and `acl_check_cmd` for each run.
local redis = native.redis
-- What a library sees while it is loaded.
local load_redis = { register_function = redis.register_function, log = redis.log }
redis.register_function = nil
local constants = {
  LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
  REPL_NONE = 0, REPL_AOF = 1, REPL_REPLICA = 2, REPL_SLAVE = 2, REPL_ALL = 3,
  REDIS_VERSION = native.version, REDIS_VERSION_NUM = native.version_number,
}
for name, value in pairs(constants) do
  redis[name] = value
  if not name:match("^REPL") then
    load_redis[name] = value
  end
end

local function reply_with(field)
  return function(...)
    local text = ...
    if select("#", ...) ~= 1 or type(text) ~= "string" then
      return { err = "ERR wrong number or type of arguments" }
    end
    if field == "err" then
      text = text:gsub("^%-", "")
      if not find(text, " ", 1, true) then
        text = "ERR " .. text
      end
      text = text:gsub("[\r\n]+$", "")
    end
    return { [field] = text }
  end
end
redis.error_reply = reply_with("err")
redis.status_reply = reply_with("ok")

function redis.replicate_commands()
  return true
end

function redis.breakpoint()
  return false
end

function redis.debug() end

-- Globals.

local function missing(_, name)
  error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
end

base.redis = protect(redis)
local globals = setmetatable(base, { __index = missing })
local front = protect(globals, protect({ __index = missing }))
rawset(globals, "_G", front)
local load_globals = setmetatable({
  redis = protect(setmetatable(load_redis, { __index = missing })),
}, { __index = missing })

-- Where an error was raised goes with it, as long as nobody has caught it.
local function handler(caught)
  local source, line, place = native.position()
  local clean = plain(caught)
  if type(caught) == "string" and clean ~= caught and place then
    clean = place .. clean
  end
  caught = clean
  if type(caught) ~= "table" then
    caught = { err = "ERR " .. tostring(caught) }
  end
  if source then
    caught.source, caught.line = source, line
  end
  return caught
end

local function run(f, ...)
  local count, arguments = select("#", ...), { ... }
  return xpcall(function()
    return f(unpack(arguments, 1, count))
  end, handler)
end

return {
  globals = globals, front = front, metatable = getmetatable(front), redis = redis, run = run,
  load_globals = load_globals,
}
