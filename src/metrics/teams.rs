//! What is decided and charged: of all teams together, unless the operator wants some of them told apart.
//!
//! Only so many teams have lines of their own as was said, those that are seen first; all others share one. So whoever makes teams
//! cannot make lines.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use super::{count::Count, family::Family};
use crate::domain::{id::Id, reservation::Basis, suspension::Reason};

/// All bases, in the order in which they are counted.
const BASES: [Basis; 3] = [Basis::Allotment, Basis::Overage, Basis::RunCompletion];

/// All reasons, the same.
const REASONS: [Reason; 4] =
    [Reason::LimitReached, Reason::BlocksStopped, Reason::RunCeilingReached, Reason::OverageCapReached];

const LABEL: &str = "team";

/// What the teams are called that have no lines of their own.
const OTHER: &str = "other";

/// What became of the decisions and the credits of one team, or of several together.
#[derive(Debug, Default)]
pub(super) struct TeamCounts {
    /// Reservations that were made, by basis.
    pub(super) proceeds: [Count; BASES.len()],
    /// The same of those that an earlier call had made.
    pub(super) replays: [Count; BASES.len()],
    /// Reservations that have to wait, by reason.
    pub(super) suspends: [Count; REASONS.len()],
    pub(super) runs_begun: Count,
    pub(super) runs_replayed: Count,
    pub(super) runs_suspended: [Count; REASONS.len()],
    pub(super) reserved: Count,
    pub(super) committed: Count,
    pub(super) released: Count,
    pub(super) expired: Count,
    pub(super) run_completion: Count,
    pub(super) above_hold: Count,
}

/// The counts of all teams.
#[derive(Debug, Default)]
pub(super) struct TeamMetrics {
    /// So many are told apart at most.
    apart: usize,
    known: RwLock<HashMap<Id, Arc<TeamCounts>>>,
    /// Those of all others.
    rest: TeamCounts,
}

impl TeamMetrics {
    /// Nothing was counted yet; so many teams are told apart.
    pub(super) fn apart(apart: usize) -> Self {
        Self { apart, ..Self::default() }
    }

    /// Counts something of a team.
    pub(super) fn count(&self, team: &Id, count: impl FnOnce(&TeamCounts)) {
        // A team may be called as the rest is; a name is told once.
        if self.apart == 0 || team.as_str() == OTHER {
            return count(&self.rest);
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_team) = known.get(team) {
            return count(of_team);
        }
        if known.len() >= self.apart {
            return count(&self.rest);
        }
        drop(known);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // Meanwhile others may have come.
        if known.len() < self.apart || known.contains_key(team) {
            count(known.entry(team.clone()).or_default());
        } else {
            count(&self.rest);
        }
    }

    /// What there is to tell.
    pub(super) fn families(&self) -> [Family; 2] {
        let mut decisions = Family::counter(
            "tollgate_decisions_total",
            "Answers to CheckAndReserve and BeginRun: proceed, suspend, or replay of an earlier one. Dry runs are not counted.",
        );
        let mut credits = Family::counter(
            "tollgate_credits_total",
            "Credits that this sidecar reserved, committed, released or expired; run_completion and above_hold are parts of committed.",
        );
        if self.apart == 0 {
            self.rest.tell(&mut decisions, &mut credits, None);
        } else {
            self.rest.tell(&mut decisions, &mut credits, Some(OTHER));
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            for (team, counts) in known.iter() {
                counts.tell(&mut decisions, &mut credits, Some(team.as_str()));
            }
        }
        [decisions, credits]
    }
}

impl TeamCounts {
    fn tell(&self, decisions: &mut Family, credits: &mut Family, team: Option<&str>) {
        let mut decided = |rpc: &str, outcome: &str, reason: &str, basis: &str, count: &Count| {
            let labels = [("rpc", rpc), ("outcome", outcome), ("reason", reason), ("basis", basis)];
            decisions.count(&with_team(&labels, team), count);
        };
        for (basis, (proceeds, replays)) in BASES.iter().zip(self.proceeds.iter().zip(&self.replays)) {
            decided("CheckAndReserve", "proceed", "", basis.name(), proceeds);
            decided("CheckAndReserve", "replay", "", basis.name(), replays);
        }
        decided("BeginRun", "proceed", "", "", &self.runs_begun);
        decided("BeginRun", "replay", "", "", &self.runs_replayed);
        for (reason, (calls, runs)) in REASONS.iter().zip(self.suspends.iter().zip(&self.runs_suspended)) {
            decided("CheckAndReserve", "suspend", reason.name(), "", calls);
            decided("BeginRun", "suspend", reason.name(), "", runs);
        }
        for (kind, count) in [
            ("reserved", &self.reserved),
            ("committed", &self.committed),
            ("released", &self.released),
            ("expired", &self.expired),
            ("run_completion", &self.run_completion),
            ("above_hold", &self.above_hold),
        ] {
            credits.count(&with_team(&[("kind", kind)], team), count);
        }
    }
}

fn with_team<'a>(labels: &[(&'static str, &'a str)], team: Option<&'a str>) -> Vec<(&'static str, &'a str)> {
    labels.iter().copied().chain(team.map(|team| (LABEL, team))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_basis_and_each_reason_has_the_place_that_it_is_counted_in() {
        assert!(BASES.iter().enumerate().all(|(place, basis)| *basis as usize == place));
        assert!(REASONS.iter().enumerate().all(|(place, reason)| *reason as usize == place));
    }

    #[test]
    fn a_team_that_is_called_like_all_others_is_counted_among_them_and_takes_no_place() {
        let teams = TeamMetrics::apart(1);
        for name in [OTHER, "a", "b"] {
            teams.count(&Id::parse(name).unwrap(), |counts| counts.reserved.one());
        }
        let known = teams.known.read().unwrap();
        assert_eq!(known.keys().map(Id::as_str).collect::<Vec<_>>(), ["a"]);
        assert_eq!(teams.rest.reserved.now(), 2);
    }

    #[test]
    fn the_teams_that_are_seen_first_are_told_apart_and_never_more_of_them() {
        let teams = TeamMetrics::apart(2);
        for name in ["a", "b", "c", "a", "d", "b"] {
            teams.count(&Id::parse(name).unwrap(), |counts| counts.reserved.one());
        }
        let known = teams.known.read().unwrap();
        let mut counted: Vec<_> = known.iter().map(|(team, counts)| (team.as_str(), counts.reserved.now())).collect();
        counted.sort_unstable();
        assert_eq!((counted, teams.rest.reserved.now()), (vec![("a", 2), ("b", 2)], 2));
    }
}
