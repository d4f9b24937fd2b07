use parking_lot::Mutex;

use super::*;

/// Keeps what is sent.
#[derive(Default)]
struct Kept(Mutex<Vec<BytesMut>>);

impl Outlet for Kept {
    fn send(&self, piece: &mut BytesMut) -> Result<(), Error> {
        self.0.lock().push(piece.split());
        Ok(())
    }
}

fn item(number: usize) -> Reply {
    match number % 3 {
        0 => Reply::bulk(format!("item {number}")),
        1 => Reply::count(number),
        _ => Reply::array([Reply::bulk("a"), Reply::EMPTY]),
    }
}

fn pair(number: usize) -> (Reply, Reply) {
    (Reply::bulk(format!("m{number}")), Reply::Double(number as f64 / 2.0))
}

/// The reply that a handler makes of so many items; `counted`: it knows how many.
fn made(answer: Answer<'_>, kind: ListKind, count: usize, counted: bool) -> CommandResult {
    let mut list = if counted { answer.list_of(kind, count as u64)? } else { answer.list(kind) };
    for number in 0..count {
        match kind {
            ListKind::Pairs => list.push_pair(format!("m{number}").into(), number as f64 / 2.0)?,
            _ => list.push(item(number))?,
        }
    }
    list.finish()
}

fn plain(kind: ListKind, count: usize) -> Reply {
    let items = || (0..count).map(item);
    match kind {
        ListKind::Array => Reply::Array(items().collect()),
        ListKind::Set => Reply::Set(items().collect()),
        ListKind::Map => Reply::Map(items().step_by(2).zip(items().skip(1).step_by(2)).collect()),
        ListKind::Pairs => Reply::Pairs((0..count).map(pair).collect()),
    }
}

fn encoded(reply: &Reply, version: Version) -> BytesMut {
    let mut bytes = BytesMut::new();
    ReplyEncoder::new(version).write(reply, &mut bytes);
    bytes
}

const KINDS: [ListKind; 4] = [ListKind::Array, ListKind::Set, ListKind::Map, ListKind::Pairs];

#[test]
fn what_is_sent_in_pieces_is_what_is_gathered() {
    let memory = MemoryAccount::unbounded();
    for count in [0, 2, ITEMS_MAX, 50_000] {
        for kind in KINDS {
            let expected = plain(kind, count);
            for version in [Version::Resp2, Version::Resp3] {
                let gathered = made(Answer::gathered(&memory), kind, count, true).expect("room");
                assert_eq!(encoded(&gathered, version), encoded(&expected, version));
                let kept = Kept::default();
                let answer = Answer::sent(&kept, count, &memory, version);
                assert_eq!(made(answer, kind, count, false).expect("sent"), Reply::Silent);
                let pieces = kept.0.into_inner();
                assert!(pieces.iter().all(|piece| piece.len() < 2 * PIECE_BYTES));
                assert_eq!(pieces.concat(), encoded(&expected, version));
            }
        }
    }
    assert_eq!(memory.commands(), 0);
}

#[test]
fn long_replies_are_measured() {
    let memory = MemoryAccount::unbounded();
    for kind in KINDS {
        for counted in [false, true] {
            let measured = |count| made(Answer::measured(&memory), kind, count, counted);
            assert_eq!(measured(4000).expect("short"), plain(kind, 4000));
            let long = ITEMS_MAX + 2;
            assert!(matches!(measured(long), Err(Error::TooLong(count)) if count == long));
        }
    }
    let in_place = |count, counted| made(Answer::in_place(&memory), ListKind::Set, count, counted);
    assert!(matches!(in_place(ITEMS_MAX + 2, true), Err(Error::TooLong(_))));
    let blocked = in_place(ITEMS_MAX + 2, false);
    assert!(matches!(blocked, Err(Error::Engine(engine::Error::WouldBlock))));
    assert!(in_place(100, false).is_ok());
}

#[test]
fn what_is_gathered_has_its_bound() {
    let memory = MemoryAccount::new(0);
    let text = Bytes::from(vec![b'x'; 1000]);
    for kind in KINDS {
        let mut list = Answer::gathered(&memory).list(kind);
        let full = (0..).find(|_| match kind {
            ListKind::Pairs => list.push_pair(text.clone(), 1.0).is_err(),
            _ => list.push(Reply::Bulk(text.clone())).is_err(),
        });
        assert!((10_000..17_000).contains(&full.unwrap_or(0)), "{kind:?} {full:?}");
        assert!(memory.held_for(Purpose::Reply) > 15 << 20);
    }
    assert_eq!(memory.commands(), 0);
}
