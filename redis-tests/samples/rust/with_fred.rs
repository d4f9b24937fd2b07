//! Through `fred`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fred::interfaces::TrackingInterface;
use fred::prelude::*;
use fred::rustls::pki_types::{CertificateDer, pem::PemObject};
use fred::rustls::{ClientConfig, RootCertStore};
use fred::types::config::TlsConnector;
use fred::types::scan::Scanner;
use fred::types::scripts::Script;
use fred::types::{Builder, InfoKind, RespVersion};
use futures::TryStreamExt;

use super::checks::{Checks, PATIENCE, eventually};
use super::{RULES, Server, USER};

/// How a client connects, as a user or as the default one.
fn config(server: &Server, user: Option<(&str, &str)>) -> Result<Config, Error> {
    let tls = match &server.authority {
        None => None,
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(authority) {
                let certificate = certificate.map_err(unreadable)?;
                roots.add(certificate).map_err(unreadable)?;
            }
            let config =
                ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
            Some(TlsConnector::from(config).into())
        }
    };
    Ok(Config {
        username: user.map(|(name, _)| name.to_owned()),
        password: user.map(|(_, password)| password.to_owned()),
        server: ServerConfig::new_centralized("127.0.0.1", server.port),
        version: if server.protocol == 3 { RespVersion::RESP3 } else { RespVersion::RESP2 },
        tls,
        ..Config::default()
    })
}

fn unreadable(error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Tls, error.to_string())
}

async fn connect(server: &Server, user: Option<(&str, &str)>) -> Result<Client, Error> {
    let client = Builder::from_config(config(server, user)?).build()?;
    client.init().await?;
    Ok(client)
}

/// Runs all of it.
pub(crate) async fn run(server: &Server, checks: &mut Checks) -> Result<(), Error> {
    let admin = connect(server, None).await?;
    let _made: () = admin.acl_setuser(USER.0, RULES.to_vec()).await?;
    let _flushed: () = admin.flushall(false).await?;
    let r = connect(server, Some(USER)).await?;
    checks.is("who it is", r.acl_whoami().await, USER.0.to_owned());
    values(checks, &r).await?;
    pipelines(checks, &r).await?;
    transactions(checks, server, &r).await?;
    scripts(checks, &r).await?;
    scans(checks, &r).await?;
    subscriptions(checks, server, &r).await?;
    blocking(checks, server, &r).await?;
    streams(checks, &r).await?;
    refusals(checks, server, &r).await?;
    comes_back(checks, server, &r).await?;
    if server.protocol == 3 {
        tracking(checks, server, &r).await?;
    }
    let _bye: Result<(), Error> = r.quit().await;
    Ok(())
}

async fn values(checks: &mut Checks, r: &Client) -> Result<(), Error> {
    checks.is("set", r.set::<(), _, _>("s", "v", None, None, false).await, ());
    checks.is("get", r.get("s").await, Some("v".to_owned()));
    checks.is("get nothing", r.get("nothing").await, None::<String>);
    let expiring = Some(Expiration::EX(100));
    checks.is("set ex", r.set::<(), _, _>("e", 1, expiring, None, false).await, ());
    checks.holds("ttl", r.ttl("e").await.is_ok_and(|left: i64| (1..=100).contains(&left)));
    checks.is("incrby", r.incr_by("n", 41).await, 41);
    checks.is("hset", r.hset("h", vec![("one", 1), ("two", 2)]).await, 2);
    let all: BTreeMap<String, i64> = [("one".to_owned(), 1), ("two".to_owned(), 2)].into();
    checks.is("hgetall", r.hgetall("h").await, all);
    checks.is("rpush", r.rpush("l", vec![1, 2, 3]).await, 3);
    checks.is("lrange", r.lrange("l", 0, -1).await, vec![1, 2, 3]);
    checks.is("sadd", r.sadd("set", vec!["x", "y"]).await, 2);
    checks.is("sismember", r.sismember("set", "x").await, true);
    checks.is("zadd", r.zadd("z", None, None, false, false, (1.5, "a")).await, 1);
    checks.is("zscore", r.zscore("z", "a").await, Some(1.5));
    checks.fails("wrong type", r.lpush::<i64, _, _>("s", 1).await, "WRONGTYPE");
    Ok(())
}

