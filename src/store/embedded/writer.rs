//! The thread that owns the file. It collects calls into batches, and answers a batch when it is on disk.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use redb::{Database, WriteTransaction};
use tokio::sync::{mpsc, oneshot};

use super::{
    super::{
        error::{BatchReplies, OpenError, StoreError},
        health::HealthReporter,
        interpreter::execute,
    },
    store_file::FileIdentity,
    tables::{Tables, broken},
};
use crate::{
    clock::Clock,
    transaction::{Reply, Transaction},
};

/// Maximum number of calls that share a flush to disk. It bounds how long the first call waits for the others, each of
/// which takes some microseconds.
pub(super) const BATCH_LIMIT: usize = 256;

/// Maximum number of due records to purge for each call of a batch. A call writes fewer records with a purge time than
/// this.
const PURGES_PER_CALL: usize = 16;

/// Pause between two attempts to reopen a file that failed, in milliseconds. Each attempt reads the whole file.
const REOPEN_PAUSE_MS: i64 = 1_000;

/// The reason that is given when the file is no longer at its path.
const REMOVED: &str = "its file was removed";

/// The replies to a batch, one list for each call; and whether anything was written.
type BatchResult = (Vec<Vec<Result<Reply, StoreError>>>, bool);

/// One call.
pub(super) struct Job {
    pub(super) transactions: Vec<Transaction>,
    pub(super) reply: oneshot::Sender<BatchReplies>,
}

/// A message to the thread.
pub(super) enum Message {
    Job(Job),
    /// Closes the file. It is answered when all earlier calls are answered and the file is closed.
    Close(oneshot::Sender<()>),
}

/// A function that reopens the file.
pub(super) type Reopen = Box<dyn Fn() -> Result<Database, OpenError> + Send>;

/// The file that the thread writes, and what it reports about it.
pub(super) struct StoreFile {
    pub(super) identity: FileIdentity,
    pub(super) reopen: Reopen,
    pub(super) health: Arc<HealthReporter>,
    pub(super) commits: Arc<AtomicU64>,
}

pub(super) struct Writer {
    /// `None` after the file failed. redb then refuses every operation until the file is reopened, even if the disk was
    /// full and has room again.
    database: Option<Database>,
    file: StoreFile,
    /// Monotonic time before which the file is not reopened, in milliseconds.
    reopen_from_ms: i64,
    clock: Clock,
    /// The latest time in any reply, including those of earlier processes.
    last_ms: i64,
}

impl Writer {
    /// Creates the tables that do not exist, and reads the latest time.
    pub(super) fn start(database: Database, file: StoreFile, clock: Clock) -> Result<Self, redb::Error> {
        let last_ms = prepare(&database)?;
        Ok(Self { database: Some(database), file, reopen_from_ms: i64::MIN, clock, last_ms })
    }

