//! Through the blocking connections of `redis`.

use std::collections::{BTreeMap, BTreeSet};

use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{Client, Commands, Connection, RedisResult, Script, TlsCertificates, Value};
use tokio::runtime::Handle;

use super::checks::{Checks, PATIENCE, eventually};
use super::{RULES, Server, USER};

/// A client of the server, as a user or as the default one.
pub(crate) fn client(server: &Server, user: Option<(&str, &str)>) -> RedisResult<Client> {
    let user = user.map_or(String::new(), |(name, password)| format!("{name}:{password}@"));
    let scheme = if server.authority.is_some() { "rediss" } else { "redis" };
    let Server { port, protocol, .. } = server;
    let url = format!("{scheme}://{user}127.0.0.1:{port}/0?protocol=resp{protocol}");
    match &server.authority {
        None => Client::open(url),
        Some(authority) => Client::build_with_tls(
            url,
            TlsCertificates { client_tls: None, root_cert: Some(authority.clone()) },
        ),
    }
}

/// Makes the user.
pub(crate) fn make_user(server: &Server) -> RedisResult<()> {
    let mut admin = client(server, None)?.get_connection()?;
    redis::cmd("ACL").arg("SETUSER").arg(USER.0).arg(&RULES).exec(&mut admin)?;
    redis::cmd("FLUSHALL").exec(&mut admin)
}

/// Runs all of it, on a thread that may block.
pub(crate) fn run(server: &Server, checks: &mut Checks) -> RedisResult<()> {
    make_user(server)?;
    let client = client(server, Some(USER))?;
    let mut r = client.get_connection()?;
    let who: RedisResult<String> = redis::cmd("ACL").arg("WHOAMI").query(&mut r);
    checks.is("who it is", who, USER.0.to_owned());
    strings(checks, &mut r);
    collections(checks, &mut r);
    pipelines(checks, &client, &mut r)?;
    scripts(checks, &mut r);
    scans(checks, &mut r)?;
    streams(checks, &mut r)?;
    subscriptions(checks, &client, &mut r)?;
    blocking(checks, &client, &mut r)?;
    refusals(checks, server, &mut r)
}

fn strings(checks: &mut Checks, r: &mut Connection) {
    checks.is("set", r.set::<_, _, ()>("s", "v"), ());
    checks.is("get", r.get("s"), Some("v".to_owned()));
    checks.is("get nothing", r.get("nothing"), None::<String>);
    checks.is("get bytes", r.get("s"), b"v".to_vec());
    checks.is("set nx", r.set_nx("s", "w"), false);
    checks.is("append", r.append("s", "xyz"), 4);
    checks.is("getrange", r.getrange("s", 1, 2), "xy".to_owned());
    checks.is("incr", r.incr("n", 41), 41);
    checks.is("incr by a float", r.incr("f", 1.5), 1.5);
    checks.is("mset", r.mset::<_, _, ()>(&[("a", 1), ("b", 2)]), ());
    checks.is("mget", r.mget(&["a", "none", "b"]), vec![Some(1), None, Some(2)]);
    checks.is("expire", r.pexpire("a", 100_000), true);
    checks.holds("pttl", r.pttl("a").is_ok_and(|left: i64| (1..=100_000).contains(&left)));
    checks.is("del", r.del(&["a", "b", "none"]), 2);
    checks.fails("wrong type", r.lpush::<_, _, i64>("s", 1), "WRONGTYPE");
}

fn collections(checks: &mut Checks, r: &mut Connection) {
    let fields = [("one", 1), ("two", 2)];
    checks.is("hset", r.hset_multiple::<_, _, _, ()>("h", &fields), ());
    let all: BTreeMap<String, i64> = fields.map(|(k, v)| (k.to_owned(), v)).into();
    checks.is("hgetall", r.hgetall("h"), all);
    checks.is("hincr", r.hincr("h", "two", 3), 5);
    checks.is("rpush", r.rpush("l", &[1, 2, 3]), 3);
    checks.is("lrange", r.lrange("l", 0, -1), vec![1, 2, 3]);
    checks.is("lpop", r.lpop("l", None), Some(1));
    checks.is("sadd", r.sadd("set", &["x", "y", "x"]), 2);
    let members: BTreeSet<String> = ["x", "y"].map(str::to_owned).into();
    checks.is("smembers", r.smembers("set"), members);
    checks.is("zadd", r.zadd_multiple("z", &[(1.5, "a"), (0.5, "b")]), 2);
    let scored = vec![("b".to_owned(), 0.5), ("a".to_owned(), 1.5)];
    checks.is("zrange withscores", r.zrange_withscores("z", 0, -1), scored);
    checks.is("zscore", r.zscore("z", "a"), Some(1.5));
    checks.is("zpopmin", r.zpopmin("z", 1), vec![("b".to_owned(), 0.5)]);
    checks.is("geoadd", r.geo_add("g", (13.361_389, 38.115_556, "Palermo")), 1);
}

fn pipelines(checks: &mut Checks, client: &Client, r: &mut Connection) -> RedisResult<()> {
    let mut pipe = redis::pipe();
    for n in 0..1000 {
        pipe.set(format!("p:{n}"), n).ignore();
    }
    let last: RedisResult<(i64,)> = pipe.get("p:999").query(r);
    checks.is("a pipeline", last, (999,));
    let mut atomic = redis::pipe();
    let answered = atomic.atomic().set("t", 1).ignore().incr("t", 5).get("t").query(r);
    checks.is("a transaction", answered, (6, 6));
    watched(checks, client, r)?;
    let mut failing = redis::pipe();
    let failed: RedisResult<Vec<Value>> = failing.set("w", "v").incr("w", 1).query(r);
    checks.fails("an error within a pipeline", failed, "not an integer");
    Ok(())
}

