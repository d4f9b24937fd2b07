"""What a Python program does with strings and keys, through redis-py.

usage: redis_py.py PORT PROTOCOL(2|3), over TLS where TLS_CA names the authority's file
"""

import os
import sys
import time

import redis
from checks import check, finish

PORT, PROTOCOL = int(sys.argv[1]), int(sys.argv[2])
SERVER = {"port": PORT}
if "TLS_CA" in os.environ:
    SERVER |= {"ssl": True, "ssl_ca_certs": os.environ["TLS_CA"]}



def check_error(name, kind, text, call):
    try:
        got = call()
    except kind as error:
        check(name, text in str(error) or str(error))
    else:
        check(name, got, f"an error with '{text}'")


def wait_until(condition):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.005)
    return False


def strings(r):
    check("set", r.set("s", "v"))
    check("get", r.get("s"), "v")
    check("get nothing", r.get("nothing"), None)
    check("set nx", r.set("s", "w", nx=True), None)
    check("set xx get", r.set("s", "w", xx=True, get=True), "v")
    check("append", r.append("s", "xyz"), 4)
    check("strlen", r.strlen("s"), 4)
    check("getrange", r.getrange("s", 1, 2), "xy")
    check("setrange", r.setrange("s", 6, "end"), 9)
    check("zero bytes between", r.get("s"), "wxyz\0\0end")
    check("getdel", r.getdel("s"), "wxyz\0\0end")
    check("incr", [r.incr("n"), r.incrby("n", 9), r.decr("n"), r.decrby("n", 4)], [1, 10, 9, 5])
    check("incrbyfloat", r.incrbyfloat("n", 0.25), 5.25)
    check("mset", r.mset({"a": 1, "b": 2}))
    check("mget", r.mget("a", "nothing", "b"), ["1", None, "2"])
    check("msetnx", bool(r.msetnx({"a": 3, "c": 3})), False)
    check("getset", r.getset("a", "x"), "1")
    check("lcs", r.execute_command("LCS", "a", "a"), "x")


def keys(r):
    r.flushdb()
    check("expire", [r.set("k", "v", ex=100), bool(r.expire("k", 200, gt=True)), r.ttl("k")],
          [True, True, 200])
    check("persist", [bool(r.persist("k")), r.ttl("k"), r.ttl("nothing")], [True, -1, -2])
    check("pexpireat", [bool(r.pexpireat("k", 33177117420000)), r.pexpiretime("k")],
          [True, 33177117420000])
    r.set("short", "v", px=20)
    check("expires", wait_until(lambda: r.get("short") is None))
    check("getex", [r.getex("k", ex=50), 0 < r.ttl("k") <= 50], ["v", True])
    check("rename", [r.rename("k", "k2"), r.exists("k", "k2", "k2")], [True, 2])
    check("copy", [bool(r.copy("k2", "k3")), bool(r.copy("k2", "k3"))], [True, False])
    check("type", [r.type("k2"), r.type("nothing")], ["string", "none"])
    check("unlink", r.unlink("k2", "k3", "nothing"), 2)
    pipe = r.pipeline(transaction=False)
    for i in range(5000):
        pipe.set(f"scan:{i}", i)
    check("pipeline of 5000 sets", pipe.execute(), [True] * 5000)
    names = sorted(f"scan:{i}" for i in range(5000))
    check("scan_iter", sorted(r.scan_iter("scan:*", count=300)), names)
    check("scan_iter by type", len(list(r.scan_iter("scan:1*", _type="string"))), 1111)
    check("keys", len(r.keys("scan:4?")), 10)
    check("dbsize", r.dbsize(), 5000)
    check("delete many", r.delete(*names), 5000)
    check("dbsize after", r.dbsize(), 0)
    check("randomkey of nothing", r.randomkey(), None)


def bytes_and_size(raw):
    name, value = bytes(range(256)), os.urandom(8 << 20)
    check("binary key", [raw.set(name, value), raw.get(name) == value, raw.strlen(name)],
          [True, True, 8 << 20])
    check("binary name in scan", list(raw.scan_iter()), [name])
    check("range of a big value", raw.getrange(name, 5_000_000, 5_000_009),
          value[5_000_000:5_000_010])
    raw.setrange(name, 3_000_000, b"patched")
    check("patched big value", raw.get(name), value[:3_000_000] + b"patched" + value[3_000_007:])
    check("empty value", [raw.set(b"empty", b""), raw.get(b"empty")], [True, b""])
    raw.delete(name, b"empty")


