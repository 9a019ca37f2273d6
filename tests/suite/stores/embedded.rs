//! What only the embedded store has: a file, flushes to disk, and a queue.

use std::{fs, path::Path};

use futures::future::join_all;
use tollgate::{
    clock::{Clock, ManualClock},
    store::{EmbeddedStore, Store, StoreError, StoreLocation, StoreOptions},
    transaction::{Key, Outcome, Read, Record, Scope, Transaction, Value, Write},
};

use super::fixture::{NOW_MS, scope};
use crate::suite::support::STORE_WAIT;

async fn try_open(directory: &Path, clock: &ManualClock) -> Result<Store, String> {
    let options = StoreOptions { clock: Clock::Manual(clock.clone()), wait: STORE_WAIT, ..StoreOptions::default() };
    Store::open(&StoreLocation::Embedded(directory.to_owned()), options).await.map_err(|error| error.to_string())
}

async fn open(directory: &Path) -> Store {
    try_open(directory, &ManualClock::at(NOW_MS)).await.unwrap()
}

fn embedded(store: &Store) -> &EmbeddedStore {
    match store {
        Store::Embedded(store) => store,
        _ => panic!("not an embedded store"),
    }
}

/// Returns a transaction that adds 1 to a number that starts at 0.
fn count(name: &str) -> Transaction {
    let mut step = Transaction::on(scope());
    let record = step.starting_record(Key::hash(name), Read::Whole, vec![("n", 0.into())]);
    step.option(vec![], vec![Write::Add(record, "n", 1)]);
    step
}

async fn counted(store: &Store, name: &str) -> i64 {
    let mut step = Transaction::on(scope());
    step.record(Key::hash(name), Read::Whole);
    match store.transact(step).await.unwrap().records.remove(0) {
        Record::Hash(fields) => fields.number("n").unwrap(),
        _ => 0,
    }
}

/// Makes a call that keeps the writer busy for much longer than the calls of these tests take to be sent.
async fn keep_busy(store: Store) {
    store.transact_all((0..5_000).map(|_| count("busy")).collect()).await.unwrap();
}

#[tokio::test]
async fn a_reopened_store_has_all_records() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let mut step = Transaction::on(scope());
    let hash = step.record(Key::hash("h"), Read::Whole);
    let packed = step.record(Key::packed("p"), Read::Whole);
    let index = step.record(Key::index("i"), Read::First { limit: 9, unless_applied: false });
    let log = step.record(Key::log("l"), Read::EntriesAfter { cursor: String::new(), limit: 9 });
    let mut read = step.clone();
    step.option(
        vec![],
        vec![
            Write::Set(hash, "n", 1.into()),
            Write::Put(packed, vec!["x".into()], Some(Value::now_plus(10))),
            Write::IndexPut(index, "m".to_owned(), 5.into()),
            Write::Append { log, fields: vec![("f", "v".into())], keep: None },
        ],
    );
    let written = store.transact(step).await.unwrap().records;
    store.close().await;
    let store = open(directory.path()).await;
    assert_eq!(store.transact(read.clone()).await.unwrap().records, written);
    read.option(vec![], vec![Write::Append { log, fields: vec![("f", "w".into())], keep: None }]);
    let Record::Log(entries) = store.transact(read).await.unwrap().records.remove(3) else { panic!("no log") };
    assert_eq!(entries.iter().map(|entry| entry.fields.text("f").unwrap()).collect::<Vec<_>>(), ["v", "w"]);
}

#[tokio::test]
async fn an_answer_is_in_the_file_before_it_is_given() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory.path().join("running")).await;
    for _ in 0..3 {
        store.transact(count("h")).await.unwrap();
    }
    // A copy is what a crash at this moment would leave.
    let left = directory.path().join("left");
    fs::create_dir(&left).unwrap();
    fs::copy(directory.path().join("running/tollgate.redb"), left.join("tollgate.redb")).unwrap();
    assert_eq!(counted(&open(&left).await, "h").await, 3);
}

#[tokio::test]
async fn concurrent_calls_share_a_flush() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let before = embedded(&store).commits();
    let calls = join_all((0..200).map(|_| store.transact(count("h"))));
    let (_, replies) = tokio::join!(keep_busy(store.clone()), calls);
    assert!(replies.iter().all(|reply| reply.as_ref().unwrap().outcome == Outcome::Applied { option: 0 }));
    assert_eq!(counted(&store, "h").await, 200);
    let commits = embedded(&store).commits() - before;
    assert!((1..=20).contains(&commits), "{commits} flushes for 201 calls");
}

