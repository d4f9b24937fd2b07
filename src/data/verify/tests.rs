use super::*;
use crate::data::model::Store;
use crate::data::{Access, Candidates, Context, Cursors, Edit, EventClasses, Packing};
use crate::engine::Txn;
use crate::env::UNBOUNDED_MEMORY;

const NOW_MS: u64 = 1_700_000_000_000;

/// A store with strings `k0` to `k9` of several chunks, which therefore have generations 1 to 10;
/// the even ones expire.
fn store() -> Store {
    let mut store = Store::default();
    let (access, cursors) = (Access::new(1 << 12, NOW_MS), Cursors::default());
    let context = Context {
        now_ms: NOW_MS,
        db: 0,
        databases: 16,
        string_bytes_max: 1 << 20,
        hll_sparse_bytes_max: 3000,
        packing: Packing::DEFAULT,
        access: &access,
        orders: &crate::data::NO_KNOWN_ORDERS,
        touch: true,
        in_script: false,
        cursors: &cursors,
        candidates: &Candidates::default(),
        warms: false,
        memory: &UNBOUNDED_MEMORY,
        events: EventClasses::default(),
    };
    let mut edit = Edit::new(store.txn(), context).unwrap();
    for number in 0..10_u64 {
        let expires_ms = number.is_multiple_of(2).then_some(NOW_MS + 1000);
        let value = Bytes::from(vec![b'x'; 70_000]);
        edit.set_string(format!("k{number}").as_bytes(), None, value.clone(), expires_ms);
    }
    let (changes, _) = edit.finish().unwrap();
    store.commit(changes);
    store
}

fn damages(store: &Store) -> Vec<String> {
    let mut found = Vec::new();
    verify(store, &mut |damage| found.push(damage.to_string())).unwrap();
    found
}

fn change(store: &mut Store, change: impl FnOnce(&mut Txn<'_>)) {
    let mut txn = store.txn();
    change(&mut txn);
    let changes = txn.into_changes();
    store.commit(changes);
}

fn meta(user_key: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&key::meta(0, user_key))
}

#[test]
fn a_sound_store_is_summed_up() {
    let mut verified = verify(&store(), &mut |damage| panic!("{damage}")).unwrap();
    let database = verified.databases.pop().unwrap();
    assert_eq!((database.db, database.expires), (0, 5));
    let (name, totals) = database.types[0];
    assert_eq!((name, totals.keys, totals.elements), ("string", 10, 10));
    assert!(totals.bytes > 700_000);
    assert_eq!(verified.garbage, Garbage::default());
}

#[test]
fn generations_of_nobody_are_named_however_many_there_are() {
    let mut store = store();
    change(&mut store, |txn| {
        for user_key in [b"k3", b"k5", b"k9"] {
            txn.delete(meta(user_key));
        }
    });
    let nobodys = |generation: u64| {
        format!("database 0: generation {generation} is alive, but no key has it")
    };
    let expected = ["database 0: 7 keys, but 10 were counted".to_owned()];
    let expected = expected.into_iter().chain([4, 6, 10].map(nobodys)).collect::<Vec<_>>();
    assert_eq!(damages(&store), expected);
}

#[test]
fn a_generation_of_two_keys_is_named() {
    let mut store = store();
    change(&mut store, |txn| {
        let record = txn.get(&meta(b"k1")).unwrap().unwrap();
        txn.put(meta(b"k9"), record);
    });
    assert_eq!(
        damages(&store),
        [
            "database 0, key \"k9\": another key has its generation 2 too",
            "database 0: generation 10 is alive, but no key has it",
        ]
    );
}

#[test]
fn a_chunk_outside_of_its_string_is_named_and_a_dead_one_is_garbage() {
    let mut store = store();
    change(&mut store, |txn| {
        let stray = key::chunk(0, 2, 5);
        txn.put(Bytes::copy_from_slice(&stray), Bytes::from_static(b"x"));
        let dead = key::chunk(0, 99, 0);
        txn.put(Bytes::copy_from_slice(&dead), Bytes::from_static(b"y"));
        txn.put(Bytes::copy_from_slice(&key::meta(70_000, b"k")), Bytes::from_static(b"z"));
    });
    assert_eq!(damages(&store), ["database 0, key \"k1\": a chunk of a string lies outside of it"]);
    let garbage = verify(&store, &mut |_| {}).unwrap().garbage;
    assert_eq!(garbage.records, 2);
}

#[test]
fn an_expiry_of_another_time_is_named_from_both_sides() {
    let mut store = store();
    change(&mut store, |txn| {
        let entry = key::expiry(0, NOW_MS + 1000, b"k2");
        let value = txn.get(&entry).unwrap().unwrap();
        txn.delete(entry);
        txn.put(key::expiry(0, NOW_MS + 1, b"k2"), value);
    });
    let at_ms = NOW_MS + 1000;
    let entry_ms = NOW_MS + 1;
    assert_eq!(
        damages(&store),
        [
            format!(
                "database 0, key \"k2\": it has no entry in the index of expiries, for {at_ms} ms"
            ),
            format!(
                "database 0, key \"k2\": an entry of the index of expiries has another time, \
                 {entry_ms} ms"
            ),
        ]
    );
}
