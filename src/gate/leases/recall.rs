//! Calls a team's leases back before the team is suspended or its terms change, so that credits that no sidecar has
//! drawn cover calls again; and answers the recalls of other sidecars.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dashmap::DashMap;
use tokio::time::{sleep, timeout};

use super::Leases;
use crate::{
    domain::{
        id::Id,
        lease::{OpenLeases, Recall, RecallsQuery, announce, remove_announcements},
    },
    gate::error::GateError,
    metrics::LeaseEvent,
};

/// How long a recall waits for other sidecars to give their leases back. A running sidecar looks every 100 ms. One
/// that is stopped delays no call for longer than this.
const RECALL_TIMEOUT: Duration = Duration::from_millis(250);

/// Interval between two looks whether all leases are back.
const POLL_EVERY: Duration = Duration::from_millis(10);

/// Recalls in progress, so that concurrent calls of one team share one recall.
#[derive(Debug, Default)]
pub(super) struct Recalls(DashMap<Id, Arc<TeamRecall>>);

#[derive(Debug, Default)]
struct TeamRecall {
    turn: tokio::sync::Mutex<()>,
    /// When the last recall ended, in milliseconds of the sidecar's clock.
    ended_ms: Mutex<Option<i64>>,
}

impl Leases {
    /// Calls the leases of a team back, and waits until the running sidecars have given theirs back, or until a
    /// timeout.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn call_back(&self, team: &Id) -> Result<(), GateError> {
        let asked_ms = self.store.monotonic_ms();
        let recall = Arc::clone(&self.recalls.0.entry(team.clone()).or_default());
        let turn = recall.turn.lock().await;
        let ended_ms = *recall.ended_ms.lock().unwrap_or_else(PoisonError::into_inner);
        // A recall that ended after this call came is as good as one of its own.
        let recalled =
            if ended_ms.is_some_and(|ended_ms| ended_ms > asked_ms) { Ok(()) } else { self.call_back_now(team).await };
        *recall.ended_ms.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.store.monotonic_ms());
        drop(turn);
        // The map has one reference and this call has another. A further one belongs to a call that waits for its turn.
        self.recalls.0.remove_if(team, |_, recall| Arc::strong_count(recall) <= 2);
        recalled
    }

    async fn call_back_now(&self, team: &Id) -> Result<(), GateError> {
        self.give_back_own(team, self.store.now_ms()).await;
        let mut step = Recall::new(team);
        let reply = self.store.transact(step.transaction.take()).await?;
        self.store.team_exists(team, step.terms(&reply)?)?;
        self.wait_for_leases(team, &step.open_leases(&reply)).await
    }

    /// Announces that these leases are called back, and waits until they are back, or until a timeout.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn wait_for_leases(&self, team: &Id, open: &OpenLeases) -> Result<(), GateError> {
        if open.is_empty() {
            return Ok(());
        }
        self.store.transact(announce(team)).await?;
        let come_back = async {
            loop {
                let mut step = Recall::read(team);
                let reply = self.store.transact(step.transaction.take()).await?;
                if step.open_leases(&reply).is_empty() {
                    return Ok(());
                }
                // A lease of this sidecar may have been granted during the recall.
                self.give_back_own(team, reply.now_ms).await;
                sleep(POLL_EVERY).await;
            }
        };
        timeout(RECALL_TIMEOUT, come_back).await.unwrap_or_else(|_elapsed| {
            tracing::debug!(%team, "not all leases came back in time");
            Ok(())
        })
    }

    /// Gives back the leases of teams that were called back after `since_ms` of the store, in Unix milliseconds.
    /// Returns the store's time now.
    pub(super) async fn answer_recalls(&self, since_ms: i64) -> Result<i64, GateError> {
        let mut query = RecallsQuery::default();
        let reply = self.store.transact(query.transaction.take()).await?;
        let (recalled, old) = query.teams(&reply, since_ms)?;
        for team in recalled {
            self.give_back_own(&team, reply.now_ms).await;
        }
        if !old.is_empty() {
            self.store.transact(remove_announcements(&old)).await?;
        }
        Ok(reply.now_ms)
    }

    /// Gives back this sidecar's leases of a team, as they are called back at a time of the store.
    async fn give_back_own(&self, team: &Id, recalled_at_ms: i64) {
        let remainders = self.held.escrow.recall_leases(team, recalled_at_ms);
        self.store.metrics().leases(LeaseEvent::Recalled, remainders.len());
        self.give_back(team, remainders).await;
    }
}
