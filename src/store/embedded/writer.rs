//! The thread that owns the file: it gathers calls into batches, and answers a batch when it is durable.

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

/// How many calls share a flush to disk, at most. It bounds how long the first of them waits for the others' work, which is
/// some microseconds for each.
pub(super) const BATCH_LIMIT: usize = 256;

/// How many records whose time has come are dropped for each call of a batch. A call writes fewer that ever have to be.
const PURGES_PER_CALL: usize = 16;

/// Between two attempts to open a file that failed, in milliseconds: each of them reads it whole.
const REOPEN_PAUSE_MS: i64 = 1_000;

/// Why nothing is answered from a file that is no longer where it has to be.
const REMOVED: &str = "its file was removed";

/// The replies to a batch, and whether anything was written.
type BatchResult = (Vec<Vec<Result<Reply, StoreError>>>, bool);

/// One call.
pub(super) struct Job {
    pub(super) transactions: Vec<Transaction>,
    pub(super) reply: oneshot::Sender<BatchReplies>,
}

/// What the thread is sent.
pub(super) enum Message {
    Job(Job),
    /// Answered once everything sent before is answered and the file is closed.
    Close(oneshot::Sender<()>),
}

/// Opens the file again.
pub(super) type Reopen = Box<dyn Fn() -> Result<Database, OpenError> + Send>;

/// Which file it is, how it stands with it, and how many commits it had.
pub(super) struct StoreFile {
    pub(super) identity: FileIdentity,
    pub(super) reopen: Reopen,
    pub(super) health: Arc<HealthReporter>,
    pub(super) commits: Arc<AtomicU64>,
}

pub(super) struct Writer {
    /// None once its file failed: the database then refuses everything, even when a full disk has room again, until it is
    /// opened anew.
    database: Option<Database>,
    file: StoreFile,
    /// No attempt to open the file again before this monotonic time, in milliseconds.
    reopen_from_ms: i64,
    clock: Clock,
    /// The latest time that was given out, or by a former process kept.
    last_ms: i64,
}

impl Writer {
    /// Makes the tables that are missing, and learns the latest time.
    pub(super) fn start(database: Database, file: StoreFile, clock: Clock) -> Result<Self, redb::Error> {
        let last_ms = prepare(&database)?;
        Ok(Self { database: Some(database), file, reopen_from_ms: i64::MIN, clock, last_ms })
    }

    /// Serves until it is told to close, or all handles are gone.
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
                // Nobody waits for it if the caller of close went away.
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
                // A disk that is full can still be read.
                if wrote {
                    self.file.health.back();
                }
                for (job, replies) in jobs.drain(..).zip(replies) {
                    // A caller that went away has its transaction carried out all the same.
                    let _ = job.reply.send(Ok(replies));
                }
            }
            Err(error) => {
                self.note(&error);
                for job in jobs.drain(..) {
                    let _ = job.reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// It failed: for the health, and for the log once.
    fn note(&self, error: &StoreError) {
        let StoreError::Unavailable { reason, source } = error else {
            tracing::error!(error = error as &dyn std::error::Error, "the embedded store failed");
            return;
        };
        if *reason == REMOVED && self.file.health.now().is_up() {
            tracing::error!("no call is served: {}", self.file.identity.missing());
        }
        self.file.health.down(reason, source.as_ref().map(|cause| cause as &dyn std::error::Error));
    }

    /// Carries out a batch. An error is about the whole of it: none of its transactions took place, or, if the commit
    /// failed, nobody knows. The database is closed by it, and opened again for a later batch.
    fn execute(&mut self, jobs: &[Job]) -> Result<BatchResult, StoreError> {
        if !self.file.identity.is_kept() {
            return Err(StoreError::unavailable(REMOVED));
        }
        let database = match self.database.take() {
            Some(database) => database,
            None => self.reopened()?,
        };
        let carried = self.execute_on(&database, jobs)?;
        self.database = Some(database);
        // What went to a file that was removed meanwhile is not kept, and must not be acknowledged.
        if self.file.identity.is_kept() { Ok(carried) } else { Err(StoreError::unavailable(REMOVED)) }
    }

    fn reopened(&mut self) -> Result<Database, StoreError> {
        let now_ms = self.clock.monotonic_ms();
        if now_ms < self.reopen_from_ms {
            return Err(StoreError::unavailable("its file failed just now"));
        }
        self.reopen_from_ms = now_ms.saturating_add(REOPEN_PAUSE_MS);
        let database = (self.file.reopen)()
            .map_err(|error| StoreError::unavailable_because("its file could not be opened again", error))?;
        // While it was closed, another sidecar may have had it.
        self.last_ms = self.last_ms.max(prepare(&database).map_err(broken)?);
        tracing::debug!("the embedded store's file failed, and is open again");
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
                // What the database itself reports leaves its transaction in an unknown state, so it ends the batch.
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
            tables.keep_last_ms(self.last_ms).map_err(broken)?;
        }
        Ok(replies)
    }
}

/// Makes the tables that are missing; the latest time that was kept.
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

    /// A file on a disk that can be full.
    #[derive(Debug)]
    struct Disk {
        file: FileBackend,
        fate: Arc<Fate>,
    }

    /// What becomes of a disk.
    #[derive(Debug, Default)]
    struct Fate {
        full: AtomicBool,
        /// This file is removed once something is written.
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
    fn what_went_to_a_file_that_was_removed_meanwhile_is_not_acknowledged() {
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
    fn a_disk_that_was_full_and_has_room_again_is_written_to_again() {
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
        assert!(matches!(count(&mut writer), Err(StoreError::Unavailable { .. })), "it was tried just now");
        clock.advance_ms(REOPEN_PAUSE_MS);
        let reply = count(&mut writer).unwrap();
        assert_eq!(reply.outcome, Outcome::Applied { option: 0 });
        assert!(health.borrow().is_up());
        let crate::transaction::Record::Hash(fields) = &reply.records[0] else { panic!("{reply:?}") };
        assert_eq!(fields.number("n"), Some(2), "what was answered is there, and what was not took no place");
    }
}
