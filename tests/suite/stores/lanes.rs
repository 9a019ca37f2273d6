//! Batching: transactions that wait for a call in flight are sent together in one call of the script, and do not affect
//! each other.

use std::{collections::BTreeSet, net::TcpListener, time::Duration};

use futures::future::join_all;
use redis::Commands;
use tollgate::{
    store::{Store, StoreError, StoreLocation, StoreOptions},
    transaction::{Guard, Key, Outcome, Read, Record, Reply, Scope, Transaction, Value, Write},
};

use super::fixture::scope;
use crate::suite::support::{
    STORE_WAIT,
    proxy::Proxy,
    servers::{Engine, Server},
    signal, wait_until,
};

async fn open(server: &Server) -> Store {
    let options = StoreOptions { wait: STORE_WAIT, ..StoreOptions::default() };
    Store::open(&server.location(), options).await.unwrap()
}

/// Returns a transaction that adds 1 to a number that starts at 0.
fn count_in(scope: Scope) -> Transaction {
    let mut step = Transaction::on(scope);
    let record = step.starting_record(Key::hash("h"), Read::Whole, vec![("n", 0.into())]);
    step.option(vec![], vec![Write::Add(record, "n", 1)]);
    step
}

fn counted(reply: Result<Reply, StoreError>) -> i64 {
    match &reply.unwrap().records[0] {
        Record::Hash(fields) => fields.number("n").unwrap(),
        other => panic!("no count: {other:?}"),
    }
}

