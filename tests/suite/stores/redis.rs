//! What only the Redis store has to handle: keys that other programs changed, servers that fail, and unsuitable
//! servers.

use std::time::Duration;

use futures::future::join_all;
use redis::Commands;
use tollgate::{
    clock::Clock,
    store::{Store, StoreError, StoreLocation, StoreOptions},
    transaction::{Key, Outcome, PURGE_AT, Read, Record, Transaction, Value, Write},
};

use super::fixture::scope;
use crate::suite::support::{
    STORE_WAIT,
    proxy::Proxy,
    servers::{Engine, Server},
    signal, wait_until,
};

const APPLIED: Outcome = Outcome::Applied { option: 0 };

/// Options with a long timeout: these tests are not about timeouts, `store_faults` is.
fn options() -> StoreOptions {
    StoreOptions { wait: STORE_WAIT, ..StoreOptions::default() }
}

async fn open(server: &Server) -> Store {
    Store::open(&server.location(), options()).await.unwrap()
}

async fn refusal(location: &StoreLocation, require_aof: bool) -> String {
    let options = StoreOptions { require_aof, ..options() };
    let Err(error) = Store::open(location, options).await else { panic!("the store was opened") };
    error.to_string()
}

/// Returns a transaction that adds 1 to a number that starts at 0.
fn count() -> Transaction {
    let mut step = Transaction::on(scope());
    let record = step.starting_record(Key::hash("h"), Read::Whole, vec![("n", 0.into())]);
    step.option(vec![], vec![Write::Add(record, "n", 1)]);
    step
}

fn counted(server: &Server) -> i64 {
    server.connect().hget("tollgate:{acme}:h", "n").unwrap()
}

/// Returns a transaction that changes a hash, a packed record, an index and a log, in this order.
fn change_everything() -> Transaction {
    let mut step = count();
    let packed = step.record(Key::packed("p"), Read::Nothing);
    let index = step.record(Key::index("i"), Read::Nothing);
    let log = step.record(Key::log("l"), Read::Nothing);
    step.options[0].writes.extend([
        Write::Put(packed, vec!["x".into()], None),
        Write::IndexPut(index, "m".to_owned(), 1.into()),
        Write::Append { log, fields: vec![("f", 1.into())], keep: None },
    ]);
    step
}

