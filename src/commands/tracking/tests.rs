//! Who is told of what, and that no copy is stale however reads and writes cross.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::*;
use crate::commands::pubsub::Portion;
use crate::commands::test_server::TestServer;
use crate::commands::{Control, Session};
use crate::config::Settings;
use crate::protocol::{Reply, Version};

/// A server whose writer has nothing to settle.
fn server() -> TestServer {
    let mut server =
        TestServer::with(Settings { tracking_table_max_keys: 3, ..Default::default() });
    let mut control = std::mem::replace(&mut server.control, mpsc::channel(1).1);
    tokio::spawn(async move {
        while let Some(Control::Settle(to)) = control.recv().await {
            drop(to.send(Ok(())));
        }
    });
    server
}

/// A connection of the server that speaks RESP3 and tracks.
async fn tracker(server: &mut TestServer, call: &str) -> Session {
    let session = std::mem::replace(&mut server.session, TestServer::connect(&server.state));
    server.session.speak(Version::Resp3);
    assert_eq!(server.run_async(call).await.expect(call), Reply::OK);
    std::mem::replace(&mut server.session, session)
}

/// What waits for a connection that has got so many replies, in short.
fn pushed(session: &mut Session, state: &ServerState, replies: u64) -> String {
    session.adopt_outbox(state);
    let Some(outbox) = session.outbox() else { return String::new() };
    let mut batch = VecDeque::new();
    outbox.take(&mut batch, Portion::all(replies));
    let texts = batch.iter().map(|frame| String::from_utf8_lossy(frame).into_owned());
    let words = |text: String| {
        let words = text.split("\r\n").filter(|w| !w.is_empty() && !w.starts_with(['>', '*', '$']));
        words.collect::<Vec<_>>().join(" ")
    };
    texts.map(words).collect::<Vec<_>>().join(", ")
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn modify(state: &ServerState, key: &'static str, cause: Cause) {
    if let Some(mut delivery) = state.tracking.modified(&bytes(key), cause) {
        assert!(delivery.advance(state, usize::MAX));
    }
}

#[tokio::test]
async fn who_has_read_is_told_once_behind_its_reply() {
    let mut server = server();
    let mut one = tracker(&mut server, "client tracking on").await;
    let mut two = tracker(&mut server, "client tracking on noloop").await;
    let state = &server.state;
    state.tracking.remember(one.client.id, 3, b"k");
    state.tracking.remember(two.client.id, 0, b"k");
    modify(state, "k", Cause { client: two.client.id, reply: 9 });
    assert_eq!(pushed(&mut one, state, 2), "", "not before the value");
    assert_eq!(pushed(&mut one, state, 3), "invalidate k");
    modify(state, "k", Cause::NOBODY);
    assert_eq!(pushed(&mut one, state, 9), "");
    assert_eq!(pushed(&mut two, state, 9), "", "its own write");
    state.tracking.remember(one.client.id, 0, b"k");
    modify(state, "k", Cause { client: one.client.id, reply: 5 });
    assert_eq!(pushed(&mut one, state, 4), "", "not before the reply of the write");
    assert_eq!(pushed(&mut one, state, 5), "invalidate k");
}

#[tokio::test]
async fn prefixes_are_part_of_what_a_client_holds() {
    let mut server = server();
    let tracking = tracker(&mut server, "client tracking on bcast prefix a:").await;
    let client = &tracking.client;
    let (one, prefixes) = (client.held_bytes(), client.tracked_bytes.load(Ordering::Relaxed));
    assert!(prefixes > 2 && one > prefixes);
    let mut many = tracker(&mut server, "client tracking on bcast prefix a: prefix b:").await;
    assert_eq!(many.client.held_bytes(), one + prefixes);
    many.stop_tracking(&server.state);
    assert_eq!(many.client.held_bytes(), one - prefixes);
}

#[tokio::test]
async fn a_prefix_is_told_once_in_a_batch() {
    let mut server = server();
    let mut all = tracker(&mut server, "client tracking on bcast").await;
    let mut some =
        tracker(&mut server, "client tracking on bcast prefix a: prefix b: noloop").await;
    let state = &server.state;
    let mut broadcast = Broadcast::default();
    let own = Cause { client: some.client.id, reply: 4 };
    for (key, cause) in [
        ("b:2", own),
        ("a:2", Cause::NOBODY),
        ("c", own),
        ("a:1", own),
        ("a:1", Cause::NOBODY),
        ("a:3", own),
    ] {
        broadcast.note(&state.tracking, &bytes(key), cause);
    }
    let mut delivery = broadcast.take(&state.tracking).expect("something was noted");
    assert!(!delivery.advance(state, 1));
    assert!(delivery.advance(state, 9));
    assert_eq!(pushed(&mut all, state, 0), "invalidate a:1 a:2 a:3 b:2 c");
    assert_eq!(pushed(&mut some, state, 3), "");
    assert_eq!(pushed(&mut some, state, 4), "invalidate a:1 a:2");
    assert!(broadcast.take(&state.tracking).is_none());
}

#[tokio::test]
async fn too_many_keys_are_forgotten_and_told() {
    let mut server = server();
    let mut one = tracker(&mut server, "client tracking on").await;
    let state = &server.state;
    for key in [b"1", b"2", b"3", b"4", b"5"] {
        state.tracking.remember(one.client.id, 0, key);
    }
    assert!(state.tracking.evict(state));
    assert!(!state.tracking.evict(state));
    assert_eq!(state.tracking.totals(), [1, 3, 3, 0]);
    assert_eq!(pushed(&mut one, state, 0).matches("invalidate").count(), 2);
}

#[tokio::test]
async fn a_redirection_is_followed_until_its_end() {
    let mut server = server();
    server.session.speak(Version::Resp3);
    let mut target = TestServer::connect(&server.state);
    let call = format!("client tracking on redirect {}", target.client.id);
    let mut one = tracker(&mut server, &call).await;
    let state = Arc::clone(&server.state);
    let invalidate = || {
        state.tracking.remember(one.client.id, 7, b"k");
        modify(&state, "k", Cause::NOBODY);
    };
    invalidate();
    assert_eq!(pushed(&mut target, &state, 0), "", "RESP2, and it listens to nothing");
    target.speak(Version::Resp3);
    invalidate();
    assert_eq!(pushed(&mut target, &state, 0), "invalidate k", "behind any reply");
    state.tracking.all_modified(Cause::NOBODY).advance(&state, 9);
    assert_eq!(pushed(&mut target, &state, 0), "invalidate _");
    state.clients.remove(target.client.id);
    invalidate();
    let id = target.client.id;
    assert_eq!(pushed(&mut one, &state, 0), format!("tracking-redir-broken :{id}"));
    assert_eq!(one.client.flag_letters(), "tR");
    assert_eq!(one.client.shown_redirect(), i64::try_from(id).unwrap());
}

#[tokio::test]
async fn the_flag_is_set_while_anybody_tracks() {
    let mut server = server();
    assert!(!server.state.tracking.is_active());
    let mut one = tracker(&mut server, "client tracking on bcast prefix a").await;
    let mut two = tracker(&mut server, "client tracking on").await;
    assert_eq!(server.state.tracking.totals(), [2, 0, 0, 1]);
    one.stop_tracking(&server.state);
    one.stop_tracking(&server.state);
    assert!(server.state.tracking.is_active());
    assert_eq!(server.state.tracking.totals(), [1, 0, 0, 0]);
    two.stop_tracking(&server.state);
    assert!(!server.state.tracking.is_active());
    assert_eq!(one.client.shown_redirect(), -1);
    // One that was enabled before the writer has settled for another waits itself.
    let client = Arc::clone(&one.client);
    let (_, first) = server.state.tracking.enable(&client, TrackingOptions::default());
    let (_, again) = server.state.tracking.enable(&two.client, TrackingOptions::default());
    assert!(first.is_some() && first == again);
    server.state.tracking.settled(first.unwrap() - 1);
    assert!(server.state.tracking.enable(&client, TrackingOptions::default()).1.is_some());
    server.state.tracking.settled(first.unwrap());
    assert!(server.state.tracking.enable(&client, TrackingOptions::default()).1.is_none());
}

/// What a reader and the writer do, one step at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Remember,
    Snapshot,
    Reply,
    Publish,
    LookUp,
}

