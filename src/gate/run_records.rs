//! Runs that were first seen by a call that was answered from memory are recorded behind the answer. A crash before
//! that costs a run its currency, never money.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, stream};
use tokio::{sync::Notify, time::sleep};

use super::{Gate, GateError};
use crate::{
    domain::{
        id::Id,
        run::{Run, RunRecord},
    },
    escrow::KnownRun,
    transaction::{Reply, Transaction},
};

/// Runs that begin within so long are recorded together: each is to be recorded within ten milliseconds, and each call
/// of the store is in the way of others.
const GATHERED_FOR: Duration = Duration::from_millis(8);

/// So many runs wait to be recorded at most: as long as the store is away. Beyond, a call of a new run is written
/// through.
const WAITING: usize = 65_536;

/// So many runs of one team are recorded together.
const AT_ONCE: usize = 16;

/// So many of these side by side. Whoever calls the store meanwhile waits for them, also when many have waited for it
/// to come back.
const SIDE_BY_SIDE: usize = 8;

/// After the store did not answer, so long until the next attempt.
const PAUSE: Duration = Duration::from_millis(100);

/// A run that nobody has recorded yet.
#[derive(Clone, Debug)]
pub(crate) struct NewRun {
    pub(crate) team: Id,
    pub(crate) run: Id,
    pub(crate) flow: Id,
}

/// The runs that wait to be recorded.
#[derive(Debug, Default)]
pub(crate) struct RunRecords {
    waiting: Mutex<Vec<NewRun>>,
    /// Length of `waiting`, which each call reads without the lock.
    length: AtomicUsize,
    /// Wakes the task that records them.
    added: Notify,
}

impl RunRecords {
    /// Whether calls may begin runs from memory. Some room is left for those that were told so and have not begun
    /// theirs yet.
    pub(crate) fn have_room(&self) -> bool {
        self.length.load(Ordering::Relaxed) < WAITING - WAITING / 16
    }

    /// A run begins.
    pub(crate) fn begin(&self, run: NewRun) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= WAITING {
            tracing::debug!("a run is not recorded: too many are waiting");
            return;
        }
        waiting.push(run);
        self.length.store(waiting.len(), Ordering::Relaxed);
        drop(waiting);
        self.added.notify_one();
    }

    fn take(&self) -> Vec<NewRun> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.length.store(0, Ordering::Relaxed);
        std::mem::take(&mut *waiting)
    }
}

impl Gate {
    /// Records runs for ever.
    pub(super) async fn record_runs(&self) {
        loop {
            self.run_records.added.notified().await;
            sleep(GATHERED_FOR).await;
            self.record_waiting_runs().await;
        }
    }

    /// Records the runs that calls began from memory and that wait to be recorded. The background does this within some
    /// ten milliseconds of a run's first call.
    pub async fn record_waiting_runs(&self) {
        let mut by_team: HashMap<Id, Vec<NewRun>> = HashMap::new();
        for run in self.run_records.take() {
            by_team.entry(run.team.clone()).or_default().push(run);
        }
        let some_of_each: Vec<_> =
            by_team.iter().flat_map(|(team, runs)| runs.chunks(AT_ONCE).map(move |some| (team, some))).collect();
        let recording = |(team, some)| self.record_until_done(team, some);
        stream::iter(some_of_each).for_each_concurrent(SIDE_BY_SIDE, recording).await;
    }

    async fn record_until_done(&self, team: &Id, runs: &[NewRun]) {
        while let Err(error) = self.record(team, runs).await {
            if !error.is_store_outage() {
                tracing::warn!(%team, %error, "runs could not be recorded");
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// Carries out a transaction on a run that may still wait to be recorded: it is recorded in the same call.
    pub(super) async fn transact_after_record(
        &self,
        team: &Id,
        run: &Id,
        transaction: Transaction,
    ) -> Result<Reply, GateError> {
        let Some(known) = self.escrow.runs().find_unrecorded(team, run) else {
            return self.transact(transaction).await;
        };
        let mut record = RunRecord::new(team, run, &known.flow, &self.policy);
        let mut replies = self.transact_all(vec![record.transaction.take(), transaction]).await?;
        Ok(replies.pop().ok_or(GateError::Unverified)??)
    }

    /// Records runs, unless the store knows them; what is so is remembered.
    pub(super) async fn record(&self, team: &Id, runs: &[NewRun]) -> Result<(), GateError> {
        let mut steps: Vec<_> =
            runs.iter().map(|new| RunRecord::new(team, &new.run, &new.flow, &self.policy)).collect();
        let transactions = steps.iter_mut().map(|step| step.transaction.take()).collect();
        for ((step, reply), new) in steps.iter().zip(self.transact_all(transactions).await?).zip(runs) {
            let reply = reply?;
            if let Some(run) = step.run(&reply)? {
                self.remember_run(team, &new.run, &run, reply.now_ms);
            }
        }
        Ok(())
    }

    /// Remembers what the store has of a run.
    pub(super) fn remember_run(&self, team: &Id, id: &Id, run: &Run, now_ms: i64) {
        if !self.escrow.is_on() {
            return;
        }
        let Ok(flow) = Id::parse(&run.flow) else { return };
        let started_ms = self.clock.monotonic_ms() - (now_ms - run.started_at_ms);
        let known = KnownRun { flow, started_ms, has_ended: run.ended_at_ms.is_some(), is_recorded: true };
        self.escrow.runs().remember(team, id, known);
    }
}
