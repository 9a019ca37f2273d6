//! What the executors were answered, and whether enough has happened for the test to be meaningful.

use std::{collections::BTreeMap, fmt};

use super::ledger::Commits;

/// What the executors were answered.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Credits of each commit, by team and reservation.
    pub(super) commits: Commits,
    pub(super) released: u64,
    pub(super) abandoned: u64,
    pub(super) extended: u64,
    pub(super) ended_runs: u64,
    /// Number of suspended calls, by team.
    pub(super) suspended: BTreeMap<&'static str, u64>,
    /// Number of calls with an unknown outcome, which were repeated.
    pub(super) unknown: u64,
    /// Number of reservations from leases, by team.
    pub(super) leased: BTreeMap<&'static str, u64>,
    /// Number of commits of reservations from leases that another sidecar answered, and of those whose granting sidecar
    /// had been killed by then.
    pub(super) elsewhere: u64,
    pub(super) after_kill: u64,
    /// Number of commits after their hold had run out.
    pub(super) late: u64,
}

impl Answers {
    /// Returns whether enough has happened: teams near their limit had leases too, other sidecars settled what was
    /// drawn from them, and some did so after the granting sidecar was killed.
    pub(super) fn are_sufficient(&self) -> bool {
        let leased = |team: &str| self.leased.get(team).copied().unwrap_or_default();
        let suspended = |team: &str| self.suspended.get(team).copied().unwrap_or_default();
        leased("hot") >= 200
            && ["near", "blocks"].into_iter().all(|team| leased(team) >= 30)
            && self.elsewhere >= 100
            && self.after_kill >= 20
            && ["near", "seat"].into_iter().all(|team| suspended(team) >= 10)
            && [self.late, self.released, self.extended, self.abandoned, self.ended_runs]
                .into_iter()
                .all(|times| times > 0)
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { commits, released, abandoned, extended, ended_runs, suspended, unknown, leased, .. } = self;
        let Self { elsewhere, after_kill, late, .. } = self;
        writeln!(
            out,
            "{} commits ({late} late; from leases: {elsewhere} at another sidecar, {after_kill} after the granting sidecar was killed)",
            commits.len()
        )?;
        writeln!(out, "proceeds from leases: {leased:?}; suspended: {suspended:?}")?;
        write!(
            out,
            "{released} released, {extended} extended, {abandoned} abandoned, {ended_runs} runs ended, {unknown} calls of unknown \
             outcome"
        )
    }
}