async fn pipelines(checks: &mut Checks, r: &Client) -> Result<(), Error> {
    let pipeline = r.pipeline();
    for n in 0..500 {
        let _queued: () = pipeline.set(format!("p:{n}"), n, None, None, false).await?;
    }
    checks.is("a pipeline", pipeline.all::<Vec<String>>().await.map(|all| all.len()), 500);
    let pipeline = r.pipeline();
    let _queued: () = pipeline.incr("n").await?;
    let _queued: () = pipeline.hgetall("n").await?;
    let each = pipeline.try_all::<i64>().await;
    checks.holds("each of a pipeline", matches!(each.as_slice(), [Ok(42), Err(_)]));
    Ok(())
}

async fn transactions(checks: &mut Checks, server: &Server, r: &Client) -> Result<(), Error> {
    let transaction = r.multi();
    let _queued: () = transaction.get("s").await?;
    let _queued: () = transaction.incr("n").await?;
    checks.is("a transaction", transaction.exec(true).await, ("v".to_owned(), 43));
    let other = connect(server, Some(USER)).await?;
    r.watch("n").await?;
    checks.is("somebody else", other.incr("n").await, 44);
    let transaction = r.multi();
    let _queued: () = transaction.set("n", 0, None, None, false).await?;
    checks.is("a watched key that changes", transaction.exec(true).await, None::<i64>);
    checks.is("nothing of it ran", r.get("n").await, 44);
    let transaction = r.multi();
    let _queued: () = transaction.incr("s").await?;
    checks.fails("an error within", transaction.exec::<Value>(true).await, "not an integer");
    other.quit().await
}

async fn scripts(checks: &mut Checks, r: &Client) -> Result<(), Error> {
    let script = Script::from_lua("return {KEYS[1], ARGV[1] + 1}");
    for _ in 0..2 {
        let got = script.evalsha_with_reload(r, vec!["k"], vec![1]).await;
        checks.is("a script", got, ("k".to_owned(), 2));
    }
    let got = r.eval("return redis.call('GET', KEYS[1])", vec!["s"], Vec::<i64>::new()).await;
    checks.is("eval", got, "v".to_owned());
    let failed: Result<Value, Error> = r
        .eval("return redis.error_reply('MINE of a script')", Vec::<&str>::new(), Vec::<i64>::new())
        .await;
    checks.fails("its error", failed, "of a script");
    Ok(())
}

async fn scans(checks: &mut Checks, r: &Client) -> Result<(), Error> {
    let keys: BTreeSet<Key> = r.scan_buffered("p:*", Some(10), None).try_collect().await?;
    checks.is("scan", Ok::<_, ()>(keys.len()), 500);
    let members: Vec<String> = (0..700).map(|n| format!("m:{n}")).collect();
    let _added: i64 = r.sadd("many", members).await?;
    let scanned: Vec<Value> = r
        .sscan("many", "*", Some(50))
        .map_ok(|mut page| page.take_results().unwrap_or_default())
        .try_concat()
        .await?;
    checks.is("sscan", Ok::<_, ()>(scanned.len()), 700);
    Ok(())
}

async fn subscriptions(checks: &mut Checks, server: &Server, r: &Client) -> Result<(), Error> {
    let listener = connect(server, Some(USER)).await?;
    let mut messages = listener.message_rx();
    listener.subscribe("news").await?;
    listener.psubscribe("new*").await?;
    // In RESP3 the client does not wait for the server to have subscribed it.
    let subscribed = eventually(async || r.pubsub_numpat().await.is_ok_and(|n: i64| n == 1)).await;
    checks.holds("subscribed", subscribed);
    checks.is("publish", r.publish("news", "text").await, 2);
    for _ in 0..2 {
        let message = tokio::time::timeout(PATIENCE, messages.recv()).await;
        let text = message.ok().and_then(Result::ok).and_then(|m| m.value.convert().ok());
        checks.is("a message", Ok::<_, ()>(text), Some("text".to_owned()));
    }
    listener.ssubscribe("shard").await?;
    let is_told = eventually(async || r.spublish("shard", "x").await.is_ok_and(|n: i64| n == 1));
    let is_told = is_told.await;
    checks.holds("spublish", is_told);
    listener.unsubscribe("news").await?;
    let nobody = async || r.publish("news", "x").await.is_ok_and(|n: i64| n == 1);
    let nobody = eventually(nobody).await;
    checks.holds("only the pattern is left", nobody);
    let _bye: Result<(), Error> = listener.quit().await;
    Ok(())
}

