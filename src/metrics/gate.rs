//! What a gate counts: decisions and credits, its calls to the store, how right its memory is, and its leases.
//!
//! What this sidecar did is counted here, once, when the store's answer tells that it is done: not a repeat of it, nor what another
//! sidecar did. What it has in hand is not counted but looked at when somebody asks.

use std::{fmt, sync::OnceLock};

use prometheus::{
    core::{Collector, Desc},
    proto::MetricFamily,
};

use super::{
    count::{Count, Durations},
    family::Family,
    teams::TeamMetrics,
};
use crate::{
    domain::{id::Id, reservation::Basis, suspension::Reason},
    store::StoreError,
    transaction::Transaction,
};

/// What a gate counts.
#[derive(Debug, Default)]
pub struct GateMetrics {
    teams: TeamMetrics,
    blocks: Count,
    store: StoreMetrics,
    found: Count,
    not_found: Count,
    refreshes: Count,
    stale_rounds: Count,
    time_jumps: Count,
    leases: [Count; EVENTS.len()],
    look: OnceLock<Look>,
}

/// What a commit charged, in credits, but for the blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// In all.
    pub credits: i64,
    /// Of these, what a current run used past the limit.
    pub run_completion: i64,
    /// Of these, what was above the hold and nothing covered.
    pub above_hold: i64,
    /// Overage blocks that it bought.
    pub blocks: i64,
}

/// What becomes of leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseEvent {
    /// The store granted one to this sidecar.
    Granted,
    /// This sidecar gave one back.
    GivenBack,
    /// This sidecar found that one was over of which something was left: its own sidecar is gone.
    Reclaimed,
    /// One of this sidecar's was called back.
    Recalled,
}

/// All events, in the order in which they are counted.
const EVENTS: [&str; 4] = ["granted", "given_back", "reclaimed", "recalled"];

/// What a sidecar has in hand at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Leases that are drawn from.
    pub leases: u64,
    /// Leases that are out of hand, and not given back yet.
    pub returning: u64,
    /// What is left of the leases in hand.
    pub leased_credits: u64,
    /// Reservations that were opened from leases, and are not settled.
    pub open_reservations: u64,
}

/// What is asked of the store in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreCall {
    /// A transaction that only looks.
    Read,
    /// A transaction that may write.
    Write,
    /// Several transactions of one team together.
    Several,
}

/// All kinds of calls, in the order in which they are counted.
const CALLS: [&str; 3] = ["read", "write", "several"];

#[derive(Debug, Default)]
struct StoreMetrics {
    took: [Durations; CALLS.len()],
    unavailable: Count,
    overloaded: Count,
    fault: Count,
}

/// Looks at what is in hand.
struct Look(Box<dyn Fn() -> Holdings + Send + Sync>);

impl GateMetrics {
    /// Nothing was counted yet. At most so many teams are told apart.
    pub fn new(teams_apart: u32) -> Self {
        let teams = TeamMetrics::apart(usize::try_from(teams_apart).unwrap_or(usize::MAX));
        Self { teams, ..Self::default() }
    }

    /// Credits were reserved for a call.
    pub fn proceeds(&self, team: &Id, basis: Basis, credits: i64) {
        self.teams.count(team, |counts| {
            counts.proceeds[basis as usize].one();
            counts.reserved.add(credits);
        });
    }

    /// A call was answered with the reservation that an earlier one had made.
    pub fn replays(&self, team: &Id, basis: Basis) {
        self.teams.count(team, |counts| counts.replays[basis as usize].one());
    }

    /// A call has to wait.
    pub fn suspends(&self, team: &Id, reason: Reason) {
        self.teams.count(team, |counts| counts.suspends[reason as usize].one());
    }

    /// A run is current, by this call or, if that is a repeat, by an earlier one.
    pub fn run_proceeds(&self, team: &Id, replayed: bool) {
        self.teams.count(team, |counts| if replayed { &counts.runs_replayed } else { &counts.runs_begun }.one());
    }

    /// A run has to wait.
    pub fn run_suspends(&self, team: &Id, reason: Reason) {
        self.teams.count(team, |counts| counts.runs_suspended[reason as usize].one());
    }

    /// A reservation was committed.
    pub fn committed(&self, team: &Id, committed: Committed) {
        self.teams.count(team, |counts| {
            counts.committed.add(committed.credits);
            counts.run_completion.add(committed.run_completion);
            counts.above_hold.add(committed.above_hold);
        });
        self.blocks.add(committed.blocks);
    }

    /// So many credits were released by their caller.
    pub fn released(&self, team: &Id, credits: i64) {
        self.teams.count(team, |counts| counts.released.add(credits));
    }

    /// So many credits came back as their hold had run out.
    pub fn expired(&self, team: &Id, credits: i64) {
        self.teams.count(team, |counts| counts.expired.add(credits));
    }

    /// The store was asked, and answered or failed after so long.
    pub fn store_asked(&self, call: StoreCall, took_ns: i64) {
        self.store.took[call as usize].took(took_ns);
    }

