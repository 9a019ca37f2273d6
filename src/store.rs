//! Stores. A store has one operation: it carries out a transaction atomically and returns the records as they are then.
//!
//! The documentation of [`crate::transaction`] specifies what a transaction does. A store must not know what its
//! records mean. There are three stores; one conformance suite (tests/suite/stores) holds all of them to the same
//! answers.

mod cursor;
mod embedded;
mod error;
mod health;
mod interpreter;
mod location;
mod memory;
mod options;
mod redis;
mod validate;

pub(crate) use self::error::causes;
pub use self::{
    embedded::EmbeddedStore,
    error::{BatchReplies, Cause, OpenError, StoreError},
    health::StoreHealth,
    location::{LocationError, StoreLocation},
    memory::MemoryStore,
    options::StoreOptions,
    redis::RedisStore,
};

use tokio::sync::watch;

use crate::transaction::{Reply, Transaction};
use cursor::CursorFormat;

/// A store of records. Clones share it.
#[derive(Clone)]
pub enum Store {
    /// In the memory of this process.
    Memory(MemoryStore),
    /// In a file on this machine.
    Embedded(EmbeddedStore),
    /// On a Redis or Valkey server.
    Redis(RedisStore),
}

impl Store {
    /// Opens the store at this location.
    ///
    /// # Errors
    /// If the store cannot be reached within five seconds, cannot keep records, or has a configuration that could lose
    /// credits. The error says what to do.
    pub async fn open(location: &StoreLocation, options: StoreOptions) -> Result<Self, OpenError> {
        Ok(match location {
            StoreLocation::Memory => Self::Memory(MemoryStore::new(options.clock)),
            StoreLocation::Embedded(directory) => Self::Embedded(EmbeddedStore::open(directory, options).await?),
            StoreLocation::Redis(url) => Self::Redis(RedisStore::open(url, location, options).await?),
        })
    }

    /// Carries out a transaction.
    ///
    /// # Errors
    /// See [`StoreError`]. A stale or refused transaction is not an error.
    pub async fn transact(&self, transaction: Transaction) -> Result<Reply, StoreError> {
        validate::validate(&transaction, self.cursor_format())?;
        let mut replies = match self {
            Self::Memory(store) => return store.transact(&transaction),
            Self::Embedded(store) => store.transact_all(vec![transaction]).await?,
            Self::Redis(store) => store.transact_all(vec![transaction]).await?,
        };
        replies.pop().unwrap_or_else(|| Err(StoreError::fault("the answer to a transaction is missing")))
    }

    /// Carries out independent transactions of one scope in one call, in order. Each is atomic by itself: if one is
    /// stale, refused or at fault, the others are carried out all the same.
    ///
    /// # Errors
    /// If the call has no answer. Then the outcome of each transaction is unknown, unless the error says otherwise.
    /// Transactions of several scopes are a fault.
    pub async fn transact_all(&self, transactions: Vec<Transaction>) -> BatchReplies {
        if transactions.windows(2).any(|pair| pair[0].scope != pair[1].scope) {
            return Err(StoreError::fault("malformed call: its transactions belong to several scopes"));
        }
        let faults: Vec<_> = transactions
            .iter()
            .map(|transaction| validate::validate(transaction, self.cursor_format()).err())
            .collect();
        let mut valid = transactions;
        let mut fault = faults.iter();
        valid.retain(|_| fault.next().is_some_and(Option::is_none));
        let mut replies = self.carry_out(valid).await?.into_iter();
        let missing = || Err(StoreError::fault("the answer to a transaction is missing"));
        Ok(faults.into_iter().map(|fault| fault.map_or_else(|| replies.next().unwrap_or_else(missing), Err)).collect())
    }

    async fn carry_out(&self, transactions: Vec<Transaction>) -> BatchReplies {
        if transactions.is_empty() {
            return Ok(Vec::new());
        }
        match self {
            Self::Memory(store) => Ok(store.transact_all(&transactions)),
            Self::Embedded(store) => store.transact_all(transactions).await,
            Self::Redis(store) => store.transact_all(transactions).await,
        }
    }

    fn cursor_format(&self) -> CursorFormat {
        match self {
            Self::Memory(_) | Self::Embedded(_) => CursorFormat::Numbers,
            Self::Redis(_) => CursorFormat::Streams,
        }
    }

    /// Returns whether the text has the form of this store's cursors, which mark positions in a log.
    pub fn is_cursor(&self, text: &str) -> bool {
        self.cursor_format().matches(text)
    }

    /// Returns a watch on the store's health. A store in memory is always up.
    pub fn health(&self) -> watch::Receiver<StoreHealth> {
        match self {
            Self::Memory(_) => watch::Sender::new(StoreHealth::Up).subscribe(),
            Self::Embedded(store) => store.health(),
            Self::Redis(store) => store.health(),
        }
    }

    /// Returns which answers survive which failure, as a text for the log at start.
    pub fn durability(&self) -> &'static str {
        match self {
            Self::Memory(_) => "nothing survives this process",
            Self::Embedded(_) => "each answer is on disk before it is given",
            Self::Redis(store) => store.durability(),
        }
    }

    /// Waits until the store can never answer again: an embedded store was closed, or a background task of a store
    /// panicked. An outage does not count, because the store can come back.
    pub async fn ended(&self) {
        match self {
            Self::Embedded(store) => store.ended().await,
            Self::Redis(store) => store.ended().await,
            Self::Memory(_) => std::future::pending().await,
        }
    }

    /// Closes an embedded store: answers all earlier calls, and closes the file. Later calls fail with
    /// [`StoreError::Unavailable`]. For other stores, this does nothing.
    pub async fn close(&self) {
        if let Self::Embedded(store) = self {
            store.close().await;
        }
    }
}