async fn blocking(checks: &mut Checks, server: &Server, r: &Client) -> Result<(), Error> {
    let waiting = connect(server, Some(USER)).await?;
    let waiter = tokio::spawn(async move { waiting.blpop("queue", 10.0).await });
    let waits = eventually(async || {
        let told: Result<String, Error> = r.info(Some(InfoKind::Clients)).await;
        told.is_ok_and(|told| told.contains("blocked_clients:1\r\n"))
    });
    let waits = waits.await;
    checks.holds("it waits", waits);
    let _length: i64 = r.rpush("queue", "job").await?;
    let got: Result<(String, String), Error> = waiter.await.map_err(unreadable)?;
    checks.is("blpop", got, ("queue".to_owned(), "job".to_owned()));
    Ok(())
}

async fn streams(checks: &mut Checks, r: &Client) -> Result<(), Error> {
    let id: String = r.xadd("x", false, None, "1-1", vec![("f", "v")]).await?;
    checks.is("xadd", Ok::<_, ()>(id), "1-1".to_owned());
    let _made: () = r.xgroup_create("x", "g", "0", false).await?;
    let read = r
        .xreadgroup_map::<String, String, String, String, _, _, _, _>(
            "g",
            "c",
            Some(10),
            None,
            false,
            "x",
            ">",
        )
        .await?;
    checks.is("xreadgroup", Ok::<_, ()>(read.get("x").map(Vec::len)), Some(1));
    checks.is("xack", r.xack("x", "g", "1-1").await, 1);
    Ok(())
}

async fn refusals(checks: &mut Checks, server: &Server, r: &Client) -> Result<(), Error> {
    let wrong = connect(server, Some((USER.0, "wrong"))).await.map(drop);
    checks.fails("a wrong password", wrong, "WRONGPASS");
    let rules = ["reset", "on", ">secret", "~p:*", "+get", "+set", "+@connection", "+info"];
    let _made: () = r.acl_setuser("reader", rules.to_vec()).await?;
    let reader = connect(server, Some(("reader", "secret"))).await?;
    checks.is("what a user may", reader.get("p:7").await, 7);
    checks.fails("what it may not", reader.incr::<i64, _>("p:7").await, "permissions");
    checks.fails("nor with this key", reader.get::<Value, _>("n").await, "permissions");
    reader.quit().await
}

/// A client whose connection was closed.
async fn comes_back(checks: &mut Checks, server: &Server, r: &Client) -> Result<(), Error> {
    let mut builder = Builder::from_config(config(server, Some(USER))?);
    builder.set_policy(ReconnectPolicy::new_constant(0, 10));
    let killed = builder.build()?;
    killed.init().await?;
    let id: i64 = killed.client_id().await?;
    let filter = vec![fred::types::client::ClientKillFilter::ID(id.to_string())];
    checks.is("kill", r.client_kill(filter).await, 1);
    let again = eventually(async || killed.get::<String, _>("s").await.is_ok_and(|got| got == "v"));
    let again = again.await;
    checks.holds("it comes back", again);
    Ok(())
}

/// What tells a client that its copies are no good.
async fn tracking(checks: &mut Checks, server: &Server, r: &Client) -> Result<(), Error> {
    let caching = connect(server, Some(USER)).await?;
    let told = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&told);
    let _task = caching.on_invalidation(move |invalidation| {
        counted.fetch_add(invalidation.keys.len(), Ordering::Relaxed);
        Ok(())
    });
    caching.start_tracking(None, false, false, false, false).await?;
    checks.is("what it keeps", caching.get("s").await, "v".to_owned());
    let _set: () = r.set("s", "w", None, None, false).await?;
    let is_told = eventually(async || told.load(Ordering::Relaxed) == 1).await;
    checks.holds("it is told", is_told);
    checks.is("its newer form", caching.get("s").await, "w".to_owned());
    caching.stop_tracking().await?;
    Ok(())
}