    /// The store failed.
    pub fn store_failed(&self, error: &StoreError) {
        match error {
            StoreError::Unavailable { .. } => self.store.unavailable.one(),
            StoreError::Overloaded => self.store.overloaded.one(),
            StoreError::Fault { .. } => self.store.fault.one(),
        }
    }

    /// A team was looked for in memory.
    pub fn looked_up(&self, found: bool) {
        if found { self.found.one() } else { self.not_found.one() }
    }

    /// A team was read from the store.
    pub fn refreshed(&self) {
        self.refreshes.one();
    }

    /// What was believed was not so, and a call is decided anew.
    pub fn stale_round(&self) {
        self.stale_rounds.one();
    }

    /// The store's clock and ours jumped apart.
    pub fn time_jumped(&self) {
        self.time_jumps.one();
    }

    /// Something became of so many leases.
    pub fn leases(&self, event: LeaseEvent, leases: usize) {
        self.leases[event as usize].add(i64::try_from(leases).unwrap_or(i64::MAX));
    }

    /// From now on this is how to look at what is in hand. Only the first of them counts.
    pub fn look_by(&self, look: impl Fn() -> Holdings + Send + Sync + 'static) {
        // Another one would be that of another gate, which nobody makes.
        let _ = self.look.set(Look(Box::new(look)));
    }

    fn families(&self) -> Vec<Family> {
        let [decisions, credits] = self.teams.families();
        let mut blocks = Family::counter(
            "tollgate_overage_blocks_charged_total",
            "Overage blocks that commits of this sidecar bought, to be invoiced.",
        );
        blocks.count(&[], &self.blocks);
        let mut lookups =
            Family::counter("tollgate_cache_lookups_total", "How often a team was looked for in memory, by result.");
        lookups.count(&[("result", "hit")], &self.found);
        lookups.count(&[("result", "miss")], &self.not_found);
        let mut refreshes =
            Family::counter("tollgate_cache_refreshes_total", "How often a team was read from the store by itself.");
        refreshes.count(&[], &self.refreshes);
        let mut stale = Family::counter(
            "tollgate_stale_rounds_total",
            "How often the store found what was believed not to be so, and a call was decided anew.",
        );
        stale.count(&[], &self.stale_rounds);
        let mut jumps = Family::counter(
            "tollgate_store_time_jumps_total",
            "How often the store's clock and this machine's were seen to jump apart by more than a second.",
        );
        jumps.count(&[], &self.time_jumps);
        let mut events = Family::counter(
            "tollgate_leases_total",
            "Leases that this sidecar was granted, gave back, reclaimed from one that is gone, or had called back.",
        );
        for (event, count) in EVENTS.iter().zip(&self.leases) {
            events.count(&[("event", event)], count);
        }
        let mut all = vec![decisions, credits, blocks, lookups, refreshes, stale, jumps, events];
        all.extend(self.store.families());
        all.extend(self.holdings());
        all
    }

    fn holdings(&self) -> [Family; 3] {
        let Holdings { leases, returning, leased_credits, open_reservations } =
            self.look.get().map(|Look(look)| look()).unwrap_or_default();
        let mut states =
            Family::gauge("tollgate_leases", "Leases in hand, and those out of hand and not given back yet.");
        states.level(&[("state", "in_hand")], leases);
        states.level(&[("state", "returning")], returning);
        let mut credits = Family::gauge("tollgate_leased_credits", "What is left to draw of the leases in hand.");
        credits.level(&[], leased_credits);
        let mut open = Family::gauge(
            "tollgate_open_reservations",
            "Reservations that this sidecar opened from leases, and that are not settled.",
        );
        open.level(&[], open_reservations);
        [states, credits, open]
    }
}

impl StoreMetrics {
    fn families(&self) -> [Family; 2] {
        let mut took = Family::histogram("tollgate_store_duration_seconds", "How long calls to the store took.");
        for (call, durations) in CALLS.iter().zip(&self.took) {
            took.durations(&[("call", call)], durations);
        }
        let mut errors =
            Family::counter("tollgate_store_errors_total", "Transactions that the store gave no answer to.");
        for (kind, count) in
            [("unavailable", &self.unavailable), ("overloaded", &self.overloaded), ("fault", &self.fault)]
        {
            errors.count(&[("kind", kind)], count);
        }
        [took, errors]
    }
}

impl StoreCall {
    /// Its name in metrics and traces.
    pub fn name(self) -> &'static str {
        CALLS[self as usize]
    }

    /// What kind of call a transaction makes.
    pub fn of(transaction: &Transaction) -> Self {
        if transaction.options.is_empty() { Self::Read } else { Self::Write }
    }
}

/// Tells what a gate counted, to whoever gathers it.
#[derive(Debug)]
pub(super) struct GateCollector(pub(super) std::sync::Arc<GateMetrics>);

impl Collector for GateCollector {
    fn desc(&self) -> Vec<&Desc> {
        // Descriptions are there to find names that are used twice, which the tests do.
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.0.families().into_iter().map(MetricFamily::from).collect()
    }
}

impl fmt::Debug for Look {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Look")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metrics::Metrics, store::StoreLocation};

    #[test]
    fn each_failure_of_the_store_and_each_event_of_a_lease_has_a_line_of_its_own() {
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