#[tokio::test]
async fn a_call_that_writes_nothing_needs_no_flush() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    store.transact(count("h")).await.unwrap();
    let before = embedded(&store).commits();
    assert_eq!(counted(&store, "h").await, 1);
    let mut dry = Transaction::on(scope());
    let absent = dry.record(Key::hash("absent"), Read::Whole);
    dry.option(vec![], vec![Write::AddIfPresent(absent, "n", 1)]);
    assert_eq!(store.transact(dry).await.unwrap().outcome, Outcome::Applied { option: 0 });
    assert_eq!(embedded(&store).commits(), before);
}

#[tokio::test]
async fn a_full_queue_is_reported_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let calls = join_all((0..6_000).map(|_| store.transact(count("h"))));
    let (_, replies) = tokio::join!(keep_busy(store.clone()), calls);
    let overloaded = replies.iter().filter(|reply| matches!(reply, Err(StoreError::Overloaded))).count();
    let applied = replies.iter().filter(|reply| reply.is_ok()).count();
    assert!(overloaded > 0, "the queue was never full");
    assert_eq!(applied + overloaded, 6_000);
    assert_eq!(counted(&store, "h").await, i64::try_from(applied).unwrap());
}

#[tokio::test]
async fn closing_answers_earlier_calls_and_refuses_later_ones() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let calls = join_all((0..20).map(|_| store.transact(count("h"))));
    let (replies, ()) = tokio::join!(calls, store.close());
    assert!(replies.iter().all(Result::is_ok));
    assert!(matches!(store.transact(count("h")).await, Err(StoreError::Unavailable { .. })));
    store.close().await;
    assert_eq!(counted(&open(directory.path()).await, "h").await, 20);
}

#[tokio::test]
async fn a_directory_in_use_is_refused_with_advice() {
    let directory = tempfile::tempdir().unwrap();
    let _store = open(directory.path()).await;
    let refusal = try_open(directory.path(), &ManualClock::at(NOW_MS)).await.err().unwrap();
    assert!(refusal.contains("in use by another process"), "{refusal}");
}

#[tokio::test]
async fn a_damaged_file_is_refused_with_advice() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    for number in 0..200 {
        store.transact(count(&format!("h{number}"))).await.unwrap();
    }
    store.close().await;
    let file = directory.path().join("tollgate.redb");
    let whole = fs::read(&file).unwrap();
    // This changes the name of a record. Everything else stays valid, except for the checksums.
    let mut changed = whole.clone();
    for offset in 0..changed.len() - 4 {
        if &changed[offset..offset + 4] == b"h150" {
            changed[offset..offset + 4].copy_from_slice(b"h15x");
        }
    }
    assert_ne!(changed, whole);
    for damaged in [b"no store".repeat(1_000), changed, whole[..whole.len() / 2].to_vec()] {
        fs::write(&file, damaged).unwrap();
        let refusal = try_open(directory.path(), &ManualClock::at(NOW_MS)).await.err().unwrap();
        assert!(refusal.contains("damaged"), "{refusal}");
    }
}

#[tokio::test]
async fn a_path_that_is_a_file_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let refusal = try_open(&file, &ManualClock::at(NOW_MS)).await.err().unwrap();
    assert!(refusal.contains("file"), "{refusal}");
}

#[tokio::test]
async fn time_does_not_go_back_across_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = try_open(directory.path(), &ManualClock::at(NOW_MS + 5_000)).await.unwrap();
    store.transact(count("h")).await.unwrap();
    store.close().await;
    let store = open(directory.path()).await;
    assert_eq!(store.transact(count("h")).await.unwrap().now_ms, NOW_MS + 5_000);
}

#[tokio::test]
async fn purged_records_leave_the_file_even_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    for number in 0..20 {
        let mut step = Transaction::on(Scope::new(&format!("team-{number}")));
        let packed = step.record(Key::packed("p"), Read::Nothing);
        let hash = step.record(Key::hash("h"), Read::Nothing);
        let purge_at = Value::now_plus(10 + number);
        let writes =
            vec![Write::Put(packed, vec!["x".into()], Some(purge_at.clone())), Write::Set(hash, "purge_at", purge_at)];
        step.option(vec![], writes);
        store.transact(step).await.unwrap();
    }
    store.close().await;
    let store = try_open(directory.path(), &ManualClock::at(NOW_MS + 1_000)).await.unwrap();
    for _ in 0..10 {
        store.transact(count("stays")).await.unwrap();
    }
    store.close().await;
    assert_eq!(lengths(directory.path()), [1, 0, 0]);
}

/// Returns the number of hashes, of packed records, and of entries in the purge queue of the file.
fn lengths(directory: &Path) -> [u64; 3] {
    use redb::{ReadableDatabase, ReadableTableMetadata, TableHandle};
    let database = redb::Database::open(directory.join("tollgate.redb")).unwrap();
    let read = database.begin_read().unwrap();
    ["hashes", "packed", "purges"].map(|name| {
        let table = read.list_tables().unwrap().find(|table| table.name() == name).unwrap();
        read.open_untyped_table(table).unwrap().len().unwrap()
    })
}