def dumps(raw):
    raw.flushdb()
    raw.set("string", bytes(range(256)) * 500)
    raw.rpush("list", "a", 1, "x" * 10000)
    raw.sadd("set", *range(1000), "word")
    raw.zadd("zset", {f"m{i}": i / 3 for i in range(500)})
    raw.hset("hash", mapping={f"f{i}": "v" * i for i in range(100)})
    raw.xadd("stream", {"f": "v"}, "1-1")
    read = {"string": raw.get, "list": lambda k: raw.lrange(k, 0, -1), "set": raw.smembers,
            "zset": lambda k: raw.zrange(k, 0, -1, withscores=True), "hash": raw.hgetall,
            "stream": raw.xrange}
    for name, content in read.items():
        payload = raw.dump(name)
        check(f"restore a {name}", [bool(raw.restore("again", 0, payload, replace=True)),
                                    content("again") == content(name)], [True, True])
    check_error("restore over a key", redis.ResponseError, "already exists",
                lambda: raw.restore("string", 0, payload))
    check_error("restore damage", redis.ResponseError, "version or checksum",
                lambda: raw.restore("new", 0, payload[1:]))
    check("restore with an expiry", [bool(raw.restore("string", 5000, payload, replace=True)),
                                     0 < raw.pttl("string") <= 5000], [True, True])
    check("dump nothing", raw.dump("nothing"), None)


def pipelines(r):
    pipe = r.pipeline(transaction=False)
    pipe.set("p", 1).incr("p").get("p").incr("p").delete("p").get("p")
    check("read your writes in a pipeline", pipe.execute(), [True, 2, "2", 3, 1, None])
    pipe = r.pipeline(transaction=False)
    pipe.set("word", "x").incr("word").get("word")
    replies = pipe.execute(raise_on_error=False)
    check("an error within a pipeline",
          [replies[0], isinstance(replies[1], redis.ResponseError), replies[2]], [True, True, "x"])


def transactions(r):
    r.delete("t", "l")
    pipe = r.pipeline(transaction=True)
    pipe.set("t", 1).incr("t").rpush("l", "a", "b").lrange("l", 0, -1).blpop("l", 0)
    check("transaction", [list(x) if isinstance(x, (list, tuple)) else x for x in pipe.execute()],
          [True, 2, 2, ["a", "b"], ["l", "a"]])
    pipe = r.pipeline(transaction=True)
    pipe.set("word", "x").incr("word").get("word")
    replies = pipe.execute(raise_on_error=False)
    check("an error within a transaction",
          [replies[0], isinstance(replies[1], redis.ResponseError), replies[2]], [True, True, "x"])
    pipe = r.pipeline(transaction=True)
    pipe.set("t", "lost").execute_command("NOSUCH")
    check_error("an aborted transaction", redis.RedisError, "",
                pipe.execute)
    check("nothing of it ran", r.get("t"), "2")
    other = redis.Redis(**SERVER, protocol=PROTOCOL)
    with r.pipeline() as pipe:
        pipe.watch("t")
        value = int(pipe.get("t"))
        other.set("t", 10)
        pipe.multi()
        pipe.set("t", value + 1)
        check_error("a watched key that changes", redis.WatchError, "Watched variable changed",
                    pipe.execute)
    check("the other's value stays", r.get("t"), "10")
    attempts = []

    def increment(pipe):
        value = int(pipe.get("t"))
        if not attempts:
            other.incr("t")
        attempts.append(value)
        pipe.multi()
        pipe.set("t", value + 1).get("t")

    check("optimistic locking", [r.transaction(increment, "t"), attempts],
          [[True, "12"], [10, 11]])


def errors(r):
    r.set("word", "x")
    check_error("not an integer", redis.ResponseError, "not an integer", lambda: r.incr("word"))
    check_error("unknown command", redis.ResponseError, "unknown command 'NOSUCH'",
                lambda: r.execute_command("NOSUCH", 1))
    check_error("arity", redis.ResponseError, "wrong number of arguments for 'get' command",
                lambda: r.execute_command("GET"))
    check_error("database", redis.ResponseError, "DB index is out of range",
                lambda: r.execute_command("SELECT", 99))
    check_error("config", redis.ResponseError, "Unknown option",
                lambda: r.config_set("nosuch", 1))
    if PROTOCOL == 2:  # HELLO 3 with AUTH accepts any password while there is none
        check_error("password", redis.AuthenticationError, "",
                    lambda: redis.Redis(**SERVER, password="x", protocol=2).ping())


