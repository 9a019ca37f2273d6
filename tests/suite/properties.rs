//! Random sequences of all operations, with time moving: two gates on each store are compared with a plain model of the
//! rules.
//!
//! The model (`model.rs`) is written as a bookkeeper would apply the rules: it changes one thing after the other,
//! expires what is due before anything else, and has no transactions. Each store is tested with every call written
//! through, and with calls answered from leases. A failure is shrunk and kept: its seed in `properties/seeds.txt`, its
//! operations in `kept.rs`. From then on, both are tried first.

mod books;
mod charging;
mod kept;
mod model;
mod operation;
mod runner;

use std::sync::atomic::Ordering;

use proptest::{
    collection::vec,
    test_runner::{Config, FileFailurePersistence, TestRunner},
};
use tollgate::{
    clock::{Clock, ManualClock},
    store::{Store, StoreLocation, StoreOptions},
};

use super::support::{
    STORE_WAIT,
    servers::{Engine, Server},
};
use operation::{Operation, operation};
use runner::{Answers, OPENED_FROM_LEASES, Runner};

/// 2026-01-30T22:00:00Z: two hours before a cycle with anchor day 31 ends, in a year without a 29 February.
const START_MS: i64 = 1_769_810_400_000;

fn agree(cases: u32, run: impl Fn(Vec<Operation>) -> Result<(), String>) {
    for (fault, operations) in kept::sequences() {
        run(operations).unwrap_or_else(|difference| panic!("on the repeat: {fault}\n{difference}"));
    }
    let config = Config {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/suite/properties/seeds.txt"))),
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&vec(operation(), 1..80), |operations| {
        run(operations).map_err(proptest::test_runner::TestCaseError::fail)
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// Checks that on average each sequence opened at least one reservation from a lease.
fn were_opened_from_leases(cases: u32, answers: Answers) {
    let opened = OPENED_FROM_LEASES.load(Ordering::Relaxed);
    assert!(answers == Answers::WrittenThrough || opened >= cases as usize, "{opened} from leases");
}

fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

async fn compare(location: StoreLocation, answers: Answers, operations: Vec<Operation>) -> Result<(), String> {
    let clock = ManualClock::at(START_MS);
    let options = StoreOptions { clock: Clock::Manual(clock.clone()), wait: STORE_WAIT, ..StoreOptions::default() };
    let store = Store::open(&location, options).await.map_err(|error| error.to_string())?;
    let result = Runner::new(store.clone(), clock, answers).await.run(&operations).await;
    store.close().await;
    result
}

fn in_memory(cases: u32, answers: Answers) {
    agree(cases, |operations| on_runtime(compare(StoreLocation::Memory, answers, operations)));
    were_opened_from_leases(cases, answers);
}

fn on_a_file(cases: u32, answers: Answers) {
    agree(cases, |operations| {
        let directory = tempfile::tempdir().unwrap();
        on_runtime(compare(StoreLocation::Embedded(directory.path().to_owned()), answers, operations))
    });
    were_opened_from_leases(cases, answers);
}

fn on_redis(cases: u32, answers: Answers) {
    let server = Server::start(Engine::Redis);
    agree(cases, move |operations| {
        redis::cmd("FLUSHALL").exec(&mut server.connect()).unwrap();
        on_runtime(compare(server.location(), answers, operations))
    });
    were_opened_from_leases(cases, answers);
}

/// Any sequence of operations on the memory store ends as the rules say.
#[test]
fn random_operations_in_memory_follow_the_rules() {
    in_memory(400, Answers::WrittenThrough);
}

/// Any sequence of operations on the memory store ends as the rules say, with calls answered from leases.
#[test]
fn random_operations_in_memory_from_leases_follow_the_rules() {
    in_memory(200, Answers::FromLeases);
}

/// Any sequence of operations on the embedded store ends as the rules say.
#[test]
fn random_operations_on_a_file_follow_the_rules() {
    on_a_file(24, Answers::WrittenThrough);
}

/// Any sequence of operations on the embedded store ends as the rules say, with calls answered from leases.
#[test]
fn random_operations_on_a_file_from_leases_follow_the_rules() {
    on_a_file(16, Answers::FromLeases);
}

/// Any sequence of operations on Redis ends as the rules say.
#[test]
fn random_operations_on_redis_follow_the_rules() {
    on_redis(60, Answers::WrittenThrough);
}

/// Any sequence of operations on Redis ends as the rules say, with calls answered from leases.
#[test]
fn random_operations_on_redis_from_leases_follow_the_rules() {
    on_redis(40, Answers::FromLeases);
}
