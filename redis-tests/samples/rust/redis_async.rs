//! Through the asynchronous connections of `redis`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::StreamExt;
use redis::aio::{ConnectionManagerConfig, MultiplexedConnection, transaction_async};
use redis::caching::CacheConfig;
use redis::{
    AsyncCommands, AsyncConnectionConfig, Client, PushKind, RedisResult, Script, from_redis_value,
};

use super::checks::{Checks, PATIENCE, eventually};
use super::redis_sync::{client, make_user};
use super::{Server, USER};

/// Runs all of it.
pub(crate) async fn run(server: &Server, checks: &mut Checks) -> RedisResult<()> {
    tokio::task::block_in_place(|| make_user(server))?;
    let client = client(server, Some(USER))?;
    let mut r = client.get_multiplexed_async_connection().await?;
    let who: RedisResult<String> = redis::cmd("ACL").arg("WHOAMI").query_async(&mut r).await;
    checks.is("who it is", who, USER.0.to_owned());
    basics(checks, &mut r).await?;
    watched(checks, &client).await?;
    many_at_once(checks, &r).await;
    scans(checks, &mut r).await?;
    subscriptions(checks, &client, &mut r).await?;
    manager(checks, &client).await?;
    if server.protocol == 3 {
        pushes(checks, &client, &mut r).await?;
        caching(checks, &client, &mut r).await?;
    }
    Ok(())
}

async fn basics(checks: &mut Checks, r: &mut MultiplexedConnection) -> RedisResult<()> {
    checks.is("set", r.set::<_, _, ()>("s", "v").await, ());
    checks.is("get", r.get("s").await, "v".to_owned());
    checks.is("hset", r.hset("h", "f", 1).await, 1);
    checks.is("zadd", r.zadd("z", "m", 1.25).await, 1);
    checks.is("zscore", r.zscore("z", "m").await, 1.25);
    let mut pipe = redis::pipe();
    let answered = pipe.atomic().incr("n", 1).incr("n", 1).get("s").query_async(r).await;
    checks.is("a transaction", answered, (1, 2, "v".to_owned()));
    let mut pipe = redis::pipe();
    for n in 0..500 {
        pipe.set(format!("p:{n}"), n).ignore();
    }
    checks.is("a pipeline", pipe.exec_async(r).await, ());
    let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    for total in [5, 10] {
        checks.is("a script", script.key("by").arg(5).invoke_async(r).await, total);
    }
    checks.fails("wrong type", r.sadd::<_, _, i64>("s", 1).await, "WRONGTYPE");
    Ok(())
}

/// A transaction that is tried again because somebody else was first.
async fn watched(checks: &mut Checks, client: &Client) -> RedisResult<()> {
    let connection = client.get_multiplexed_async_connection().await?;
    let other = client.get_multiplexed_async_connection().await?;
    let tries = AtomicU32::new(0);
    let doubled = transaction_async(connection, &["n"], async |mut r, mut pipe| {
        let old: i64 = r.get("n").await?;
        if tries.fetch_add(1, Ordering::Relaxed) == 0 {
            let _more: i64 = other.clone().incr("n", 1).await?;
        }
        pipe.set("n", old * 2).ignore().get("n").query_async(&mut r).await
    });
    checks.is("watched", doubled.await, (6,));
    checks.is("it was tried again", Ok::<_, ()>(tries.into_inner()), 2);
    Ok(())
}

async fn many_at_once(checks: &mut Checks, r: &MultiplexedConnection) {
    let calls = (0..200_i64).map(|n| {
        let mut r = r.clone();
        async move { r.get::<_, i64>(format!("p:{n}")).await.is_ok_and(|got| got == n) }
    });
    let right = futures::future::join_all(calls).await.into_iter().filter(|right| *right).count();
    checks.is("many at once", Ok::<_, ()>(right), 200);
}

async fn scans(checks: &mut Checks, r: &mut MultiplexedConnection) -> RedisResult<()> {
    let keys: BTreeSet<String> = r
        .scan_match::<_, String>("p:*")
        .await?
        .filter_map(|key| async { key.ok() })
        .collect()
        .await;
    checks.is("scan", Ok::<_, ()>(keys.len()), 500);
    let _added: i64 = r.zadd_multiple("zs", &[(1, "a"), (2, "b")]).await?;
    let scanned: Vec<(String, f64)> = r
        .zscan::<_, (String, f64)>("zs")
        .await?
        .filter_map(|item| async { item.ok() })
        .collect()
        .await;
    checks.is("zscan", Ok::<_, ()>(scanned.len()), 2);
    Ok(())
}

