//! A store in a file on this machine, for a single sidecar without Redis.
//!
//! This module is the handle to the writer thread, which owns the file. The thread takes all waiting calls, carries
//! them out in one database transaction, and flushes it to disk once: concurrent calls share a flush. The store must
//! not know what its records mean.

mod store_file;
mod tables;
mod writer;

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use super::{
    error::{BatchReplies, OpenError, StoreError},
    health::{HealthReporter, StoreHealth},
    options::StoreOptions,
};
use crate::transaction::Transaction;
use writer::{Job, Message, StoreFile, Writer};

/// Maximum number of calls that wait for the writer. A batch of [`writer::BATCH_LIMIT`] calls takes a flush of some
/// milliseconds, so a full queue takes a few hundred milliseconds. More calls would only time out.
const QUEUE_LIMIT: usize = 4096;

/// A store in a file. Clones share it.
#[derive(Clone)]
pub struct EmbeddedStore {
    inner: Arc<EmbeddedInner>,
}

struct EmbeddedInner {
    messages: mpsc::Sender<Message>,
    commits: Arc<AtomicU64>,
    health: Arc<HealthReporter>,
    /// How long a call waits for its answer.
    timeout: Duration,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddedStore {
    pub(super) async fn open(directory: &Path, options: StoreOptions) -> Result<Self, OpenError> {
        let directory = directory.to_owned();
        let opened = tokio::task::spawn_blocking(move || Self::open_blocking(&directory, options)).await;
        opened.map_err(|error| OpenError::because("The embedded store's file is damaged: reading it failed.", error))?
    }

    fn open_blocking(directory: &Path, options: StoreOptions) -> Result<Self, OpenError> {
        let (database, identity) = store_file::open(directory)?;
        let commits = Arc::new(AtomicU64::new(0));
        let health = Arc::new(HealthReporter::up(format!("embedded:{}", directory.display())));
        let (sender, receiver) = mpsc::channel(QUEUE_LIMIT);
        let reopen = {
            let identity = identity.clone();
            Box::new(move || identity.reopen())
        };
        let file = StoreFile { identity, reopen, health: Arc::clone(&health), commits: Arc::clone(&commits) };
        let writer = Writer::start(database, file, options.clock).map_err(|error| {
            OpenError::because(format!("The embedded store in {} could not be prepared.", directory.display()), error)
        })?;
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(receiver))
            .map_err(|error| OpenError::because("The embedded store's writer thread could not be started.", error))?;
        let thread = Mutex::new(Some(thread));
        let inner = EmbeddedInner { messages: sender, commits, health, timeout: options.wait, thread };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub(super) async fn transact_all(&self, transactions: Vec<Transaction>) -> BatchReplies {
        let (reply, answer) = oneshot::channel();
        self.inner.messages.try_send(Message::Job(Job { transactions, reply })).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => StoreError::unavailable("it is closed"),
        })?;
        match timeout(self.inner.timeout, answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(StoreError::unavailable("it was closed before it answered"))),
            // The writer carries the call out all the same, when its turn comes.
            Err(elapsed) => Err(StoreError::unavailable_because("it did not answer in time", elapsed)),
        }
    }

    pub(super) fn health(&self) -> watch::Receiver<StoreHealth> {
        self.inner.health.watch()
    }

    pub(super) async fn ended(&self) {
        self.inner.messages.closed().await;
    }

    pub(super) async fn close(&self) {
        let (closed, done) = oneshot::channel();
        // Both fail only if the store is closed already.
        if self.inner.messages.send(Message::Close(closed)).await.is_ok() {
            let _ = done.await;
        }
        let thread = self.inner.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && tokio::task::spawn_blocking(move || thread.join()).await.is_ok_and(|joined| joined.is_err())
        {
            tracing::error!("the writer thread of the embedded store panicked");
        }
    }

    /// Returns the number of database transactions that wrote and were committed since the store was opened. Concurrent
    /// calls share them.
    pub fn commits(&self) -> u64 {
        self.inner.commits.load(Ordering::SeqCst)
    }
}