def server(r):
    check("ping", r.ping())
    check("echo", r.echo("hello"), "hello")
    info = r.info()
    version = tuple(int(part) for part in info["redis_version"].split("."))
    check("version of at least 7.0", version >= (7, 0))
    wanted = ["tcp_port", "run_id", "process_id", "uptime_in_seconds", "connected_clients",
              "maxmemory", "used_memory", "used_memory_rss", "total_commands_processed",
              "keyspace_hits", "keyspace_misses", "role", "master_replid", "used_cpu_user",
              "expired_keys", "evicted_keys", "loading", "redis_mode", "mem_fragmentation_ratio"]
    check("fields of INFO", [name for name in wanted if name not in info], [])
    if "TLS_CA" not in os.environ:
        check("port in INFO", info["tcp_port"], PORT)
    r.set("k", "v")
    check("keyspace of INFO", r.info("keyspace")["db0"]["keys"], r.dbsize())
    check("command statistics", r.info("commandstats")["cmdstat_set"]["calls"] > 0)
    check("config get", r.config_get("databases"), {"databases": "16"})
    check("config get many", sorted(r.config_get("maxmemory", "timeout")), ["maxmemory", "timeout"])
    check("config set", [r.config_set("slowlog-max-len", 32),
                         r.config_get("slowlog-max-len")["slowlog-max-len"]], [True, "32"])
    check("client name", [r.client_setname("sample"), r.client_getname()], [True, "sample"])
    mine = [c for c in r.client_list() if c["name"] == "sample"]
    check("client list", [len(mine), mine[0]["db"], mine[0]["resp"]], [1, "0", str(PROTOCOL)])
    check("library in client list", mine[0].get("lib-name", "redis-py"), "redis-py")
    check("client info", str(r.client_info()["id"]), str(r.client_id()))
    other = redis.Redis(**SERVER, protocol=PROTOCOL, single_connection_client=True)
    ident = other.client_id()
    check("client kill", r.client_kill_filter(_id=ident), 1)
    check("time", abs(r.time()[0] - time.time()) < 60)
    check("memory usage", r.memory_usage("k") > 0)
    check("object encoding", r.object("encoding", "k"), "embstr")
    check("slowlog", isinstance(r.slowlog_get(10), list))
    check("command count", r.command_count() > 50)
    check("command info", len(r.execute_command("COMMAND", "INFO", "get", "set")), 2)
    check("lastsave", r.lastsave().year >= 2024)
    check("wait", r.wait(0, 10), 0)
    hello = r.execute_command("HELLO", PROTOCOL)
    if not isinstance(hello, dict):
        hello = dict(zip(hello[::2], hello[1::2]))
    check("hello", [hello["proto"], hello["mode"], hello["role"]],
          [PROTOCOL, "standalone", "master"])


UNLOCK = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"

RATE_LIMIT = """
local now, window, limit = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('zremrangebyscore', KEYS[1], 0, now - window)
if redis.call('zcard', KEYS[1]) >= limit then
  return {0, redis.call('zrange', KEYS[1], 0, 0, 'withscores')[2]}
end
redis.call('zadd', KEYS[1], now, now)
redis.call('pexpire', KEYS[1], window)
return {1, cjson.encode({left = limit - redis.call('zcard', KEYS[1])})}
"""

LIBRARY = """#!lua name=counters
local function bump(keys, args)
  return redis.call('hincrby', keys[1], args[1], 1)
end
redis.register_function('bump', bump)
redis.register_function{function_name='peek', callback=function(keys, args)
  return redis.call('hget', keys[1], args[1])
end, flags={'no-writes'}}
"""


