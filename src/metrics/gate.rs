//! Metrics of a gate: decisions and credits, calls to the store, cache accuracy, and leases.
//!
//! A sidecar counts only its own work, once, when the store's answer confirms it. It counts neither a repeat of a call nor the
//! work of another sidecar.

use prometheus::{IntCounter, Registry, register_int_counter_vec_with_registry, register_int_counter_with_registry};

use super::{
    add,
    holdings::{Holdings, HoldingsGauges},
    store::{StoreCall, StoreMetrics},
    teams::TeamMetrics,
};
use crate::{
    domain::{id::Id, reservation::Basis, suspension::Reason},
    store::StoreError,
};

/// The metrics of one gate.
#[derive(Debug)]
pub struct GateMetrics {
    teams: TeamMetrics,
    overage_blocks: IntCounter,
    store: StoreMetrics,
    cache_hits: IntCounter,
    cache_misses: IntCounter,
    cache_refreshes: IntCounter,
    stale_rounds: IntCounter,
    time_jumps: IntCounter,
    leases: LeaseCounters,
    holdings: HoldingsGauges,
}

/// What one commit charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// All credits of the commit.
    pub credits: i64,
    /// The part of `credits` that a current run used past the limit.
    pub run_completion: i64,
    /// The part of `credits` that exceeded the hold and that nothing covered.
    pub above_hold: i64,
    /// Number of overage blocks that the commit bought.
    pub blocks: i64,
}

/// A change in the life of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseEvent {
    /// The store granted a lease to this sidecar.
    Granted,
    /// This sidecar gave a lease back.
    GivenBack,
    /// This sidecar returned the rest of an expired lease whose own sidecar is gone.
    Reclaimed,
    /// A lease of this sidecar was called back.
    Recalled,
}

/// Counters of lease events.
#[derive(Debug)]
struct LeaseCounters {
    granted: IntCounter,
    given_back: IntCounter,
    reclaimed: IntCounter,
    recalled: IntCounter,
}

impl GateMetrics {
    /// Creates the metrics and registers them. At most `max_teams` teams get a `team` label of their own.
    pub(super) fn new(registry: &Registry, max_teams: u32) -> Result<Self, prometheus::Error> {
        let lookups = register_int_counter_vec_with_registry!(
            "tollgate_cache_lookups_total",
            "Lookups of a team in the cache, by result.",
            &["result"],
            registry
        )?;
        Ok(Self {
            teams: TeamMetrics::new(registry, usize::try_from(max_teams).unwrap_or(usize::MAX))?,
            overage_blocks: register_int_counter_with_registry!(
                "tollgate_overage_blocks_charged_total",
                "Overage blocks that commits of this sidecar bought, to be invoiced.",
                registry
            )?,
            store: StoreMetrics::new(registry)?,
            cache_hits: lookups.get_metric_with_label_values(&["hit"])?,
            cache_misses: lookups.get_metric_with_label_values(&["miss"])?,
            cache_refreshes: register_int_counter_with_registry!(
                "tollgate_cache_refreshes_total",
                "Reads of a team from the store that only refreshed the cache.",
                registry
            )?,
            stale_rounds: register_int_counter_with_registry!(
                "tollgate_stale_rounds_total",
                "Decisions that were repeated because the store rejected a stale read.",
                registry
            )?,
            time_jumps: register_int_counter_with_registry!(
                "tollgate_store_time_jumps_total",
                "Jumps of more than a second between the store's clock and this machine's clock.",
                registry
            )?,
            leases: LeaseCounters::new(registry)?,
            holdings: HoldingsGauges::new(registry)?,
        })
    }

    /// Counts a reservation that was made, and its credits.
    pub fn proceeds(&self, team: &Id, basis: Basis, credits: i64) {
        self.teams.count(team, |counters| {
            counters.proceeds[basis as usize].inc();
            add(&counters.reserved, credits);
        });
    }

    /// Counts a call that was answered with the reservation of an earlier call.
    pub fn replays(&self, team: &Id, basis: Basis) {
        self.teams.count(team, |counters| counters.replays[basis as usize].inc());
    }

    /// Counts a call that was suspended.
    pub fn suspends(&self, team: &Id, reason: Reason) {
        self.teams.count(team, |counters| counters.suspends[reason as usize].inc());
    }

    /// Counts a `BeginRun` that made a run current, or that repeated an earlier one.
    pub fn run_proceeds(&self, team: &Id, replayed: bool) {
        self.teams.count(team, |counters| if replayed { &counters.runs_replayed } else { &counters.runs_begun }.inc());
    }

    /// Counts a run that was suspended.
    pub fn run_suspends(&self, team: &Id, reason: Reason) {
        self.teams.count(team, |counters| counters.runs_suspended[reason as usize].inc());
    }

