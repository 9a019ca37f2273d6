//! Records in a file of this machine, for one sidecar that needs no Redis: the handle to the writer thread.
//!
//! One thread owns the file. It takes all calls that wait, carries them out in one database transaction, and makes it durable
//! once, so that concurrent calls share a flush to disk. This module must not know what the records mean.

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
};

use tokio::sync::{mpsc, oneshot, watch};

use super::{
    deadline_queue::DeadlineQueue,
    error::{BatchReplies, OpenError, StoreError},
    health::{HealthReporter, StoreHealth},
    options::StoreOptions,
};
use crate::transaction::Transaction;
use writer::{Job, Message, StoreFile, Writer};

/// How many calls may wait for the writer. At a flush of some milliseconds for each batch of [`writer::BATCH_LIMIT`], a full
/// queue is worth a few hundred milliseconds; more would outlive the callers' deadlines.
const QUEUE_LIMIT: usize = 4096;

/// A store in a file; clones share it.
#[derive(Clone)]
pub struct EmbeddedStore {
    inner: Arc<EmbeddedInner>,
}

struct EmbeddedInner {
    messages: mpsc::Sender<Message>,
    commits: Arc<AtomicU64>,
    health: Arc<HealthReporter>,
    deadlines: DeadlineQueue,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddedStore {
    pub(super) async fn open(directory: &Path, options: StoreOptions) -> Result<Self, OpenError> {
        let directory = directory.to_owned();
        let opened = tokio::task::spawn_blocking(move || Self::open_blocking(&directory, options)).await;
        opened
            .map_err(|error| OpenError::because("The embedded store's file could not be read: it is damaged.", error))?
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
        let inner =
            EmbeddedInner { messages: sender, commits, health, deadlines: DeadlineQueue::of(options.wait), thread };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub(super) async fn transact_all(&self, transactions: Vec<Transaction>) -> BatchReplies {
        let (reply, answer) = oneshot::channel();
        self.inner.messages.try_send(Message::Job(Job { transactions, reply })).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => StoreError::unavailable("it is closed"),
        })?;
        match self.inner.deadlines.bounded(answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(StoreError::unavailable("it was closed before it answered"))),
            // It is carried out all the same, when its turn comes.
            Err(late) => Err(StoreError::unavailable_because("it did not answer in time", late)),
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
        // Both fail only if it is closed already.
        if self.inner.messages.send(Message::Close(closed)).await.is_ok() {
            let _ = done.await;
        }
        let thread = self.inner.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && tokio::task::spawn_blocking(move || thread.join()).await.is_ok_and(|joined| joined.is_err())
        {
            tracing::error!("the embedded store's writer thread ended by a panic");
        }
    }

    /// How many times it has made changes durable since it was opened. Concurrent calls share these.
    pub fn commits(&self) -> u64 {
        self.inner.commits.load(Ordering::SeqCst)
    }
}
