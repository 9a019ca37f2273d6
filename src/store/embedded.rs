//! Records in a file of this machine, for one sidecar that needs no Redis: the handle to the writer thread.
//!
//! One thread owns the file. It takes all calls that wait, carries them out in one database transaction, and makes it durable
//! once, so that concurrent calls share a flush to disk. This module must not know what the records mean.

mod tables;
mod writer;

use std::{
    fs,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use redb::{Builder, Database, DatabaseError, StorageError};
use tokio::sync::{mpsc, oneshot};

use super::error::{OpenError, StoreError};
use crate::{
    clock::Clock,
    transaction::{Reply, Transaction},
};
use writer::{Job, Message, Writer};

/// The file's name in its directory.
const FILE_NAME: &str = "tollgate.redb";

/// How many calls may wait for the writer. At a flush of some milliseconds for each batch of [`writer::BATCH_LIMIT`], a full
/// queue is worth a few hundred milliseconds; more would outlive the callers' patience.
const QUEUE_LIMIT: usize = 4096;

/// Pages kept in memory. The records of the teams that are active on one machine are far smaller.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// A store in a file; clones share it.
#[derive(Clone)]
pub struct EmbeddedStore {
    shared: Arc<Shared>,
}

struct Shared {
    messages: mpsc::Sender<Message>,
    commits: Arc<AtomicU64>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddedStore {
    pub(super) async fn open(directory: &Path, clock: Clock) -> Result<Self, OpenError> {
        let directory = directory.to_owned();
        let opened = tokio::task::spawn_blocking(move || Self::open_blocking(&directory, clock)).await;
        opened
            .map_err(|error| OpenError::because("The embedded store's file could not be read: it is damaged.", error))?
    }

    fn open_blocking(directory: &Path, clock: Clock) -> Result<Self, OpenError> {
        let database = open_database(directory)?;
        let commits = Arc::new(AtomicU64::new(0));
        let (sender, receiver) = mpsc::channel(QUEUE_LIMIT);
        let reopen = {
            let directory = directory.to_owned();
            Box::new(move || open_database(&directory))
        };
        let writer = Writer::start(database, reopen, clock, Arc::clone(&commits)).map_err(|error| {
            OpenError::because(format!("The embedded store in {} could not be prepared.", directory.display()), error)
        })?;
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(receiver))
            .map_err(|error| OpenError::because("The embedded store's writer thread could not be started.", error))?;
        let shared = Shared { messages: sender, commits, thread: Mutex::new(Some(thread)) };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub(super) async fn transact_all(
        &self,
        transactions: Vec<Transaction>,
    ) -> Result<Vec<Result<Reply, StoreError>>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.shared.messages.try_send(Message::Job(Job { transactions, reply })).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => StoreError::unavailable("it is closed"),
        })?;
        answer.await.unwrap_or_else(|_| Err(StoreError::unavailable("it was closed before it answered")))
    }

    pub(super) async fn ended(&self) {
        self.shared.messages.closed().await;
    }

    pub(super) async fn close(&self) {
        let (closed, done) = oneshot::channel();
        // Both fail only if it is closed already.
        if self.shared.messages.send(Message::Close(closed)).await.is_ok() {
            let _ = done.await;
        }
        let thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && tokio::task::spawn_blocking(move || thread.join()).await.is_ok_and(|joined| joined.is_err())
        {
            tracing::error!("the embedded store's writer thread ended by a panic");
        }
    }

    /// How many times it has made changes durable since it was opened. Concurrent calls share these.
    pub fn commits(&self) -> u64 {
        self.shared.commits.load(Ordering::SeqCst)
    }
}

fn open_database(directory: &Path) -> Result<Database, OpenError> {
    fs::create_dir_all(directory).map_err(|error| {
        OpenError::because(format!("The directory {} could not be made: {error}.", directory.display()), error)
    })?;
    let path = directory.join(FILE_NAME);
    // Without the integrity check, a file that something else has changed could be trusted; it is read whole for that.
    let opened = Builder::new().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).create(&path);
    let path = path.display();
    opened.map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => OpenError::because(
            format!(
                "{path} is in use by another process: a directory serves one sidecar; give each its own, or use Redis."
            ),
            error,
        ),
        DatabaseError::UpgradeRequired(_) => {
            OpenError::because(format!("{path} was written in an older file format, which is not read."), error)
        }
        DatabaseError::Storage(StorageError::Io(ref cause)) if cause.kind() != std::io::ErrorKind::InvalidData => {
            OpenError::because(format!("{path} could not be opened: {cause}."), error)
        }
        _ => OpenError::because(
            format!(
                "{path} is damaged, or no store of Tollgate: restore it from a backup, or move it away to begin anew."
            ),
            error,
        ),
    })
}
