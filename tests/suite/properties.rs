//! Random sequences of all operations, with time moving: the gate, on each store, against a plain model of the rules.
//!
//! The model (`model.rs`) is written as a bookkeeper would read the rules aloud: it changes one thing after the other, expires
//! what is due before anything else, and has no transactions. A failure is shrunk and kept: its seed in `properties/seeds.txt`, its
//! operations in `kept.rs`. Both are tried first from then on.

mod books;
mod kept;
mod model;
mod operation;
mod runner;

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
use runner::Runner;

/// 2026-01-30T22:00:00Z: two hours before an anchor day of 31 turns, in a year without a 29 February.
const START_MS: i64 = 1_769_810_400_000;

fn agree(cases: u32, run: impl Fn(Vec<Operation>) -> Result<(), String>) {
    for (fault, operations) in kept::sequences() {
        run(operations).unwrap_or_else(|difference| panic!("once more: {fault}\n{difference}"));
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

fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

async fn compare(location: StoreLocation, operations: Vec<Operation>) -> Result<(), String> {
    let clock = ManualClock::at(START_MS);
    let options = StoreOptions { clock: Clock::Manual(clock.clone()), wait: STORE_WAIT, ..StoreOptions::default() };
    let store = Store::open(&location, options).await.map_err(|error| error.to_string())?;
    let result = Runner::new(store.clone(), clock).await.run(&operations).await;
    store.close().await;
    result
}

#[test]
fn any_sequence_of_operations_on_the_memory_store_ends_as_the_rules_say() {
    agree(400, |operations| on_runtime(compare(StoreLocation::Memory, operations)));
}

#[test]
fn any_sequence_of_operations_on_the_embedded_store_ends_as_the_rules_say() {
    agree(24, |operations| {
        let directory = tempfile::tempdir().unwrap();
        on_runtime(compare(StoreLocation::Embedded(directory.path().to_owned()), operations))
    });
}

#[test]
fn any_sequence_of_operations_on_redis_ends_as_the_rules_say() {
    let server = Server::start(Engine::Redis);
    agree(60, move |operations| {
        redis::cmd("FLUSHALL").exec(&mut server.connect()).unwrap();
        on_runtime(compare(server.location(), operations))
    });
}
