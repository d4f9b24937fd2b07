use super::*;
use crate::commands::test_server::TestServer;

#[test]
fn shutdown_options() {
    let parse = |text: &str| {
        let words: Vec<Bytes> =
            text.split_whitespace().map(|w| Bytes::copy_from_slice(w.as_bytes())).collect();
        parse_shutdown(Args::new(&words, 0)).map_err(|error| error.to_string())
    };
    let request = |save, now, force| Ok(Some(ShutdownRequest { save, now, force }));
    assert_eq!(parse(""), request(None, false, false));
    assert_eq!(parse("nosave now force"), request(Some(false), true, true));
    assert_eq!(parse("save"), request(Some(true), false, false));
    assert_eq!(parse("abort"), Ok(None));
    for wrong in ["save nosave", "abort now", "x"] {
        assert_eq!(parse(wrong), Err("ERR syntax error".to_owned()), "{wrong}");
    }
}

#[tokio::test]
async fn abort_needs_a_shutdown() {
    let mut server = TestServer::new();
    let error = server.run_async("shutdown abort").await.expect_err("none runs");
    assert_eq!(error.to_string(), "ERR No shutdown in progress.");
    server.state.shutdown.request(ShutdownRequest::default());
    assert_eq!(server.run_async("shutdown abort").await.expect("aborts"), Reply::OK);
}

#[tokio::test]
async fn waitaof_syncs() {
    let mut server = TestServer::new();
    let error = server.run_async("waitaof 2 0 0").await.expect_err("one disk");
    assert_eq!(error.to_string(), "ERR value is out of range, value must between 0 and 1");
    for replicas in ["-1", "many"] {
        let call = format!("waitaof 0 {replicas} 0");
        let error = server.run_async(&call).await.expect_err("no number of replicas");
        assert_eq!(error.to_string(), "ERR value is out of range, must be positive");
    }
    let (sender, mut control) = tokio::sync::mpsc::channel(1);
    std::mem::swap(&mut control, &mut server.control);
    drop(sender);
    let syncing = tokio::spawn(async move {
        match control.recv().await {
            Some(Control::Sync(done)) => done.send(Ok(())),
            other => panic!("{other:?}"),
        }
    });
    let reply = server.run_async("waitaof 1 0 0").await.expect("syncs");
    assert_eq!(reply, Reply::Array(vec![Reply::Integer(1), Reply::Integer(0)]));
    syncing.await.expect("no panic").expect("was awaited");
}

#[tokio::test]
async fn waitaof_gives_up_on_a_slow_disk() {
    let mut server = TestServer::new();
    // Nobody answers the request to sync.
    let reply = server.run_async("waitaof 1 0 5").await.expect("times out");
    assert_eq!(reply, Reply::Array(vec![Reply::Integer(0), Reply::Integer(0)]));
}

#[tokio::test]
async fn wait_lasts_its_timeout() {
    let mut server = TestServer::new();
    assert_eq!(server.run_async("wait 0 0").await.expect("at once"), Reply::Integer(0));
    assert_eq!(server.run_async("wait 1 1").await.expect("later"), Reply::Integer(0));
    let error = server.run_async("wait 1 -1").await.expect_err("negative");
    assert_eq!(error.to_string(), "ERR timeout is negative");
}

#[tokio::test]
async fn one_save_at_a_time() {
    let mut server = TestServer::new();
    let started = server.run_async("bgsave").await.expect("starts");
    assert_eq!(started, Reply::Simple("Background saving started".into()));
    let error = server.run_async("bgsave").await.expect_err("one runs");
    assert_eq!(error.to_string(), "ERR Background save already in progress");
    let Some(Control::Flush(done)) = server.control.recv().await else { panic!("no flush") };
    done.send(Ok(())).expect("is awaited");
    while server.state.saving.load(Ordering::Acquire) {
        tokio::task::yield_now().await;
    }
    assert!(server.run_async("bgsave x").await.is_err());
}