    /// Serves calls until a close message arrives or all handles are dropped.
    pub(super) fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut jobs = Vec::with_capacity(BATCH_LIMIT);
        while let Some(first) = messages.blocking_recv() {
            let mut next = Some(first);
            let mut closing = None;
            while let Some(message) = next.take() {
                match message {
                    Message::Job(job) => jobs.push(job),
                    Message::Close(closed) => closing = Some(closed),
                }
                if closing.is_none() && jobs.len() < BATCH_LIMIT {
                    next = messages.try_recv().ok();
                }
            }
            self.serve(&mut jobs);
            if let Some(closed) = closing {
                drop(self);
                // This fails if the caller of close went away.
                let _ = closed.send(());
                return;
            }
        }
    }

    fn serve(&mut self, jobs: &mut Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        match self.execute(jobs) {
            Ok((replies, wrote)) => {
                // A successful read does not show that the disk can be written.
                if wrote {
                    self.file.health.back();
                }
                for (job, replies) in jobs.drain(..).zip(replies) {
                    // This fails if the caller went away. Its transactions were carried out all the same.
                    let _ = job.reply.send(Ok(replies));
                }
            }
            Err(error) => {
                self.report(&error);
                for job in jobs.drain(..) {
                    let _ = job.reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// Reports the failure of a batch to the health and to the log.
    fn report(&self, error: &StoreError) {
        let StoreError::Unavailable { reason, source } = error else {
            tracing::error!(error = error as &dyn std::error::Error, "the embedded store has a fault");
            return;
        };
        if *reason == REMOVED && self.file.health.now().is_up() {
            let advice = self.file.identity.missing_advice();
            tracing::error!(advice, "the store cannot be used until its file is restored");
        }
        self.file.health.down(reason, source.as_ref().map(|cause| cause as &dyn std::error::Error));
    }

    /// Carries out a batch. An error applies to the whole batch: no transaction was carried out; or, if the commit
    /// failed, that is unknown. After an error, the database is closed; a later batch reopens it.
    fn execute(&mut self, jobs: &[Job]) -> Result<BatchResult, StoreError> {
        if !self.file.identity.is_at_path() {
            return Err(StoreError::unavailable(REMOVED));
        }
        let database = match self.database.take() {
            Some(database) => database,
            None => self.reopened()?,
        };
        let carried = self.execute_on(&database, jobs)?;
        self.database = Some(database);
        // If the file was removed meanwhile, the writes are lost and must not be acknowledged.
        if self.file.identity.is_at_path() { Ok(carried) } else { Err(StoreError::unavailable(REMOVED)) }
    }

    fn reopened(&mut self) -> Result<Database, StoreError> {
        let now_ms = self.clock.monotonic_ms();
        if now_ms < self.reopen_from_ms {
            return Err(StoreError::unavailable("its file failed and is reopened shortly"));
        }
        self.reopen_from_ms = now_ms.saturating_add(REOPEN_PAUSE_MS);
        let database = (self.file.reopen)()
            .map_err(|error| StoreError::unavailable_because("its file cannot be reopened", error))?;
        // Another sidecar may have used the file while it was closed.
        self.last_ms = self.last_ms.max(prepare(&database).map_err(broken)?);
        tracing::debug!("reopened the file of the embedded store after a failure");
        Ok(database)
    }

    fn execute_on(&mut self, database: &Database, jobs: &[Job]) -> Result<BatchResult, StoreError> {
        let write = database.begin_write().map_err(broken)?;
        let mut wrote = false;
        let replies = self.apply(&write, jobs, &mut wrote)?;
        if wrote {
            self.file.commits.fetch_add(1, Ordering::SeqCst);
            write.commit().map_err(broken)?;
        } else {
            write.abort().map_err(broken)?;
        }
        Ok((replies, wrote))
    }

    fn apply(
        &mut self,
        write: &WriteTransaction,
        jobs: &[Job],
        wrote: &mut bool,
    ) -> Result<Vec<Vec<Result<Reply, StoreError>>>, StoreError> {
        let mut tables = Tables::open(write).map_err(broken)?;
        let mut replies = Vec::with_capacity(jobs.len());
        for job in jobs {
            let mut of_job = Vec::with_capacity(job.transactions.len());
            for transaction in &job.transactions {
                self.last_ms = self.last_ms.max(self.clock.now_ms());
                let mut records = tables.of(&transaction.scope);
                let executed = execute(&mut records, transaction, self.last_ms);
                // After an error of the database, the state of its transaction is unknown, so the batch fails.
                if let Some(error) = records.take_failure() {
                    return Err(error);
                }
                of_job.push(executed.map(|executed| {
                    *wrote |= executed.wrote;
                    executed.reply
                }));
            }
            replies.push(of_job);
        }
        if *wrote {
            tables.purge(self.last_ms, PURGES_PER_CALL * jobs.len()).map_err(broken)?;
            tables.store_last_ms(self.last_ms).map_err(broken)?;
        }
        Ok(replies)
    }
}

/// Creates the tables that do not exist. Returns the stored time.
fn prepare(database: &Database) -> Result<i64, redb::Error> {
    let write = database.begin_write()?;
    let last_ms = Tables::open(&write)?.last_ms()?;
    write.commit()?;
    Ok(last_ms)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io,
        path::{Path, PathBuf},
        sync::{Mutex, atomic::AtomicBool},
    };

    use redb::{StorageBackend, backends::FileBackend};

    use super::*;
    use crate::{
        clock::ManualClock,
        transaction::{Key, Outcome, Read, Scope, Write},
    };

    /// A file on a simulated disk.
    #[derive(Debug)]
    struct Disk {
        file: FileBackend,
        fate: Arc<Fate>,
    }

    /// What the simulated disk does.
    #[derive(Debug, Default)]
    struct Fate {
        full: AtomicBool,
        /// A file to remove before the next write.
        removed: Mutex<Option<PathBuf>>,
    }

    impl Disk {
        fn room(&self) -> Result<(), io::Error> {
            if let Some(removed) = self.fate.removed.lock().unwrap().take() {
                std::fs::remove_file(removed)?;
            }
            if self.fate.full.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
    }

    impl StorageBackend for Disk {
        fn len(&self) -> Result<u64, io::Error> {
            self.file.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
            self.file.read(offset, out)
        }

        fn set_len(&self, len: u64) -> Result<(), io::Error> {
            self.room()?;
            self.file.set_len(len)
        }

        fn sync_data(&self) -> Result<(), io::Error> {
            self.file.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
            self.room()?;
            self.file.write(offset, data)
        }

        fn close(&self) -> Result<(), io::Error> {
            self.file.close()
        }
    }

    fn open(path: &Path, fate: &Arc<Fate>) -> Result<Database, OpenError> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        let disk = Disk { file: FileBackend::new(file).unwrap(), fate: Arc::clone(fate) };
        let opened = redb::Builder::new().create_with_backend(disk);
        opened.map_err(|error| OpenError::because("It could not be opened.", error))
    }

    fn count(writer: &mut Writer) -> Result<Reply, StoreError> {
        let mut step = Transaction::on(Scope::new("team"));
        let record = step.starting_record(Key::hash("h"), Read::Whole, vec![("n", 0.into())]);
        step.option(vec![], vec![Write::Add(record, "n", 1)]);
        let (reply, mut answer) = oneshot::channel();
        writer.serve(&mut vec![Job { transactions: vec![step], reply }]);
        answer.try_recv().unwrap().and_then(|mut replies| replies.remove(0))
    }

    fn writer(path: &Path, fate: &Arc<Fate>, clock: &ManualClock) -> Writer {
        let database = open(path, fate).unwrap();
        let reopen = {
            let (path, fate) = (path.to_owned(), Arc::clone(fate));
            Box::new(move || open(&path, &fate))
        };
        let health = Arc::new(HealthReporter::up("embedded:test".to_owned()));
        let file = StoreFile { identity: FileIdentity::of(path).unwrap(), reopen, health, commits: Arc::default() };
        Writer::start(database, file, Clock::Manual(clock.clone())).unwrap()
    }

    #[test]
    fn writes_to_a_file_removed_meanwhile_are_not_acknowledged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let fate = Arc::default();
        let mut writer = writer(&path, &fate, &ManualClock::at(1_000_000));
        count(&mut writer).unwrap();
        *fate.removed.lock().unwrap() = Some(path.clone());
        assert!(matches!(count(&mut writer), Err(StoreError::Unavailable { reason: REMOVED, .. })));
        assert!(!path.exists());
    }

    #[test]
    fn a_full_disk_is_used_again_once_it_has_room() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let (fate, clock) = (Arc::default(), ManualClock::at(1_000_000));
        let mut writer = writer(&path, &fate, &clock);
        let health = writer.file.health.watch();
        count(&mut writer).unwrap();

        fate.full.store(true, Ordering::SeqCst);
        for _ in 0..3 {
            assert!(matches!(count(&mut writer), Err(StoreError::Unavailable { .. })));
        }
        assert!(!health.borrow().is_up());
        fate.full.store(false, Ordering::SeqCst);
        assert!(
            matches!(count(&mut writer), Err(StoreError::Unavailable { .. })),
            "the pause between attempts has not passed"
        );
        clock.advance_ms(REOPEN_PAUSE_MS);
        let reply = count(&mut writer).unwrap();
        assert_eq!(reply.outcome, Outcome::Applied { option: 0 });
        assert!(health.borrow().is_up());
        let crate::transaction::Record::Hash(fields) = &reply.records[0] else { panic!("{reply:?}") };
        assert_eq!(fields.number("n"), Some(2), "the acknowledged writes are there, and the others are not");
    }
}
