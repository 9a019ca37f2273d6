//! Calling a team's leases back, before it is suspended or its terms change: what no sidecar has drawn covers calls
//! again.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dashmap::DashMap;
use tokio::time::{sleep, timeout};

use super::{Gate, GateError};
use crate::{
    domain::{
        id::Id,
        lease::{OpenLeases, Recall, announce},
    },
    metrics::LeaseEvent,
};

/// How long sidecars have to give leases back. One that lives looks each 100 ms; one that does not keeps nobody waiting
/// for longer.
const PATIENCE: Duration = Duration::from_millis(250);

/// Between two looks whether all have come back.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Recalls under way, so that the calls of one team wait for one of them together.
#[derive(Debug, Default)]
pub(crate) struct Recalls(DashMap<Id, Arc<UnderWay>>);

#[derive(Debug, Default)]
struct UnderWay {
    turn: tokio::sync::Mutex<()>,
    /// When the last one was over, by our clock, in milliseconds.
    over_ms: Mutex<Option<i64>>,
}

impl Gate {
    /// Calls the leases of a team back, and waits until those that live have come back.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn call_back(&self, team: &Id) -> Result<(), GateError> {
        let asked_ms = self.clock.monotonic_ms();
        let under_way = Arc::clone(&self.recalls.0.entry(team.clone()).or_default());
        let turn = under_way.turn.lock().await;
        let over_ms = *under_way.over_ms.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody who began after this call came has done it.
        let called =
            if over_ms.is_some_and(|over_ms| over_ms > asked_ms) { Ok(()) } else { self.call_back_now(team).await };
        *under_way.over_ms.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.clock.monotonic_ms());
        drop(turn);
        // Whoever waits still has a share of it.
        self.recalls.0.remove_if(team, |_, under_way| Arc::strong_count(under_way) <= 2);
        called
    }

    async fn call_back_now(&self, team: &Id) -> Result<(), GateError> {
        self.give_back_own(team, self.store_time.now_ms()).await;
        let mut step = Recall::new(team);
        let reply = self.transact(step.transaction.take()).await?;
        self.team_exists(team, step.terms(&reply)?)?;
        self.wait_for_leases(team, &step.open_leases(&reply)).await
    }

    /// Waits until these leases have come back, if their sidecars live.
    pub(super) async fn wait_for_leases(&self, team: &Id, open: &OpenLeases) -> Result<(), GateError> {
        if open.is_empty() {
            return Ok(());
        }
        self.transact(announce(team)).await?;
        let come_back = async {
            loop {
                let mut step = Recall::read(team);
                let reply = self.transact(step.transaction.take()).await?;
                if step.open_leases(&reply).is_empty() {
                    return Ok(());
                }
                // One of our own may have been granted while it was called back.
                self.give_back_own(team, reply.now_ms).await;
                sleep(LOOK_EVERY).await;
            }
        };
        timeout(PATIENCE, come_back).await.unwrap_or_else(|_late| {
            tracing::debug!(%team, "not all leases came back in time");
            Ok(())
        })
    }

    async fn give_back_own(&self, team: &Id, recalled_at_ms: i64) {
        let rests = self.escrow.recall_leases(team, recalled_at_ms);
        self.metrics.leases(LeaseEvent::Recalled, rests.len());
        self.give_back(team, rests).await;
    }
}