def scripts(r):
    unlock, limit = r.register_script(UNLOCK), r.register_script(RATE_LIMIT)
    check("lock", r.set("lock", "mine", nx=True, px=10_000))
    check("lock is taken", r.set("lock", "other", nx=True, px=10_000), None)
    check("only the owner unlocks", unlock(keys=["lock"], args=["other"]), 0)
    check("unlock", [unlock(keys=["lock"], args=["mine"]), r.exists("lock")], [1, 0])
    got = [limit(keys=["rate"], args=[now, 1000, 3]) for now in (5000, 5100, 5200, 5300, 6050)]
    check("rate limiter", [answer[0] for answer in got], [1, 1, 1, 0, 1])
    check("rate limiter says when", [got[0][1], got[3][1]], ['{"left":2}', "5000"])
    r.script_flush()
    check("a script is loaded again", unlock(keys=["lock"], args=["mine"]), 0)
    check("script exists", r.script_exists(unlock.sha, "0" * 40), [True, False])
    with r.pipeline() as pipe:
        pipe.set("n", 1)
        unlock(keys=["n"], args=["1"], client=pipe)
        check("a script in a transaction", pipe.execute(), [True, 1])
    check("eval_ro", r.eval_ro("return #ARGV", 0, "a", "b"), 2)
    check_error("eval_ro writes nothing", redis.ResponseError, "read-only",
                lambda: r.eval_ro("return redis.call('set', 'k', 'v')", 0))
    r.function_flush()
    check("function load", r.function_load(LIBRARY), "counters")
    check("fcall", [r.fcall("bump", 1, "h", "f"), r.fcall("bump", 1, "h", "f")], [1, 2])
    check("fcall_ro", r.fcall_ro("peek", 1, "h", "f"), "2")
    check("functions outlive FLUSHALL", [r.flushall(), r.fcall("bump", 1, "h", "f")], [True, 1])
    dump = redis.Redis(**SERVER, protocol=PROTOCOL).function_dump()
    check("function delete", r.function_delete("counters"))
    check("function restore", r.function_restore(dump))
    check("restored", r.fcall("bump", 1, "h", "f"), 2)
    r.function_flush()


def databases(r):
    third = redis.Redis(**SERVER, db=3, protocol=PROTOCOL, decode_responses=True)
    third.flushdb()
    r.flushdb()
    third.set("k", "third")
    check("databases are apart", [r.get("k"), third.get("k")], [None, "third"])
    check("move", [bool(third.move("k", 0)), r.get("k"), third.exists("k")], [True, "third", 0])
    check("swapdb", [bool(r.swapdb(0, 3)), third.get("k"), r.dbsize()], [True, "third", 0])
    check("copy to a database", [bool(third.copy("k", "k", destination_db=0)), r.get("k")],
          [True, "third"])
    check("flushall", [r.flushall(), third.dbsize(), r.dbsize()], [True, 0, 0])


def pubsub(r):
    listener = r.pubsub()
    listener.subscribe("news", "sport")
    listener.psubscribe("w*")

    def next_message():
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            message = listener.get_message(timeout=1)
            if message:
                return message["type"], message["pattern"], message["channel"], message["data"]
        return None

    check("subscribed", [next_message() for _ in range(3)],
          [("subscribe", None, "news", 1), ("subscribe", None, "sport", 2),
           ("psubscribe", None, "w*", 3)])
    check("numsub", r.pubsub_numsub("news", "none"), [("news", 1), ("none", 0)])
    check("publish", [r.publish("news", "a"), r.publish("weather", "b"), r.publish("none", "c")],
          [1, 1, 0])
    check("messages", [next_message(), next_message()],
          [("message", None, "news", "a"), ("pmessage", "w*", "weather", "b")])
    r.config_set("notify-keyspace-events", "KEA")
    listener.psubscribe("__keyevent@0__:*")
    check("events are asked for", next_message()[:3], ("psubscribe", None, "__keyevent@0__:*"))
    r.set("told", "x", px=30)
    check("events", [next_message()[2:] for _ in range(3)],
          [(f"__keyevent@0__:{name}", "told") for name in ("set", "expire", "expired")])
    r.config_set("notify-keyspace-events", "")
    listener.unsubscribe("news")
    check("unsubscribed", next_message()[:3], ("unsubscribe", None, "news"))
    listener.close()
    check("nobody listens", wait_until(lambda: r.pubsub_channels() == []), True)
    with r.monitor() as monitor:
        r.get("seen")
        shown = monitor.next_command()
        while shown["command"].split(" ")[0] != "GET":
            shown = monitor.next_command()
        check("monitor", [shown["command"], shown["db"]], ["GET seen", 0])


