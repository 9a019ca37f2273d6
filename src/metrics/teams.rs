//! Counters of decisions and credits, for all teams together or with a `team` label.
//!
//! The setting `metrics_teams` limits how many teams get a label of their own. The first teams that this sidecar decides for get
//! one; all others share the label `other`. Creating teams therefore cannot create series without limit.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use prometheus::{IntCounter, IntCounterVec, Registry, register_int_counter_vec_with_registry};

use crate::domain::{id::Id, reservation::Basis, suspension::Reason};

/// Every basis, at the index of its enum value.
const BASES: [Basis; 3] = [Basis::Allotment, Basis::Overage, Basis::RunCompletion];

/// Every reason, at the index of its enum value.
const REASONS: [Reason; 4] =
    [Reason::LimitReached, Reason::BlocksStopped, Reason::RunCeilingReached, Reason::OverageCapReached];

const LABEL: &str = "team";

/// The label of all teams that have none of their own.
const OTHER: &str = "other";

/// Handles to the counters of one team, or of several teams together.
#[derive(Debug)]
pub(super) struct TeamCounters {
    /// Reservations made, by basis.
    pub(super) proceeds: [IntCounter; BASES.len()],
    /// Calls answered with the reservation of an earlier call, by basis.
    pub(super) replays: [IntCounter; BASES.len()],
    /// Calls suspended, by reason.
    pub(super) suspends: [IntCounter; REASONS.len()],
    pub(super) runs_begun: IntCounter,
    pub(super) runs_replayed: IntCounter,
    pub(super) runs_suspended: [IntCounter; REASONS.len()],
    pub(super) reserved: IntCounter,
    pub(super) committed: IntCounter,
    pub(super) released: IntCounter,
    pub(super) expired: IntCounter,
    pub(super) run_completion: IntCounter,
    pub(super) above_hold: IntCounter,
}

/// The counters of all teams.
#[derive(Debug)]
pub(super) struct TeamMetrics {
    /// Maximum number of teams with a label of their own.
    max_teams: usize,
    families: Families,
    labelled: RwLock<HashMap<Id, Arc<TeamCounters>>>,
    /// The counters of all teams without a label of their own.
    other: TeamCounters,
}

/// The two metric families that the counters belong to.
#[derive(Debug)]
struct Families {
    decisions: IntCounterVec,
    credits: IntCounterVec,
}

impl TeamMetrics {
    /// Registers the families. They have the label `team` only if `max_teams` is above 0.
    pub(super) fn new(registry: &Registry, max_teams: usize) -> Result<Self, prometheus::Error> {
        // The library finds a series by its label values without separators between them. No two combinations of these values
        // read the same, because the team, the only value that callers choose, comes last.
        let team_label = (max_teams > 0).then_some(LABEL);
        let with_team = |labels: &[&'static str]| labels.iter().copied().chain(team_label).collect::<Vec<_>>();
        let families = Families {
            decisions: register_int_counter_vec_with_registry!(
                "tollgate_decisions_total",
                "Answers to CheckAndReserve and BeginRun, by outcome. Dry runs do not count.",
                &with_team(&["rpc", "outcome", "reason", "basis"]),
                registry
            )?,
            credits: register_int_counter_vec_with_registry!(
                "tollgate_credits_total",
                "Credits by what this sidecar did with them. run_completion and above_hold are parts of committed.",
                &with_team(&["kind"]),
                registry
            )?,
        };
        let other = families.counters(team_label.map(|_| OTHER));
        Ok(Self { max_teams, families, labelled: RwLock::default(), other })
    }

    /// Counts something for a team.
    pub(super) fn count(&self, team: &Id, count: impl FnOnce(&TeamCounters)) {
        // A team with the id `other` shares the series of that name.
        if self.max_teams == 0 || team.as_str() == OTHER {
            return count(&self.other);
        }
        let labelled = self.labelled.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counters) = labelled.get(team) {
            return count(counters);
        }
        if labelled.len() >= self.max_teams {
            return count(&self.other);
        }
        drop(labelled);
        let mut labelled = self.labelled.write().unwrap_or_else(PoisonError::into_inner);
        // Another call may have added teams between the two locks.
        if labelled.len() < self.max_teams || labelled.contains_key(team) {
            let new = || Arc::new(self.families.counters(Some(team.as_str())));
            count(labelled.entry(team.clone()).or_insert_with(new));
        } else {
            count(&self.other);
        }
    }
}

impl Families {
    /// Resolves the handles of one team. Every series exists from then on, with the value 0.
    fn counters(&self, team: Option<&str>) -> TeamCounters {
        // `with_label_values` panics only if the number of values is not the number of labels, which is fixed here.
        let decision = |rpc: &str, outcome: &str, reason: &str, basis: &str| {
            let labels: Vec<_> = [rpc, outcome, reason, basis].into_iter().chain(team).collect();
            self.decisions.with_label_values(&labels)
        };
        let credits = |kind: &str| {
            let labels: Vec<_> = [kind].into_iter().chain(team).collect();
            self.credits.with_label_values(&labels)
        };
        TeamCounters {
            proceeds: BASES.map(|basis| decision("CheckAndReserve", "proceed", "", basis.name())),
            replays: BASES.map(|basis| decision("CheckAndReserve", "replay", "", basis.name())),
            suspends: REASONS.map(|reason| decision("CheckAndReserve", "suspend", reason.name(), "")),
            runs_begun: decision("BeginRun", "proceed", "", ""),
            runs_replayed: decision("BeginRun", "replay", "", ""),
            runs_suspended: REASONS.map(|reason| decision("BeginRun", "suspend", reason.name(), "")),
            reserved: credits("reserved"),
            committed: credits("committed"),
            released: credits("released"),
            expired: credits("expired"),
            run_completion: credits("run_completion"),
            above_hold: credits("above_hold"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserve_one(teams: &TeamMetrics, name: &str) {
        teams.count(&Id::parse(name).unwrap(), |counters| counters.reserved.inc());
    }

    #[test]
    fn bases_and_reasons_are_at_their_enum_index() {
        assert!(BASES.iter().enumerate().all(|(place, basis)| *basis as usize == place));
        assert!(REASONS.iter().enumerate().all(|(place, reason)| *reason as usize == place));
    }

    #[test]
    fn a_team_with_the_id_other_gets_no_label() {
        let teams = TeamMetrics::new(&Registry::new(), 1).unwrap();
        for name in [OTHER, "a", "b"] {
            reserve_one(&teams, name);
        }
        let labelled = teams.labelled.read().unwrap();
        assert_eq!(labelled.keys().map(Id::as_str).collect::<Vec<_>>(), ["a"]);
        assert_eq!(teams.other.reserved.get(), 2);
    }

    #[test]
    fn only_the_first_teams_get_labels() {
        let teams = TeamMetrics::new(&Registry::new(), 2).unwrap();
        for name in ["a", "b", "c", "a", "d", "b"] {
            reserve_one(&teams, name);
        }
        let labelled = teams.labelled.read().unwrap();
        let mut counted: Vec<_> =
            labelled.iter().map(|(team, counters)| (team.as_str(), counters.reserved.get())).collect();
        counted.sort_unstable();
        assert_eq!((counted, teams.other.reserved.get()), (vec![("a", 2), ("b", 2)], 2));
    }
}
