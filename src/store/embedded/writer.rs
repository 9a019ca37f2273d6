//! The thread that owns the file: it gathers calls into batches, and answers a batch when it is durable.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use redb::{Database, WriteTransaction};
use tokio::sync::{mpsc, oneshot};

use super::{
    super::{error::StoreError, interpreter::carry_out},
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

type Replies = Result<Vec<Result<Reply, StoreError>>, StoreError>;

/// One call.
pub(super) struct Job {
    pub(super) transactions: Vec<Transaction>,
    pub(super) reply: oneshot::Sender<Replies>,
}

/// What the thread is sent.
pub(super) enum Message {
    Job(Job),
    /// Answered once everything sent before is answered and the file is closed.
    Close(oneshot::Sender<()>),
}

pub(super) struct Writer {
    database: Database,
    clock: Clock,
    commits: Arc<AtomicU64>,
    /// The latest time that was given out, or by a former process kept.
    last_ms: i64,
}

impl Writer {
    /// Makes the tables that are missing, and learns the latest time.
    pub(super) fn start(database: Database, clock: Clock, commits: Arc<AtomicU64>) -> Result<Self, redb::Error> {
        let write = database.begin_write()?;
        let last_ms = Tables::open(&write)?.last_ms()?;
        write.commit()?;
        Ok(Self { database, clock, commits, last_ms })
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
        match self.carry_out(jobs) {
            Ok(replies) => {
                for (job, replies) in jobs.drain(..).zip(replies) {
                    // A caller that went away has its transaction carried out all the same.
                    let _ = job.reply.send(Ok(replies));
                }
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the embedded store failed");
                for job in jobs.drain(..) {
                    let _ = job.reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// Carries out a batch. An error is about the whole of it: none of its transactions took place, or, if the commit
    /// failed, nobody knows.
    fn carry_out(&mut self, jobs: &[Job]) -> Result<Vec<Vec<Result<Reply, StoreError>>>, StoreError> {
        let write = self.database.begin_write().map_err(broken)?;
        let mut wrote = false;
        let replies = self.apply(&write, jobs, &mut wrote)?;
        if wrote {
            self.commits.fetch_add(1, Ordering::SeqCst);
            write.commit().map_err(broken)?;
        } else {
            write.abort().map_err(broken)?;
        }
        Ok(replies)
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
                let carried_out = carry_out(&mut records, transaction, self.last_ms);
                // What the database itself reports leaves its transaction in an unknown state, so it ends the batch.
                if let Some(error) = records.take_failure() {
                    return Err(error);
                }
                of_job.push(carried_out.map(|carried_out| {
                    *wrote |= carried_out.wrote;
                    carried_out.reply
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