/// Whether the client has a stale copy after these steps.
async fn ends_stale(steps: &[Step]) -> bool {
    let mut server = server();
    let mut one = tracker(&mut server, "client tracking on").await;
    let state = &server.state;
    let (mut published, mut seen, mut copy) = (1, 0, None);
    for step in steps {
        match step {
            Step::Remember => state.tracking.remember(one.client.id, 0, b"k"),
            Step::Snapshot => seen = published,
            Step::Reply => copy = Some(seen),
            Step::Publish => published += 1,
            Step::LookUp => modify(state, "k", Cause::NOBODY),
        }
        // The connection writes what was pushed behind its reply, and then whenever there is something.
        if copy.is_some() && !pushed(&mut one, state, 1).is_empty() {
            copy = None;
        }
    }
    copy.is_some_and(|copy| copy != published)
}

/// All ways in which the steps of a reader and those of the writer can follow each other.
fn crossings(reader: &[Step], writer: &[Step]) -> Vec<Vec<Step>> {
    match (reader, writer) {
        ([], rest) | (rest, []) => vec![rest.to_vec()],
        ([read, readers @ ..], [write, writers @ ..]) => {
            let with = |first: Step, rest: Vec<Vec<Step>>| {
                rest.into_iter().map(move |rest| [vec![first], rest].concat())
            };
            let read_first = with(*read, crossings(readers, writer));
            read_first.chain(with(*write, crossings(reader, writers))).collect()
        }
    }
}

