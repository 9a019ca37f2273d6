//! Gives back the credits of abandoned reservations and leases, and deletes old cycles, in the background.
//!
//! Correctness never depends on when it runs, and several sidecars may do the same work. It must not know the calls.

use std::{sync::Arc, time::Duration};

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{attempts::Attempts, decisions::Decisions, error::GateError, expiry::Expiry, store_client::StoreClient};
use crate::{
    domain::{
        hold::HoldsQuery,
        id::Id,
        trim::{CYCLES_KEPT, UsageRowsQuery, remove},
    },
    store::StoreError,
};

/// Interval between two sweeps of the teams whose holds this sidecar knows of.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Interval between two sweeps of all teams, which find what a crashed sidecar has left.
const SWEEP_ALL_EVERY: Duration = Duration::from_secs(60);

/// Pause after a failed sweep of all teams. It is short, because no other sidecar may know of the holds that a crashed
/// sidecar has left.
const SWEEP_ALL_AGAIN: Duration = Duration::from_secs(5);

/// Number of teams that are read at a time.
const TEAMS_PER_PAGE: u32 = 100;

/// Maximum number of pages of usage rows that one visit to a team deletes.
const TRIM_PAGES_PER_VISIT: u32 = 16;

/// Sweeps teams.
pub(crate) struct Sweeper {
    store: Arc<StoreClient>,
    expiry: Arc<Expiry>,
    decisions: Arc<Decisions>,
}

impl Sweeper {
    /// Sweeps the teams in a store.
    pub(crate) fn new(store: Arc<StoreClient>, expiry: Arc<Expiry>, decisions: Arc<Decisions>) -> Self {
        Self { store, expiry, decisions }
    }

    /// Sweeps the teams whose holds are known to have run out, every second. Never returns.
    pub(crate) async fn sweep_due_forever(&self) {
        let cache = self.store.cache();
        let mut ticks = ticks(SWEEP_EVERY);
        loop {
            ticks.tick().await;
            for team in cache.take_due(self.store.now_ms()) {
                let Err(error) = self.sweep_holds(&team).await else {
                    continue;
                };
                cache.note_due(&team, self.store.now_ms());
                if error.is_store_outage() {
                    tracing::debug!(%team, %error, "due holds could not be expired; retrying");
                } else {
                    tracing::warn!(%team, %error, "due holds could not be expired; retrying");
                }
            }
            self.expiry.expire_opened().await;
            cache.evict_idle(self.store.monotonic_ms());
            self.decisions.forget_old(self.store.monotonic_ms());
        }
    }

    /// Sweeps all teams every minute, and sooner after a failure. Never returns.
    pub(crate) async fn sweep_all_forever(&self) {
        let mut ticks = ticks(SWEEP_ALL_EVERY);
        loop {
            ticks.tick().await;
            match self.sweep_all().await {
                Err(error) if error.is_store_outage() => tracing::debug!(%error, "not all teams could be swept"),
                Err(error) => tracing::warn!(%error, "not all teams could be swept"),
                Ok(()) => continue,
            }
            ticks.reset_after(SWEEP_ALL_AGAIN);
        }
    }

    /// Visits every team once: expires due holds, and deletes old cycles. A team that fails does not stop the sweep.
    ///
    /// # Errors
    /// The store cannot be reached, or is overloaded. The teams that were not visited wait for the next sweep.
    pub(crate) async fn sweep_all(&self) -> Result<(), GateError> {
        let mut after = String::new();
        loop {
            let (teams, next) = self.store.team_ids(&after, TEAMS_PER_PAGE).await?;
            for team in &teams {
                match self.sweep_team(team).await {
                    Ok(()) => {}
                    Err(error @ GateError::Store(StoreError::Unavailable { .. } | StoreError::Overloaded)) => {
                        return Err(error);
                    }
                    // The team has more due holds than one visit expires.
                    Err(GateError::Unverified) => self.store.cache().note_due(team, self.store.now_ms()),
                    Err(error) => tracing::warn!(%team, %error, "a team could not be swept"),
                }
            }
            let Some(next) = next else { return Ok(()) };
            after = next;
        }
    }

    async fn sweep_team(&self, team: &Id) -> Result<(), GateError> {
        self.sweep_holds(team).await?;
        self.trim(team).await
    }

    /// Expires the due holds of a team, and notes when the next one runs out.
    async fn sweep_holds(&self, team: &Id) -> Result<(), GateError> {
        let mut attempts = Attempts::default();
        loop {
            let mut query = HoldsQuery::new(team);
            let reply = self.store.transact(query.transaction.take()).await?;
            let holds = query.holds(&reply)?;
            let Some(next) = holds.first() else { return Ok(()) };
            if !next.is_due(reply.now_ms) {
                self.store.cache().note_due(team, next.expires_at_ms);
                return Ok(());
            }
            attempts.expiry_round()?;
            self.expiry.expire_holds(team, &holds, reply.now_ms).await?;
        }
    }

    /// Deletes the oldest cycles of a team, except for the [`CYCLES_KEPT`] latest ones.
    async fn trim(&self, team: &Id) -> Result<(), GateError> {
        let starts_ms = self.store.cycle_starts_ms(team).await?;
        let Some(excess) = starts_ms.len().checked_sub(CYCLES_KEPT) else {
            return Ok(());
        };
        let mut pages = 0;
        for start_ms in starts_ms.into_iter().take(excess) {
            loop {
                pages += 1;
                if pages > TRIM_PAGES_PER_VISIT {
                    return Ok(());
                }
                let mut query = UsageRowsQuery::to_trim(team, start_ms);
                let reply = self.store.transact(query.transaction.take()).await?;
                let rows = query.rows(&reply)?;
                self.store.transact(remove(team, start_ms, &rows)).await?;
                if rows.is_empty() {
                    break;
                }
            }
        }
        Ok(())
    }
}

fn ticks(every: Duration) -> Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
