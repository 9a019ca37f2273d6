//! Runs that this sidecar has seen, so that it can tell whether a run is current without asking the store. The number
//! is bounded, and the store decides in doubt.

use quick_cache::{Equivalent, sync::Cache};

use crate::domain::{id::Id, policy::Policy, reservation::Content};

/// Maximum number of runs. Each takes about 200 bytes.
const MAX_RUNS: usize = 65_536;

/// The known runs, by team and ID.
#[derive(Debug)]
pub struct KnownRuns {
    runs: Cache<(Id, Id), KnownRun>,
}

/// What is known about a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRun {
    /// The flow that it executes.
    pub flow: Id,
    /// When it began, by the sidecar's clock in milliseconds: the time it was first seen, less its age at that time.
    pub started_ms: i64,
    /// Whether it has ended.
    pub has_ended: bool,
    /// Whether the store has a record of it.
    pub is_recorded: bool,
}

/// What is known about the run of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStatus {
    /// The call belongs to no run.
    None,
    /// The run is current.
    Current,
    /// This sidecar has not seen the run.
    Unknown,
    /// The run has ended.
    Ended,
    /// The run belongs to another flow.
    OfAnotherFlow,
    /// The run may be past its maximum age.
    TooOld,
}

#[derive(Hash)]
struct RunKey<'a>(&'a Id, &'a Id);

impl Equivalent<(Id, Id)> for RunKey<'_> {
    fn equivalent(&self, key: &(Id, Id)) -> bool {
        *self.0 == key.0 && *self.1 == key.1
    }
}

impl Default for KnownRuns {
    fn default() -> Self {
        Self { runs: Cache::new(MAX_RUNS) }
    }
}

impl KnownRuns {
    /// Returns what is known about a call's run, at a time of the sidecar's clock.
    pub fn status(&self, team: &Id, content: &Content, at_ms: i64, policy: &Policy) -> RunStatus {
        let Some(run) = content.run_of_trigger() else { return RunStatus::None };
        let Some(known) = self.runs.get(&RunKey(team, run)) else { return RunStatus::Unknown };
        if at_ms - known.started_ms >= policy.run_max_age_ms {
            // The store may have forgotten the run, so that its ID is free for another one.
            RunStatus::TooOld
        } else if known.flow != content.flow {
            RunStatus::OfAnotherFlow
        } else if known.has_ended {
            RunStatus::Ended
        } else {
            RunStatus::Current
        }
    }

    /// Stores what is known about a run.
    pub fn remember(&self, team: &Id, run: &Id, known: KnownRun) {
        self.runs.insert((team.clone(), run.clone()), known);
    }

    /// Returns a run that the store may have no record of yet.
    pub fn find_unrecorded(&self, team: &Id, run: &Id) -> Option<KnownRun> {
        self.runs.get(&RunKey(team, run)).filter(|known| !known.is_recorded)
    }
}
