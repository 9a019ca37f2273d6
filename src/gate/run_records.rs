//! Records runs that began with a call that was answered from memory. Their records are written behind the answers. If
//! the sidecar crashes before that, such a run is no longer current, but no money is lost.
//!
//! This part owns the runs that wait for their records. It must not know how a call is decided.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, stream};
use tokio::{sync::Notify, time::sleep};

use super::{error::GateError, held_leases::HeldLeases, store_client::StoreClient};
use crate::{
    domain::{
        id::Id,
        run::{Run, RunRecord},
    },
    escrow::KnownRun,
    transaction::{Reply, Transaction},
};

/// How long runs are gathered before they are recorded together. A run should be recorded within ten milliseconds, and
/// each store call delays others.
const GATHER_FOR: Duration = Duration::from_millis(8);

/// Maximum number of runs that wait to be recorded, for example while the store is away. When it is reached, the first
/// call of a run is written through.
const MAX_WAITING: usize = 65_536;

/// Room that is left for calls that were allowed to begin a run and have not done so yet.
const RESERVED: usize = MAX_WAITING / 16;

/// Maximum number of runs that one store call records.
const RUNS_PER_CALL: usize = 16;

/// Maximum number of concurrent store calls. Other calls to the store wait behind these when the store comes back.
const CALLS_AT_ONCE: usize = 8;

/// Pause before the next attempt after the store did not answer.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// A run that has no record yet.
#[derive(Clone, Debug)]
pub(crate) struct NewRun {
    /// The team.
    pub(crate) team: Id,
    /// The run.
    pub(crate) run: Id,
    /// The flow that it executes.
    pub(crate) flow: Id,
}

/// Records runs.
pub(crate) struct RunRecords {
    store: Arc<StoreClient>,
    held: Arc<HeldLeases>,
    waiting: Mutex<Vec<NewRun>>,
    /// Length of `waiting`. Each call reads it without the lock.
    length: AtomicUsize,
    /// Wakes the task that records them.
    added: Notify,
}

impl RunRecords {
    /// Starts with no waiting runs.
    pub(crate) fn new(store: Arc<StoreClient>, held: Arc<HeldLeases>) -> Self {
        let (waiting, length, added) = (Mutex::default(), AtomicUsize::new(0), Notify::new());
        Self { store, held, waiting, length, added }
    }

    /// Returns whether calls may begin runs from memory.
    pub(crate) fn have_room(&self) -> bool {
        self.length.load(Ordering::Relaxed) < MAX_WAITING - RESERVED
    }

    /// Adds a run, to be recorded in the background.
    pub(crate) fn begin(&self, run: NewRun) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MAX_WAITING {
            tracing::debug!("a run is not recorded: too many are waiting");
            return;
        }
        waiting.push(run);
        self.length.store(waiting.len(), Ordering::Relaxed);
        drop(waiting);
        self.added.notify_one();
    }

    /// Records runs as they begin. Never returns.
    pub(crate) async fn record_forever(&self) {
        loop {
            self.added.notified().await;
            sleep(GATHER_FOR).await;
            self.record_waiting().await;
        }
    }

    /// Records the runs that wait now.
    pub(crate) async fn record_waiting(&self) {
        let mut by_team: HashMap<Id, Vec<NewRun>> = HashMap::new();
        for run in self.take() {
            by_team.entry(run.team.clone()).or_default().push(run);
        }
        let chunks: Vec<_> =
            by_team.iter().flat_map(|(team, runs)| runs.chunks(RUNS_PER_CALL).map(move |some| (team, some))).collect();
        let recording = |(team, some)| self.record_until_done(team, some);
        stream::iter(chunks).for_each_concurrent(CALLS_AT_ONCE, recording).await;
    }

    /// Sends a transaction on a run. If the run has no record yet, the same store call records it first.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn transact_after_record(
        &self,
        team: &Id,
        run: &Id,
        transaction: Transaction,
    ) -> Result<Reply, GateError> {
        let Some(known) = self.held.escrow.runs().find_unrecorded(team, run) else {
            return self.store.transact(transaction).await;
        };
        let mut record = RunRecord::new(team, run, &known.flow, self.store.policy());
        let mut replies = self.store.transact_all(vec![record.transaction.take(), transaction]).await?;
        Ok(replies.pop().ok_or(GateError::Unverified)??)
    }

    /// Remembers a run as the store has it at `now_ms`, in Unix milliseconds, for calls that are answered from memory.
    pub(crate) fn remember(&self, team: &Id, id: &Id, run: &Run, now_ms: i64) {
        if !self.held.escrow.is_on() {
            return;
        }
        let Ok(flow) = Id::parse(&run.flow) else { return };
        let started_ms = self.store.monotonic_ms() - (now_ms - run.started_at_ms);
        let known = KnownRun { flow, started_ms, has_ended: run.ended_at_ms.is_some(), is_recorded: true };
        self.held.escrow.runs().remember(team, id, known);
    }

    fn take(&self) -> Vec<NewRun> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.length.store(0, Ordering::Relaxed);
        std::mem::take(&mut *waiting)
    }

    async fn record_until_done(&self, team: &Id, runs: &[NewRun]) {
        while let Err(error) = self.record(team, runs).await {
            if !error.is_store_outage() {
                tracing::warn!(%team, %error, "runs could not be recorded");
                return;
            }
            sleep(RETRY_AFTER).await;
        }
    }

    /// Records runs, unless the store has records of them, and remembers them as the store has them.
    async fn record(&self, team: &Id, runs: &[NewRun]) -> Result<(), GateError> {
        let policy = self.store.policy();
        let mut steps: Vec<_> = runs.iter().map(|new| RunRecord::new(team, &new.run, &new.flow, policy)).collect();
        let transactions = steps.iter_mut().map(|step| step.transaction.take()).collect();
        for ((step, reply), new) in steps.iter().zip(self.store.transact_all(transactions).await?).zip(runs) {
            let reply = reply?;
            if let Some(run) = step.run(&reply)? {
                self.remember(team, &new.run, &run, reply.now_ms);
            }
        }
        Ok(())
    }
}