/// Waits until the store serves again, which needs no action.
async fn wait_until_it_serves(store: &Store) {
    let begun_ms = Clock::System.monotonic_ms();
    while store.transact(Transaction::on(scope())).await.is_err() {
        assert!(Clock::System.monotonic_ms() - begun_ms < 20_000, "the store does not serve again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn unavailable(store: &Store, step: Transaction) {
    match store.transact(step).await {
        Err(StoreError::Unavailable { .. }) => {}
        other => panic!("expected the store to be unavailable, got {other:?}"),
    }
}

#[tokio::test]
async fn a_key_of_another_type_is_a_fault_and_nothing_is_written() {
    for engine in [Engine::Redis, Engine::Valkey] {
        let server = Server::start(engine);
        let store = open(&server).await;
        let mut connection = server.connect();
        for name in ["h", "p", "i", "l"] {
            let () = redis::cmd("FLUSHALL").query(&mut connection).unwrap();
            let () = connection.sadd(format!("tollgate:{{acme}}:{name}"), "foreign").unwrap();
            let reply = store.transact(change_everything()).await;
            assert!(matches!(&reply, Err(StoreError::Fault { reason }) if reason.contains("WRONGTYPE")), "{reply:?}");
            let keys: Vec<String> = connection.keys("*").unwrap();
            assert_eq!(keys, [format!("tollgate:{{acme}}:{name}")]);
        }
    }
}

/// If an index or a log that a transaction only reads has another type, the transaction is a fault and writes nothing.
#[tokio::test]
async fn types_of_read_lists_are_checked_before_any_write() {
    let server = Server::start(Engine::Redis);
    let store = open(&server).await;
    let () = server.connect().set("tollgate:{acme}:other", "foreign").unwrap();
    let mut step = count();
    step.record(Key::index("other"), Read::First { limit: 1, unless_applied: false });
    assert!(matches!(store.transact(step).await, Err(StoreError::Fault { .. })));
    assert!(!server.connect().exists::<_, bool>("tollgate:{acme}:h").unwrap());
}

/// A packed record that another program has overwritten is a fault.
#[tokio::test]
async fn a_malformed_packed_record_is_a_fault() {
    let server = Server::start(Engine::Redis);
    let store = open(&server).await;
    for foreign in ["no purge time", "x|value", "|value"] {
        let () = server.connect().set("tollgate:{acme}:p", foreign).unwrap();
        let reply = store.transact(change_everything()).await;
        assert!(matches!(reply, Err(StoreError::Fault { .. })), "{reply:?}");
    }
}

#[tokio::test]
async fn the_script_is_loaded_once_and_again_after_a_flush() {
    for engine in [Engine::Redis, Engine::Valkey] {
        let server = Server::start(engine);
        let store = open(&server).await;
        let mut connection = server.connect();
        for _ in 0..5 {
            store.transact(count()).await.unwrap();
        }
        let () = redis::cmd("SCRIPT").arg("FLUSH").query(&mut connection).unwrap();
        for _ in 0..5 {
            store.transact(count()).await.unwrap();
        }
        assert_eq!(counted(&server), 10);
        let stats: redis::InfoDict = redis::cmd("INFO").arg("commandstats").query(&mut connection).unwrap();
        let loads: String = stats.get("cmdstat_script|load").unwrap();
        assert!(loads.starts_with("calls=2,"), "{loads}");
    }
}

#[tokio::test]
async fn the_time_is_the_servers_and_purged_keys_expire() {
    let server = Server::start(Engine::Redis);
    let store = open(&server).await;
    let mut connection = server.connect();
    let mut step = Transaction::on(scope());
    let hash = step.record(Key::hash("h"), Read::Whole);
    let packed = step.record(Key::packed("p"), Read::Whole);
    let mut later = step.clone();
    let purge_at = || Value::now_plus(60_000);
    let writes = vec![Write::Set(hash, PURGE_AT, purge_at()), Write::Put(packed, vec!["x".into()], Some(purge_at()))];
    step.option(vec![], writes);
    let (earliest, reply) = (Clock::System.now_ms(), store.transact(step).await.unwrap());
    assert!((earliest..=Clock::System.now_ms()).contains(&reply.now_ms));
    for key in ["tollgate:{acme}:h", "tollgate:{acme}:p"] {
        let left: i64 = connection.pttl(key).unwrap();
        assert!((1..=60_000).contains(&left), "{key}: {left}");
    }
    let soon = || Value::now_plus(1);
    later.option(vec![], vec![Write::Set(hash, PURGE_AT, soon()), Write::Put(packed, vec!["y".into()], None)]);
    store.transact(later.clone()).await.unwrap();
    assert_eq!(connection.pttl::<_, i64>("tollgate:{acme}:p").unwrap(), -1);
    wait_until("the hash is gone", || !connection.exists::<_, bool>("tollgate:{acme}:h").unwrap());
    later.options[0].writes = vec![Write::Put(packed, vec!["z".into()], Some(Value::now()))];
    assert_eq!(store.transact(later).await.unwrap().records, [Record::Absent, Record::Absent]);
    assert!(!connection.exists::<_, bool>("tollgate:{acme}:p").unwrap());
}

#[tokio::test]
async fn every_key_has_the_hash_tag_of_its_scope() {
    let server = Server::start(Engine::Redis);
    open(&server).await.transact(change_everything()).await.unwrap();
    let mut keys: Vec<String> = server.connect().keys("*").unwrap();
    keys.sort();
    assert_eq!(keys, ["h", "i", "l", "p"].map(|name| format!("tollgate:{{acme}}:{name}")));
}

/// While a server is down, calls fail as unavailable. After its restart, it has all answers that it gave.
#[tokio::test]
async fn a_killed_server_comes_back_with_every_answer() {
    for engine in [Engine::Redis, Engine::Valkey] {
        let mut server = Server::start_durable(engine);
        let store = open(&server).await;
        assert!(store.durability().contains("before it is given"));
        for _ in 0..10 {
            assert_eq!(store.transact(count()).await.unwrap().outcome, APPLIED);
        }
        server.kill();
        unavailable(&store, count()).await;
        unavailable(&store, count()).await;
        server.restart();
        wait_until_it_serves(&store).await;
        assert_eq!(counted(&server), 10);
    }
}

#[tokio::test]
async fn a_silent_connection_is_replaced() {
    let server = Server::start_on_port(Engine::Redis, &[]);
    let proxy = Proxy::to(server.port());
    let location = StoreLocation::Redis(format!("redis://127.0.0.1:{}", proxy.port));
    let store = Store::open(&location, StoreOptions::default()).await.unwrap();
    store.transact(count()).await.unwrap();
    proxy.silence();
    unavailable(&store, count()).await;
    wait_until_it_serves(&store).await;
    assert_eq!(store.transact(count()).await.unwrap().outcome, APPLIED);
}

/// A call on an old connection that fails after the watcher has reconnected does not end the new connection.
#[tokio::test]
async fn a_late_failure_does_not_end_the_new_connection() {
    let server = Server::start_on_port(Engine::Redis, &[]);
    let proxy = Proxy::to(server.port());
    let location = StoreLocation::Redis(format!("redis://127.0.0.1:{}", proxy.port));
    let options = StoreOptions { wait: Duration::from_secs(1), ..StoreOptions::default() };
    let store = Store::open(&location, options).await.unwrap();
    store.transact(count()).await.unwrap();
    proxy.silence();
    let mut health = store.health();
    let mut calls = Vec::new();
    // Calls go on until the connection counts as lost, so that the last ones are still in flight then.
    loop {
        let store = store.clone();
        calls.push(tokio::spawn(async move { store.transact(count()).await }));
        if tokio::time::timeout(Duration::from_millis(100), health.changed()).await.is_ok() {
            break;
        }
    }
    health.wait_for(|health| health.is_up()).await.unwrap();
    proxy.cut_silent();
    // Some calls waited in the queue, and were sent on the new connection.
    let failures = join_all(calls).await.into_iter().filter_map(|call| call.unwrap().err());
    let broken = failures.filter(|failure| failure.to_string().contains("the connection to it failed")).count();
    assert!(broken > 0, "no call was in flight on the old connection");
    assert!(!health.has_changed().unwrap(), "{:?}", *health.borrow());
    store.transact(count()).await.unwrap();
}

#[tokio::test]
async fn too_many_waiting_calls_fail_at_once() {
    let server = Server::start(Engine::Redis);
    let store = Store::open(&server.location(), StoreOptions::default()).await.unwrap();
    signal(server.process_id(), "STOP");
    let replies = join_all((0..5_000).map(|_| store.transact(count()))).await;
    signal(server.process_id(), "CONT");
    assert!(replies.iter().any(|reply| matches!(reply, Err(StoreError::Overloaded))));
    assert!(replies.iter().any(|reply| matches!(reply, Err(StoreError::Unavailable { .. }))));
    wait_until_it_serves(&store).await;
}

#[tokio::test]
async fn a_replica_is_unavailable_and_not_a_fault() {
    for engine in [Engine::Redis, Engine::Valkey] {
        let server = Server::start(engine);
        let store = open(&server).await;
        store.transact(count()).await.unwrap();
        let mut connection = server.connect();
        let () = redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1).query(&mut connection).unwrap();
        unavailable(&store, count()).await;
        let () = redis::cmd("REPLICAOF").arg("NO").arg("ONE").query(&mut connection).unwrap();
        wait_until_it_serves(&store).await;
        store.transact(count()).await.unwrap();
        assert_eq!(counted(&server), 2);
    }
}

/// A server that has reached maxclients is unavailable, and is used again when it has room.
#[tokio::test]
async fn a_server_without_room_for_connections_recovers() {
    let server = Server::start(Engine::Redis);
    let store = open(&server).await;
    let mut connection = server.connect();
    let () = redis::cmd("CONFIG").arg(&["SET", "maxclients", "1"]).query(&mut connection).unwrap();
    let _: i64 = redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal"]).query(&mut connection).unwrap();
    for _ in 0..3 {
        unavailable(&store, count()).await;
    }
    let () = redis::cmd("CONFIG").arg(&["SET", "maxclients", "100"]).query(&mut connection).unwrap();
    wait_until_it_serves(&store).await;
}

#[tokio::test]
async fn a_full_server_is_unavailable_and_unchanged() {
    for engine in [Engine::Redis, Engine::Valkey] {
        let server = Server::start(engine);
        let store = open(&server).await;
        store.transact(count()).await.unwrap();
        let mut connection = server.connect();
        let () = redis::cmd("CONFIG").arg(&["SET", "maxmemory", "1"]).query(&mut connection).unwrap();
        unavailable(&store, change_everything()).await;
        let () = redis::cmd("CONFIG").arg(&["SET", "maxmemory", "0"]).query(&mut connection).unwrap();
        assert_eq!(connection.keys::<_, Vec<String>>("*").unwrap(), ["tollgate:{acme}:h"]);
        assert_eq!(counted(&server), 1);
    }
}

/// If the memory of the server is full, each transaction of a call is answered with its own outcome: those that free
/// memory are applied, and after them the server accepts writes from the same script.
#[tokio::test]
async fn each_transaction_of_a_call_to_a_full_server_is_answered() {
    for engine in [Engine::Redis, Engine::Valkey] {
        let server = Server::start(engine);
        let store = open(&server).await;
        let lease = Key::hash("lease");
        let mut grant = Transaction::on(scope());
        let record = grant.record(lease.clone(), Read::Nothing);
        grant.option(vec![], vec![Write::Set(record, "rest", 10.into())]);
        store.transact(grant).await.unwrap();
        let mut give_back = Transaction::on(scope());
        let record = give_back.record(lease, Read::Nothing);
        give_back.option(vec![], vec![Write::Delete(record)]);
        let mut connection = server.connect();
        let () = redis::cmd("CONFIG").arg(&["SET", "maxmemory", "1"]).query(&mut connection).unwrap();
        // Deleting needs no memory, and after its first write a script can write even if the memory is full.
        let replies = store.transact_all(vec![change_everything(), give_back, change_everything()]).await.unwrap();
        let () = redis::cmd("CONFIG").arg(&["SET", "maxmemory", "0"]).query(&mut connection).unwrap();
        assert!(matches!(replies[0], Err(StoreError::Unavailable { .. })), "{replies:?}");
        assert!(replies[1..].iter().all(|reply| reply.as_ref().unwrap().outcome == APPLIED), "{replies:?}");
        assert_eq!(counted(&server), 1, "the refused transaction wrote nothing");
        let entries: i64 = redis::cmd("XLEN").arg("tollgate:{acme}:l").query(&mut connection).unwrap();
        assert_eq!(entries, 1);
    }
}

#[tokio::test]
async fn a_server_that_evicts_is_refused() {
    for engine in [Engine::Redis, Engine::Valkey] {
        let server = Server::start_with(engine, &["--maxmemory-policy", "allkeys-lru"]);
        let refusal = refusal(&server.location(), false).await;
        assert!(refusal.contains("allkeys-lru") && refusal.contains("noeviction"), "{refusal}");
    }
}

#[tokio::test]
async fn a_server_without_a_required_aof_is_refused() {
    let server = Server::start(Engine::Redis);
    let refusal = refusal(&server.location(), true).await;
    assert!(refusal.contains("appendonly"), "{refusal}");
    assert!(open(&server).await.durability().contains("no append-only file"));
    let server = Server::start_with(Engine::Redis, &["--appendonly", "yes"]);
    let options = StoreOptions { require_aof: true, ..options() };
    let store = Store::open(&server.location(), options).await.unwrap();
    assert!(store.durability().contains("every second"));
}

#[tokio::test]
async fn a_server_that_hides_its_configuration_is_used() {
    let server = Server::start_with(Engine::Redis, &["--appendonly", "yes", "--rename-command", "CONFIG", ""]);
    let store = open(&server).await;
    assert!(store.durability().contains("does not report how often"));
    assert_eq!(store.transact(count()).await.unwrap().outcome, APPLIED);
}

#[tokio::test]
async fn an_unreachable_or_silent_server_is_refused_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let directory = tempfile::tempdir().unwrap();
    let missing = format!("redis+unix://{}", directory.path().join("none").display());
    let begun_ms = Clock::System.monotonic_ms();
    for url in [missing, format!("redis://user:secret@127.0.0.1:{port}"), format!("rediss://127.0.0.1:{port}")] {
        let refusal = refusal(&url.parse().unwrap(), false).await;
        assert!(refusal.contains("cannot be reached") && !refusal.contains("secret"), "{refusal}");
    }
    assert!(Clock::System.monotonic_ms() - begun_ms < 15_000);
}

#[tokio::test]
async fn a_password_is_sent_and_never_shown() {
    let server = Server::start_on_port(Engine::Redis, &["--requirepass", "right"]);
    let at = |password| StoreLocation::Redis(format!("redis://:{password}@127.0.0.1:{}", server.port()));
    let Err(error) = Store::open(&at("wrong-secret"), StoreOptions::default()).await else {
        panic!("the store was opened")
    };
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        cause = error.source();
    }
    let store = Store::open(&at("right"), options()).await.unwrap();
    assert_eq!(store.transact(count()).await.unwrap().outcome, APPLIED);
}