    /// Counts the credits and the overage blocks of a commit.
    pub fn committed(&self, team: &Id, committed: Committed) {
        self.teams.count(team, |counters| {
            add(&counters.committed, committed.credits);
            add(&counters.run_completion, committed.run_completion);
            add(&counters.above_hold, committed.above_hold);
        });
        add(&self.overage_blocks, committed.blocks);
    }

    /// Counts credits that a caller released.
    pub fn released(&self, team: &Id, credits: i64) {
        self.teams.count(team, |counters| add(&counters.released, credits));
    }

    /// Counts credits that came back because their hold expired.
    pub fn expired(&self, team: &Id, credits: i64) {
        self.teams.count(team, |counters| add(&counters.expired, credits));
    }

    /// Counts a call to the store, answered or failed, and how long it took.
    pub fn store_called(&self, call: StoreCall, duration_ns: i64) {
        self.store.observe(call, duration_ns);
    }

    /// Counts a transaction that the store did not answer.
    pub fn store_failed(&self, error: &StoreError) {
        self.store.failed(error);
    }

    /// Counts a lookup of a team in the cache.
    pub fn looked_up(&self, found: bool) {
        if found { self.cache_hits.inc() } else { self.cache_misses.inc() }
    }

    /// Counts a read of a team from the store that only refreshed the cache.
    pub fn refreshed(&self) {
        self.cache_refreshes.inc();
    }

    /// Counts a decision that is repeated because it was based on a stale read.
    pub fn stale_round(&self) {
        self.stale_rounds.inc();
    }

    /// Counts a jump between the store's clock and this machine's clock.
    pub fn time_jumped(&self) {
        self.time_jumps.inc();
    }

    /// Counts this event for a number of leases.
    pub fn leases(&self, event: LeaseEvent, leases: usize) {
        let counter = match event {
            LeaseEvent::Granted => &self.leases.granted,
            LeaseEvent::GivenBack => &self.leases.given_back,
            LeaseEvent::Reclaimed => &self.leases.reclaimed,
            LeaseEvent::Recalled => &self.leases.recalled,
        };
        counter.inc_by(u64::try_from(leases).unwrap_or(u64::MAX));
    }

    /// Sets the function that reads what the gate holds. Only the first call has an effect.
    pub fn read_holdings_from(&self, source: impl Fn() -> Holdings + Send + Sync + 'static) {
        self.holdings.set_source(source);
    }

    /// Sets the gauges to what the gate holds now.
    pub(super) fn read_holdings(&self) {
        self.holdings.read();
    }
}

/// The metrics of a gate that no listener reports. The gate counts in them, but no registry can be scraped.
impl Default for GateMetrics {
    #[allow(clippy::expect_used, reason = "the names are constants, so this can only fail in every process or in none")]
    fn default() -> Self {
        Self::new(&Registry::new(), 0).expect("the names of the metrics are valid and differ")
    }
}

impl LeaseCounters {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let events = register_int_counter_vec_with_registry!(
            "tollgate_leases_total",
            "Leases that this sidecar was granted, gave back, reclaimed from a lost sidecar, or had called back.",
            &["event"],
            registry
        )?;
        let counter = |event: &str| events.get_metric_with_label_values(&[event]);
        Ok(Self {
            granted: counter("granted")?,
            given_back: counter("given_back")?,
            reclaimed: counter("reclaimed")?,
            recalled: counter("recalled")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metrics::Metrics, store::StoreLocation};

    #[test]
    fn store_errors_and_lease_events_have_their_own_series() {
        let metrics = Metrics::new(&StoreLocation::Memory, 0).unwrap();
        let says = |line: &str| metrics.text().unwrap().contains(&format!("tollgate_{line}\n"));
        for (kind, error) in [
            ("unavailable", StoreError::Unavailable { reason: "gone", source: None }),
            ("overloaded", StoreError::Overloaded),
            ("fault", StoreError::Fault { reason: String::new() }),
        ] {
            assert!(says(&format!("store_errors_total{{kind=\"{kind}\"}} 0")));
            metrics.gate().store_failed(&error);
            assert!(says(&format!("store_errors_total{{kind=\"{kind}\"}} 1")));
        }
        for (name, event) in [
            ("granted", LeaseEvent::Granted),
            ("given_back", LeaseEvent::GivenBack),
            ("reclaimed", LeaseEvent::Reclaimed),
            ("recalled", LeaseEvent::Recalled),
        ] {
            assert!(says(&format!("leases_total{{event=\"{name}\"}} 0")));
            metrics.gate().leases(event, 2);
            assert!(says(&format!("leases_total{{event=\"{name}\"}} 2")));
        }
    }
}
