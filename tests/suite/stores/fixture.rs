//! A store of each kind with a manual clock, and short functions for frequent transactions.

use tempfile::TempDir;
use tollgate::{
    clock::{Clock, ManualClock},
    store::{Store, StoreError, StoreLocation, StoreOptions},
    transaction::{
        FieldMap, Guard, Key, Linear, Outcome, Read, Record, RecordRef, Reply, Scope, Transaction, Value, Write,
    },
};

use crate::suite::support::{
    STORE_WAIT,
    servers::{Engine, Server},
};

/// The initial time of each fixture's clock.
pub(crate) const NOW_MS: i64 = 1_737_500_000_000;

/// A store, its clock, and its directory or server.
pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) clock: ManualClock,
    _directory: Option<TempDir>,
    _server: Option<Server>,
}

impl Fixture {
    pub(crate) async fn memory() -> Self {
        Self::open(&StoreLocation::Memory, None, None).await
    }

    pub(crate) async fn embedded() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::open(&StoreLocation::Embedded(directory.path().join("data")), Some(directory), None).await
    }

    pub(crate) async fn redis() -> Self {
        let server = Server::start(Engine::Redis);
        Self::open(&server.location(), None, Some(server)).await
    }

    pub(crate) async fn valkey() -> Self {
        let server = Server::start(Engine::Valkey);
        Self::open(&server.location(), None, Some(server)).await
    }

    async fn open(location: &StoreLocation, directory: Option<TempDir>, server: Option<Server>) -> Self {
        let clock = ManualClock::at(NOW_MS);
        let options = StoreOptions { clock: Clock::Manual(clock.clone()), wait: STORE_WAIT, ..StoreOptions::default() };
        let store = Store::open(location, options).await.unwrap();
        Self { store, clock, _directory: directory, _server: server }
    }

    /// Carries out a transaction. A test that expects an error uses [`Self::fault`].
    pub(crate) async fn run(&self, step: Transaction) -> Reply {
        self.store.transact(step).await.unwrap()
    }

    /// Carries out a transaction, and returns its outcome.
    pub(crate) async fn outcome(&self, step: Transaction) -> Outcome {
        self.run(step).await.outcome
    }

    /// Carries out a transaction that must be a fault, and returns the reason.
    pub(crate) async fn fault(&self, step: Transaction) -> String {
        match self.store.transact(step).await {
            Err(StoreError::Fault { reason }) => reason,
            other => panic!("expected a fault, got {other:?}"),
        }
    }

    /// Applies writes to one record.
    pub(crate) async fn write(&self, key: Key, writes: impl Fn(RecordRef) -> Vec<Write>) {
        let mut step = step();
        let record = step.record(key, Read::Nothing);
        step.option(vec![], writes(record));
        assert_eq!(self.outcome(step).await, Outcome::Applied { option: 0 });
    }

    /// Sets fields of a hash to these numbers.
    pub(crate) async fn hash(&self, name: &str, fields: &[(&'static str, i64)]) {
        self.write(Key::hash(name), |record| {
            fields.iter().map(|(field, number)| Write::Set(record, field, (*number).into())).collect()
        })
        .await;
    }

    /// Writes a packed record without a purge time.
    pub(crate) async fn packed(&self, name: &str, value: &str) {
        self.write(Key::packed(name), |record| vec![Write::Put(record, vec![value.into()], None)]).await;
    }

    /// Puts a member into an index.
    pub(crate) async fn index(&self, name: &str, member: &str, score: i64) {
        self.write(Key::index(name), |record| vec![Write::IndexPut(record, member.to_owned(), score.into())]).await;
    }

    /// Reads one record, without changing anything.
    pub(crate) async fn read(&self, key: Key, read: Read) -> Record {
        let mut step = step();
        step.record(key, read);
        let mut reply = self.run(step).await;
        assert_eq!(reply.outcome, Outcome::Refused);
        reply.records.remove(0)
    }

    /// Returns the fields of a hash, sorted; `None` if it is absent.
    pub(crate) async fn fields(&self, name: &str) -> Option<Vec<(String, String)>> {
        match self.read(Key::hash(name), Read::Whole).await {
            Record::Hash(fields) => Some(sorted(fields)),
            Record::Absent => None,
            other => panic!("not a hash: {other:?}"),
        }
    }

    /// Returns the number in a field.
    pub(crate) async fn number(&self, name: &str, field: &str) -> i64 {
        match self.read(Key::hash(name), Read::Whole).await {
            Record::Hash(fields) => fields.number(field).unwrap(),
            other => panic!("not a hash: {other:?}"),
        }
    }

    /// Returns the value of a packed record; `None` if it is absent.
    pub(crate) async fn value(&self, name: &str) -> Option<String> {
        match self.read(Key::packed(name), Read::Whole).await {
            Record::Packed(value) => Some(value),
            Record::Absent => None,
            other => panic!("not a packed record: {other:?}"),
        }
    }

    /// Returns the entries of an index, ordered by score.
    pub(crate) async fn entries(&self, name: &str) -> Vec<(i64, String)> {
        match self.read(Key::index(name), Read::First { limit: 100, unless_applied: false }).await {
            Record::Index(entries) => entries,
            other => panic!("not an index: {other:?}"),
        }
    }

    /// Returns the value of the first field of each entry after the cursor, and the cursor of the last entry.
    pub(crate) async fn log(&self, name: &str, cursor: &str, limit: u32) -> (Vec<String>, String) {
        match self.read(Key::log(name), Read::EntriesAfter { cursor: cursor.to_owned(), limit }).await {
            Record::Log(entries) => {
                let last = entries.last().map(|entry| entry.cursor.clone()).unwrap_or_default();
                (entries.iter().filter_map(|entry| Some(entry.fields.iter().next()?.1.to_owned())).collect(), last)
            }
            other => panic!("not a log: {other:?}"),
        }
    }
}

/// Returns the scope of the fixture's functions.
pub(crate) fn scope() -> Scope {
    Scope::new("acme")
}

/// Returns an empty transaction on that scope.
pub(crate) fn step() -> Transaction {
    Transaction::on(scope())
}

/// Returns a transaction whose only option has this guard and no writes. It is applied if the guard holds.
pub(crate) fn option_of(key: Key, guard: impl Fn(RecordRef) -> Guard) -> Transaction {
    let mut step = step();
    let record = step.record(key, Read::Nothing);
    step.option(vec![guard(record)], vec![]);
    step
}

/// Returns a transaction with this guard as its precondition and without options. It is refused if the guard holds,
/// else stale.
pub(crate) fn precondition_of(key: Key, guard: impl Fn(RecordRef) -> Guard) -> Transaction {
    let mut step = step();
    let record = step.record(key, Read::Nothing);
    step.require(guard(record));
    step
}

/// Returns coefficient · field + constant.
pub(crate) fn linear(coefficient: i64, record: RecordRef, field: &'static str, constant: i64) -> Linear {
    Linear::constant(constant).plus(coefficient, record, field)
}

/// Returns the value of one linear expression.
pub(crate) fn value(linear: Linear) -> Value {
    linear.into()
}

pub(crate) fn sorted(fields: FieldMap) -> Vec<(String, String)> {
    let mut fields = pairs(&fields.iter().collect::<Vec<_>>());
    fields.sort();
    fields
}

/// Returns fields in the form of [`Fixture::fields`].
pub(crate) fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect()
}

/// Declares a test of each case on each kind of store.
macro_rules! on_every_store {
    ($($case:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $case() { super::$case(&super::Fixture::memory().await).await; })*
        }
        mod embedded {
            $(#[tokio::test] async fn $case() { super::$case(&super::Fixture::embedded().await).await; })*
        }
        mod redis {
            $(#[tokio::test] async fn $case() { super::$case(&super::Fixture::redis().await).await; })*
        }
        mod valkey {
            $(#[tokio::test] async fn $case() { super::$case(&super::Fixture::valkey().await).await; })*
        }
    };
}

pub(crate) use on_every_store;