async fn subscriptions(
    checks: &mut Checks,
    client: &Client,
    r: &mut MultiplexedConnection,
) -> RedisResult<()> {
    let mut pubsub = client.get_async_pubsub().await?;
    pubsub.subscribe("news").await?;
    checks.is("publish", r.publish("news", "text").await, 1);
    let next = tokio::time::timeout(PATIENCE, pubsub.on_message().next()).await;
    let text = next.ok().flatten().map(|message| message.get_payload::<String>());
    checks.is("a message", text.transpose(), Some("text".to_owned()));
    pubsub.psubscribe("new*").await?;
    checks.is("publish twice", r.publish("news", "text").await, 2);
    let both = tokio::time::timeout(PATIENCE, async {
        let messages = pubsub.on_message().take(2).collect::<Vec<_>>().await;
        messages.iter().filter_map(|message| message.get_pattern().ok()).collect::<Vec<_>>()
    });
    checks.is("one by a pattern", both.await, vec![None, Some("new*".to_owned())]);
    let mut monitor = client.get_async_monitor().await?;
    let _set: () = r.set("seen", 1).await?;
    let mut lines = monitor.on_message::<String>();
    let line = tokio::time::timeout(PATIENCE, lines.next()).await.ok().flatten();
    checks.holds("monitor", line.is_some_and(|line| line.contains("\"seen\"")));
    Ok(())
}

/// A connection that is made again when it is gone.
async fn manager(checks: &mut Checks, client: &Client) -> RedisResult<()> {
    let mut r = client.get_connection_manager_with_config(ConnectionManagerConfig::new()).await?;
    let id: u64 = redis::cmd("CLIENT").arg("ID").query_async(&mut r).await?;
    let mut other = client.get_multiplexed_async_connection().await?;
    let killed = redis::cmd("CLIENT").arg(&["KILL", "ID"]).arg(id).query_async(&mut other).await;
    checks.is("kill", killed, 1);
    let again = eventually(async || r.get::<_, String>("s").await.is_ok_and(|got| got == "v"));
    let again = again.await;
    checks.holds("it comes back", again);
    Ok(())
}

/// Subscriptions on the connection that makes calls.
async fn pushes(
    checks: &mut Checks,
    client: &Client,
    r: &mut MultiplexedConnection,
) -> RedisResult<()> {
    let (sender, mut pushed) = tokio::sync::mpsc::unbounded_channel();
    let config = AsyncConnectionConfig::new().set_push_sender(sender);
    let mut listener = client.get_multiplexed_async_connection_with_config(&config).await?;
    listener.subscribe("pushed").await?;
    checks.is("a call between", listener.get("s").await, "v".to_owned());
    let _told: i64 = r.publish("pushed", "text").await?;
    let text = tokio::time::timeout(PATIENCE, async {
        while let Some(mut push) = pushed.recv().await {
            if push.kind == PushKind::Message {
                return push.data.pop().and_then(|data| from_redis_value::<String>(data).ok());
            }
        }
        None
    });
    checks.is("a push", text.await, Some("text".to_owned()));
    Ok(())
}

/// Copies that the client keeps.
async fn caching(
    checks: &mut Checks,
    client: &Client,
    r: &mut MultiplexedConnection,
) -> RedisResult<()> {
    let config = AsyncConnectionConfig::new().set_cache_config(CacheConfig::default());
    let mut caching = client.get_multiplexed_async_connection_with_config(&config).await?;
    let _set: () = r.set("cached", 1).await?;
    for _ in 0..10 {
        checks.is("a copy", caching.get("cached").await, 1);
    }
    let statistics = caching.get_cache_statistics();
    checks.holds("copies are used", statistics.is_some_and(|found| found.hit >= 9));
    let _set: () = r.set("cached", 2).await?;
    let renewed = eventually(async || caching.get::<_, i64>("cached").await.is_ok_and(|n| n == 2));
    let renewed = renewed.await;
    checks.holds("no copy is stale", renewed);
    let told = caching.get_cache_statistics().map_or(0, |found| found.invalidate);
    checks.holds("it was told", told >= 1);
    Ok(())
}