def client_side_cache(r):
    if PROTOCOL != 3:  # where the library has it
        return
    try:
        from redis.cache import CacheConfig
    except ImportError:
        return
    # The library asks a server of 7.4 or later only.
    cached = redis.Redis(**SERVER, protocol=3, decode_responses=True, cache_config=CacheConfig(),
                         single_connection_client=True)
    cache = cached.get_cache()
    r.set("cached", "1")
    r.hset("cached:hash", "f", "v")
    check("first read", [cached.get("cached"), cached.hget("cached:hash", "f")], ["1", "v"])
    check("two copies", cache.size, 2)
    calls = r.info("commandstats")["cmdstat_get"]["calls"]
    check("reads of the copy", [cached.get("cached") for _ in range(5)], ["1"] * 5)
    check("which ask nobody", r.info("commandstats")["cmdstat_get"]["calls"], calls)
    r.set("cached", "2")
    check("a write of another connection", wait_until(lambda: cached.get("cached") == "2"))
    r.hset("cached:hash", "f", "w")
    check("of a hash", wait_until(lambda: cached.hget("cached:hash", "f") == "w"))
    cached.set("cached", "3")
    check("its own write", cached.get("cached"), "3")
    r.flushdb()
    check("all keys", wait_until(lambda: cached.get("cached") is None))
    cached.close()
def users(r):
    r.acl_setuser("ann", enabled=True, passwords=["+secret"], commands=["+get", "+set", "+@list"],
                  keys=["a*"], channels=["news"], reset=True)
    check("users", r.acl_users(), ["ann", "default"])
    ann = r.acl_getuser("ann")
    check("rules", [ann["keys"], ann["channels"]], [["~a*"] if isinstance(ann["keys"], list) else "~a*",
          ["&news"] if isinstance(ann["channels"], list) else "&news"])
    check("commands", ann["commands"], ["+get", "+set"])
    check("categories", [ann["categories"], ann["enabled"]], [["-@all", "+@list"], True])
    mine = redis.Redis(**SERVER, protocol=PROTOCOL, username="ann", password="secret",
                       decode_responses=True, single_connection_client=True)
    check("may set", mine.set("a1", "v"))
    check("may get", mine.get("a1"), "v")
    check_error("another key", redis.exceptions.NoPermissionError, "No permissions to access a key",
                lambda: mine.get("b1"))
    check_error("another command", redis.exceptions.NoPermissionError,
                "User ann has no permissions to run the 'del' command", lambda: mine.delete("a1"))
    check_error("another password", redis.exceptions.AuthenticationError,
                "invalid username-password pair",
                lambda: redis.Redis(**SERVER, protocol=PROTOCOL, username="ann",
                                    password="wrong").ping())
    check("log", [(e["reason"], e["object"], e["username"]) for e in r.acl_log()][:2],
          [("auth", "HELLO" if PROTOCOL == 3 else "AUTH", "ann"), ("command", "del", "ann")])
    check("dry run", r.acl_dryrun("ann", "get", "b"),
          "User ann has no permissions to access the 'b' key")
    check("log is forgotten", r.acl_log_reset())
    check("who", r.acl_whoami(), "default")
    check("a password", len(r.acl_genpass()), 64)
    check("categories of all", "keyspace" in r.acl_cat() and "get" in r.acl_cat("string"))
    check("deleted", r.acl_deluser("ann"), 1)
    check_error("cut off", redis.exceptions.ConnectionError, "", lambda: mine.get("a1"))


def main():
    text = redis.Redis(**SERVER, protocol=PROTOCOL, decode_responses=True,
                       single_connection_client=True)
    raw = redis.Redis(**SERVER, protocol=PROTOCOL)
    text.flushall()
    parts = [(strings, text), (keys, text), (bytes_and_size, raw), (dumps, raw),
             (pipelines, text), (transactions, text), (errors, text), (scripts, text),
             (server, text), (databases, text), (pubsub, text), (client_side_cache, text),
             (users, text)]
    for part, client in parts:
        try:
            part(client)
        except Exception as error:  # one part that breaks must not hide the others
            check(f"{part.__name__} runs to its end", repr(error))
    return finish()


if __name__ == "__main__":
    sys.exit(main())