#[tokio::test]
async fn no_copy_is_stale_however_a_read_and_a_write_cross() {
    let reader = [Step::Remember, Step::Snapshot, Step::Reply];
    let writer = [Step::Publish, Step::LookUp, Step::Publish, Step::LookUp];
    let all = crossings(&reader, &writer);
    assert_eq!(all.len(), 35);
    for steps in all {
        assert!(!ends_stale(&steps).await, "{steps:?}");
    }
    // The order of each of both matters.
    let late = crossings(&[Step::Snapshot, Step::Remember, Step::Reply], &writer[..2]);
    let early = crossings(&reader, &[Step::LookUp, Step::Publish]);
    for all in [late, early] {
        let mut stale = 0;
        for steps in &all {
            stale += usize::from(ends_stale(steps).await);
        }
        assert!(stale > 0 && stale < all.len());
    }
}

#[tokio::test]
async fn options_that_do_not_go_together_are_refused() {
    let mut server = server();
    let refused = |text: &str| format!("ERR {text}");
    let other = TestServer::connect(&server.state);
    let id = other.client.id;
    let overlap = "Prefixes for a single client must not overlap.";
    let twice = format!("client tracking on redirect {id} redirect {id}");
    for (call, text) in [
        ("client tracking maybe", "syntax error"),
        ("client tracking on redirect", "syntax error"),
        ("client tracking on prefix", "syntax error"),
        ("client tracking off nosuch", "syntax error"),
        ("client tracking on redirect x", "value is not an integer or out of range"),
        ("client tracking on redirect 0", "The client ID you want redirect to does not exist"),
        ("client tracking on redirect -1", "The client ID you want redirect to does not exist"),
        (&twice, "A client can only redirect to a single other client"),
        ("client tracking on prefix a", "PREFIX option requires BCAST mode to be enabled"),
        ("client tracking on bcast optin", "OPTIN and OPTOUT are not compatible with BCAST"),
        ("client tracking on optin optout", "You can't specify both OPTIN mode and OPTOUT mode"),
        (
            "client tracking on bcast prefix foobar prefix foo",
            &format!("Prefix 'foobar' overlaps with another provided prefix 'foo'. {overlap}"),
        ),
    ] {
        let error = server.run_async(call).await.expect_err(call).to_string();
        assert_eq!(error, refused(text), "{call}");
    }
    assert_eq!(server.state.tracking.totals(), [0; 4]);
    for (on, call, text) in [
        (
            "client tracking on bcast prefix foo prefix bar",
            "client tracking on bcast prefix fo",
            &*format!("Prefix 'fo' overlaps with an existing prefix 'foo'. {overlap}"),
        ),
        (
            "client tracking on bcast",
            "client tracking on",
            "You can't switch BCAST mode on/off before disabling tracking for this client, and then \
             re-enabling it with a different mode.",
        ),
        (
            "client tracking on optin",
            "client tracking on optout",
            "You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then \
             re-enabling it with a different mode.",
        ),
    ] {
        assert_eq!(server.run_async(on).await.expect(on), Reply::OK);
        let error = server.run_async(call).await.expect_err(call).to_string();
        assert_eq!(error, refused(text), "{call}");
        server.run_async("client tracking off").await.expect("off");
    }
    let caching = "client caching yes";
    let off = "CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or \
               OPTOUT mode enabled";
    assert_eq!(server.error(caching), refused(off));
    server.run_async("client tracking on optin").await.expect("on");
    assert_eq!(server.error("client caching maybe"), refused("syntax error"));
    let only = "CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.";
    assert_eq!(server.error("client caching no"), refused(only));
    assert!(server.session.remembered().is_none());
    assert_eq!(server.ok(caching), Reply::OK);
    assert!(server.session.remembered().is_some());
    let flags = vec!["on".into(), "optin".into(), "caching-yes".into()];
    let info = Reply::Map(vec![
        ("flags".into(), Reply::Set(flags)),
        ("redirect".into(), Reply::Integer(0)),
        ("prefixes".into(), Reply::EMPTY),
    ]);
    assert_eq!(server.ok("client trackinginfo"), info);
    assert_eq!(server.ok("client getredir"), Reply::Integer(0));
}