/// A transaction that is tried again because somebody else was first.
fn watched(checks: &mut Checks, client: &Client, r: &mut Connection) -> RedisResult<()> {
    let mut other = client.get_connection()?;
    let mut tries = 0;
    let doubled: RedisResult<i64> = redis::transaction(r, &["t"], |r, pipe| {
        let old: i64 = r.get("t")?;
        tries += 1;
        if tries == 1 {
            let _more: i64 = other.incr("t", 1)?;
        }
        let got: Option<(i64,)> = pipe.set("t", old * 2).ignore().get("t").query(r)?;
        Ok(got.map(|(value,)| value))
    });
    checks.is("watched", doubled, 14);
    checks.is("it was tried again", Ok::<_, ()>(tries), 2);
    Ok(())
}

fn scripts(checks: &mut Checks, r: &mut Connection) {
    let script = Script::new("return {KEYS[1], ARGV[1] + 1, redis.call('GET', KEYS[1])}");
    let want = ("t".to_owned(), 8, "14".to_owned());
    for round in ["loaded", "known"] {
        checks.is(round, script.key("t").arg(7).invoke(r), want.clone());
    }
    let failing = Script::new("return redis.error_reply('MINE of a script')");
    checks.fails("its error", failing.invoke::<Value>(r), "of a script");
}

fn scans(checks: &mut Checks, r: &mut Connection) -> RedisResult<()> {
    let keys: RedisResult<BTreeSet<String>> = r.scan_match("p:*")?.collect();
    checks.is("scan", keys.map(|keys| keys.len()), 1000);
    let members: Vec<String> = (0..700).map(|n| format!("m:{n}")).collect();
    let _added: i64 = r.sadd("many", &members)?;
    let scanned: RedisResult<BTreeSet<String>> = r.sscan("many")?.collect();
    checks.is("sscan", scanned.map(|members| members.len()), 700);
    let fields: RedisResult<Vec<(String, i64)>> = r.hscan("h")?.collect();
    checks.is("hscan", fields.map(|fields| fields.len()), 2);
    Ok(())
}

fn streams(checks: &mut Checks, r: &mut Connection) -> RedisResult<()> {
    let _id: String = r.xadd("x", "1-1", &[("f", "v")])?;
    checks.is("xlen", r.xlen("x"), 1);
    checks.is("a group", r.xgroup_create::<_, _, _, ()>("x", "g", "0"), ());
    let options = StreamReadOptions::default().group("g", "c").count(10);
    let read: StreamReadReply =
        r.xread_options::<_, _, Option<_>>(&["x"], &[">"], &options)?.unwrap_or_default();
    let ids: Vec<_> = read.keys.iter().flat_map(|key| &key.ids).map(|id| id.id.clone()).collect();
    checks.is("xreadgroup", Ok::<_, ()>(ids), vec!["1-1".to_owned()]);
    checks.is("xack", r.xack("x", "g", &["1-1"]), 1);
    Ok(())
}

fn subscriptions(checks: &mut Checks, client: &Client, r: &mut Connection) -> RedisResult<()> {
    let mut listener = client.get_connection()?;
    listener.set_read_timeout(Some(PATIENCE))?;
    let mut pubsub = listener.as_pubsub();
    pubsub.subscribe("news")?;
    pubsub.psubscribe("new*")?;
    checks.is("publish", r.publish("news", "text"), 2);
    for pattern in [None, Some("new*".to_owned())] {
        let message = pubsub.get_message()?;
        checks.is("a message", message.get_payload(), "text".to_owned());
        checks.is("of a pattern", message.get_pattern(), pattern);
    }
    pubsub.unsubscribe("news")?;
    pubsub.punsubscribe("new*")?;
    drop(pubsub);
    checks.is("the connection goes on", listener.get("n"), 41);
    Ok(())
}

fn blocking(checks: &mut Checks, client: &Client, r: &mut Connection) -> RedisResult<()> {
    let mut waiting = client.get_connection()?;
    let waiter = std::thread::spawn(move || waiting.blpop("queue", 10.0));
    let waits = eventually(async || {
        let told: RedisResult<String> = redis::cmd("INFO").arg("clients").query(r);
        told.is_ok_and(|told| told.contains("blocked_clients:1\r\n"))
    });
    checks.holds("it waits", Handle::current().block_on(waits));
    let _length: i64 = r.rpush("queue", "job")?;
    let got: RedisResult<(String, String)> =
        waiter.join().unwrap_or_else(|_| Ok(Default::default()));
    checks.is("blpop", got, ("queue".to_owned(), "job".to_owned()));
    checks.is("in vain", r.blpop("queue", 0.01), None::<(String, String)>);
    Ok(())
}

fn refusals(checks: &mut Checks, server: &Server, r: &mut Connection) -> RedisResult<()> {
    let wrong = client(server, Some((USER.0, "wrong")))?.get_connection().map(drop);
    // The library has a text of its own for a refused AUTH.
    let text = if server.protocol == 3 { "WRONGPASS" } else { "authentication failed" };
    checks.fails("a wrong password", wrong, text);
    let _made: () = redis::cmd("ACL")
        .arg(&["SETUSER", "reader", "reset", "on", ">secret", "~p:*", "+get", "+client", "+hello"])
        .query(r)?;
    let mut reader = client(server, Some(("reader", "secret")))?.get_connection()?;
    checks.is("what a user may", reader.get("p:7"), 7);
    checks.fails("what it may not", reader.set::<_, _, ()>("p:7", 1), "permissions");
    checks.fails("nor with this key", reader.get::<_, Value>("n"), "permissions");
    Ok(())
}
