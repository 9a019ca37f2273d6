//! The background: keeps the catalogue fresh, gives abandoned credits back, trims old cycles. Correctness never depends
//! on when it runs, and several sidecars may do the same work.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Gate, GateError, attempts::Attempts, catalogue::REFRESH_EVERY};
use crate::{
    domain::{
        hold::HoldsQuery,
        id::Id,
        trim::{CYCLES_KEPT, UsageRowsQuery, remove},
    },
    store::StoreError,
};

/// How often the teams in memory are swept.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// How often all teams are swept: also those whose sidecar died.
const SWEEP_ALL_EVERY: Duration = Duration::from_secs(60);

/// How soon after that could not be done.
const SWEEP_ALL_AGAIN: Duration = Duration::from_secs(5);

/// How many teams are read at a time.
const TEAMS_PER_PAGE: u32 = 100;

/// How many pages of usage rows one visit to a team trims.
const TRIM_PAGES_PER_VISIT: u32 = 16;

impl Gate {
    /// Runs until it is told to stop.
    pub async fn run(&self, stop: CancellationToken) {
        let loops = async {
            tokio::join!(
                self.refresh_forever(),
                self.sweep_forever(),
                self.sweep_all_forever(),
                self.look_after_leases(),
                self.record_runs(),
            )
        };
        stop.run_until_cancelled(loops).await;
    }

    async fn refresh_forever(&self) {
        let mut ticks = ticks(REFRESH_EVERY);
        loop {
            ticks.tick().await;
            match self.catalogue.refresh(&self.store).await {
                Err(error) if error.is_store_outage() => tracing::debug!(%error, "the catalogue could not be fetched"),
                Err(error) => tracing::warn!(%error, "the catalogue could not be fetched"),
                Ok(_) => {}
            }
        }
    }

    async fn sweep_forever(&self) {
        let mut ticks = ticks(SWEEP_EVERY);
        loop {
            ticks.tick().await;
            for team in self.cache.take_due(self.store_time.now_ms()) {
                let Err(error) = self.sweep_holds(&team).await else { continue };
                self.cache.note_due(&team, self.store_time.now_ms());
                if error.is_store_outage() {
                    tracing::debug!(%team, %error, "holds that ran out could not be given back yet");
                } else {
                    tracing::warn!(%team, %error, "holds that ran out could not be given back yet");
                }
            }
            self.expire_opened().await;
            self.cache.evict_idle(self.clock.monotonic_ms());
            self.suspended.drop_old(self.clock.monotonic_ms());
        }
    }

    async fn sweep_all_forever(&self) {
        let mut ticks = ticks(SWEEP_ALL_EVERY);
        loop {
            ticks.tick().await;
            match self.sweep().await {
                Err(error) if error.is_store_outage() => tracing::debug!(%error, "not all teams could be swept"),
                Err(error) => tracing::warn!(%error, "not all teams could be swept"),
                Ok(()) => continue,
            }
            // It may be that nobody else knows of a team's holds, as who made them is gone.
            ticks.reset_after(SWEEP_ALL_AGAIN);
        }
    }

    /// Visits every team once: expires what is due, and trims. A team that it fails for does not keep it from the
    /// others.
    ///
    /// # Errors
    /// The store cannot be reached, or has too much to do: teams that were not visited yet are left for the next time.
    pub async fn sweep(&self) -> Result<(), GateError> {
        let mut after = String::new();
        loop {
            let (teams, next) = self.team_ids(&after, TEAMS_PER_PAGE).await?;
            for team in &teams {
                match self.sweep_team(team).await {
                    Ok(()) => {}
                    Err(error @ GateError::Store(StoreError::Unavailable { .. } | StoreError::Overloaded)) => {
                        return Err(error);
                    }
                    // It has more to expire than one visit may.
                    Err(GateError::Unverified) => self.cache.note_due(team, self.store_time.now_ms()),
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

    /// Expires what is due of a team, and notes when the next hold runs out.
    async fn sweep_holds(&self, team: &Id) -> Result<(), GateError> {
        let mut attempts = Attempts::default();
        loop {
            let mut query = HoldsQuery::new(team);
            let reply = self.transact(query.transaction.take()).await?;
            let holds = query.holds(&reply)?;
            let Some(next) = holds.first() else { return Ok(()) };
            if !next.is_due(reply.now_ms) {
                self.cache.note_due(team, next.expires_at_ms);
                return Ok(());
            }
            attempts.expiry_round()?;
            self.expire_due(team, &holds, reply.now_ms).await?;
        }
    }

    /// Removes the cycles of a team beyond those that it keeps.
    async fn trim(&self, team: &Id) -> Result<(), GateError> {
        let starts_ms = self.cycle_starts_ms(team).await?;
        let Some(excess) = starts_ms.len().checked_sub(CYCLES_KEPT) else { return Ok(()) };
        let mut pages = 0;
        for start_ms in starts_ms.into_iter().take(excess) {
            loop {
                pages += 1;
                if pages > TRIM_PAGES_PER_VISIT {
                    return Ok(());
                }
                let mut query = UsageRowsQuery::to_trim(team, start_ms);
                let reply = self.transact(query.transaction.take()).await?;
                let rows = query.rows(&reply)?;
                self.transact(remove(team, start_ms, &rows)).await?;
                if rows.is_empty() {
                    break;
                }
            }
        }
        Ok(())
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