fn script_calls(server: &Server) -> i64 {
    let stats: redis::InfoDict = redis::cmd("INFO").arg("commandstats").query(&mut server.connect()).unwrap();
    let calls: String = stats.get("cmdstat_evalsha").unwrap();
    calls.strip_prefix("calls=").unwrap().split(',').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn waiting_transactions_share_a_call() {
    for engine in [Engine::Redis, Engine::Valkey] {
        let server = Server::start(engine);
        let store = open(&server).await;
        let before = script_calls(&server);
        let mut counts: Vec<_> =
            join_all((0..200).map(|_| store.transact(count_in(scope())))).await.into_iter().map(counted).collect();
        counts.sort_unstable();
        assert_eq!(counts, (1..=200).collect::<Vec<_>>(), "each is carried out once and returns its own result");
        let calls = script_calls(&server) - before;
        assert!((4..=8).contains(&calls), "{calls} calls");
    }
}

/// Returns the number of script calls for two concurrent transactions of each of 25 scopes.
async fn calls_for_scopes(server: &Server) -> i64 {
    let store = open(server).await;
    let before = script_calls(server);
    let transactions = (0..50).map(|number| {
        let scope = Scope::new(&format!("team-{}", number % 25));
        let mut step = Transaction::on(scope.clone());
        let start = vec![("n", 0.into()), ("of", Value::Text(scope.as_str().to_owned()))];
        let record = step.starting_record(Key::hash("h"), Read::Whole, start);
        step.option(vec![], vec![Write::Add(record, "n", 1)]);
        step
    });
    let replies = join_all(transactions.map(|step| store.transact(step))).await;
    let read: BTreeSet<_> = replies
        .into_iter()
        .map(|reply| match &reply.unwrap().records[0] {
            Record::Hash(fields) => (fields.text("of").unwrap().to_owned(), fields.number("n").unwrap()),
            other => panic!("no count: {other:?}"),
        })
        .collect();
    let each_twice = (0..25).flat_map(|team| [1, 2].map(|count| (format!("team-{team}"), count)));
    assert_eq!(read, each_twice.collect());
    script_calls(server) - before
}

#[tokio::test]
async fn transactions_of_all_scopes_share_calls() {
    for engine in [Engine::Redis, Engine::Valkey] {
        let calls = calls_for_scopes(&Server::start(engine)).await;
        assert!((3..=6).contains(&calls), "{calls} calls");
    }
}

#[tokio::test]
async fn in_a_cluster_each_scope_has_its_own_calls() {
    for engine in [Engine::Redis, Engine::Valkey] {
        let server = server_of_a_cluster(engine);
        assert_eq!(calls_for_scopes(&server).await, 50);
    }
}

/// Starts a cluster of one server, which has all hash slots.
fn server_of_a_cluster(engine: Engine) -> Server {
    let bus = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let server = Server::start_on_port(engine, &["--cluster-enabled", "yes", "--cluster-port", &bus]);
    let mut connection = server.connect();
    redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(0).arg(16_383).exec(&mut connection).unwrap();
    wait_until("the cluster has all its hash slots", || {
        let info: String = redis::cmd("CLUSTER").arg("INFO").query(&mut connection).unwrap();
        info.contains("cluster_state:ok")
    });
    server
}

#[tokio::test]
async fn a_fault_affects_no_other_transaction_of_the_call() {
    let server = Server::start(Engine::Redis);
    let store = open(&server).await;
    let () = server.connect().set("tollgate:{acme}:foreign", "foreign").unwrap();
    let () = server.connect().set("tollgate:{acme}:unreadable", b"0|\xff\xfe").unwrap();
    let looking_at = |name: &str| {
        let mut step = count_in(scope());
        step.record(Key::packed(name), Read::Whole);
        step
    };
    let stale = || {
        let mut step = count_in(scope());
        let other = step.record(Key::packed("absent"), Read::Nothing);
        step.require(Guard::Present(other));
        step
    };
    let steps = (0..40).map(|number| match number % 8 {
        3 => looking_at("foreign"),
        5 => looking_at("unreadable"),
        6 => stale(),
        _ => count_in(scope()),
    });
    let replies = join_all(steps.map(|step| store.transact(step))).await;
    let mut counts = Vec::new();
    for (number, reply) in replies.into_iter().enumerate() {
        match number % 8 {
            3 | 5 => assert!(matches!(reply, Err(StoreError::Fault { .. })), "{reply:?}"),
            6 => assert_eq!(reply.unwrap().outcome, Outcome::Stale { guard: Some(0) }),
            _ => counts.push(counted(reply)),
        }
    }
    // The transactions whose records cannot be decoded were carried out all the same, and added to the number.
    let unseen = 5;
    counts.sort_unstable();
    counts.dedup();
    assert_eq!(counts.len(), 25);
    assert_eq!(counts.last(), Some(&(25 + unseen)));
}

#[tokio::test]
async fn a_cancelled_caller_neither_loses_nor_delays_others() {
    let server = Server::start(Engine::Redis);
    let store = open(&server).await;
    signal(server.process_id(), "STOP");
    let calls: Vec<_> = (0..12)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.transact(count_in(scope())).await })
        })
        .collect();
    // On one thread, each task has sent its call or has queued after its first turn. The connection writes to its
    // socket soon after.
    let turns = async || {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    };
    turns().await;
    // Cancel a queued caller, and two callers with calls in flight.
    calls[5].abort();
    turns().await;
    calls[0].abort();
    calls[1].abort();
    signal(server.process_id(), "CONT");
    let mut counts = Vec::new();
    for (number, call) in calls.into_iter().enumerate() {
        match call.await {
            Ok(reply) => counts.push(counted(reply)),
            Err(cancelled) => assert!(cancelled.is_cancelled() && [0, 1, 5].contains(&number)),
        }
    }
    assert_eq!(
        counts,
        (3..=11).collect::<Vec<_>>(),
        "the calls in flight are carried out, and the cancelled queued call is not"
    );
}

/// A caller that waits for another call to return has no longer timeout than any other caller.
#[tokio::test]
async fn a_queued_caller_has_the_same_timeout() {
    let server = Server::start_on_port(Engine::Redis, &[]);
    let proxy = Proxy::to(server.port());
    let location = StoreLocation::Redis(format!("redis://127.0.0.1:{}", proxy.port));
    let options = StoreOptions { wait: Duration::from_secs(2), ..StoreOptions::default() };
    let store = Store::open(&location, options).await.unwrap();
    store.transact(count_in(scope())).await.unwrap();
    // The delay of one call is below the timeout; that of two calls one after the other is above it.
    proxy.delay(Duration::from_millis(1_400));
    let replies = join_all((0..5).map(|_| store.transact(count_in(scope())))).await;
    assert!(replies[..4].iter().all(Result::is_ok), "{replies:?}");
    assert!(matches!(replies[4], Err(StoreError::Unavailable { .. })), "{replies:?}");
    assert!(store.health().borrow().is_up(), "no call of the script timed out");
}
