//! Stores: the one verb that carries out a transaction, atomically, and answers with the truth.
//!
//! A store gives effect to the words of [`crate::transaction`], whose documentation is the specification. It must not know
//! what its records mean. All three stores are held to the same answers by one conformance suite (tests/suite/stores).

mod cursor;
mod deadline_queue;
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

/// A place for records, with one verb. Clones share it.
#[derive(Clone)]
pub enum Store {
    /// In this process.
    Memory(MemoryStore),
    /// In a file of this machine.
    Embedded(EmbeddedStore),
    /// On a Redis or Valkey server.
    Redis(RedisStore),
}

impl Store {
    /// Opens the store at this place.
    ///
    /// # Errors
    /// If the store cannot be reached within five seconds, or is not fit to keep credits. The error says what to do.
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
    /// See [`StoreError`]. A stale or refused transaction is no error.
    pub async fn transact(&self, transaction: Transaction) -> Result<Reply, StoreError> {
        validate::validate(&transaction, self.cursor_format())?;
        let mut replies = match self {
            Self::Memory(store) => return store.transact(&transaction),
            Self::Embedded(store) => store.transact_all(vec![transaction]).await?,
            Self::Redis(store) => store.transact_all(vec![transaction]).await?,
        };
        replies.pop().unwrap_or_else(|| Err(StoreError::fault("it gave no answer")))
    }

    /// Carries out independent transactions of one scope in one call, in order, each atomic by itself: one that is stale or at
    /// fault does not keep the others from taking place.
    ///
    /// # Errors
    /// If none of them has an answer: then for each the outcome is unknown, unless the error says otherwise. Transactions of
    /// several scopes are a fault.
    pub async fn transact_all(&self, transactions: Vec<Transaction>) -> BatchReplies {
        if transactions.windows(2).any(|pair| pair[0].scope != pair[1].scope) {
            return Err(StoreError::fault("malformed call: its transactions are of several scopes"));
        }
        let faults: Vec<_> = transactions
            .iter()
            .map(|transaction| validate::validate(transaction, self.cursor_format()).err())
            .collect();
        let mut valid = transactions;
        let mut fault = faults.iter();
        valid.retain(|_| fault.next().is_some_and(Option::is_none));
        let mut replies = self.carry_out(valid).await?.into_iter();
        let missing = || Err(StoreError::fault("it gave no answer"));
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

    /// Whether a text has the form of the cursors that this store gives to entries of a log.
    pub fn is_cursor(&self, text: &str) -> bool {
        self.cursor_format().matches(text)
    }

    /// Whether it serves, now and whenever that changes. Nothing is ever sent of a store in memory, which always does.
    pub fn health(&self) -> watch::Receiver<StoreHealth> {
        match self {
            Self::Memory(_) => watch::Sender::new(StoreHealth::Up).subscribe(),
            Self::Embedded(store) => store.health(),
            Self::Redis(store) => store.health(),
        }
    }

    /// What survives what, in one sentence for the start-up line.
    pub fn durability(&self) -> &'static str {
        match self {
            Self::Memory(_) => "nothing survives this process",
            Self::Embedded(_) => "each answer is on disk before it is given",
            Self::Redis(store) => store.durability(),
        }
    }

    /// Waits until the store will never answer again: an embedded one that is closed, or whose writer panicked. A store that
    /// can come back has not ended.
    pub async fn ended(&self) {
        match self {
            Self::Embedded(store) => store.ended().await,
            Self::Redis(store) => store.ended().await,
            Self::Memory(_) => std::future::pending().await,
        }
    }

    /// Ends it: what was sent before is answered first, and an embedded store's file is closed. Later calls to an embedded store are
    /// answered that it is unavailable.
    pub async fn close(&self) {
        if let Self::Embedded(store) = self {
            store.close().await;
        }
    }
}
