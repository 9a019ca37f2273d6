//! Runs that this sidecar has seen: whether one is current, as far as is known here. Bounded; the store tells what is so.

use quick_cache::{Equivalent, sync::Cache};

use crate::domain::{id::Id, policy::Policy, reservation::Content};

/// How many are remembered; one takes some two hundred bytes.
const MAX_RUNS: usize = 65_536;

/// What is remembered of runs, by team and id.
#[derive(Debug)]
pub struct KnownRuns {
    runs: Cache<(Id, Id), KnownRun>,
}

/// What is known of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRun {
    /// The flow that it executes.
    pub flow: Id,
    /// When it was seen first, by the sidecar's clock, in milliseconds, less how old it was then.
    pub started_ms: i64,
    /// It has ended.
    pub has_ended: bool,
    /// The store has a record of it.
    pub is_recorded: bool,
}

/// What is known of the run of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStatus {
    /// The call belongs to none.
    None,
    /// It is current.
    Current,
    /// Nobody here has seen it.
    Unknown,
    /// It has ended.
    Ended,
    /// It is of another flow.
    OfAnotherFlow,
    /// It may be over its greatest age.
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
    /// What is known of a call's run, at a time of the sidecar's clock.
    pub fn status(&self, team: &Id, content: &Content, at_ms: i64, policy: &Policy) -> RunStatus {
        let Some(run) = content.run_of_trigger() else { return RunStatus::None };
        let Some(known) = self.runs.get(&RunKey(team, run)) else { return RunStatus::Unknown };
        if at_ms - known.started_ms >= policy.run_max_age_ms {
            // The store may have forgotten it, so that its id is free for another run.
            RunStatus::TooOld
        } else if known.flow != content.flow {
            RunStatus::OfAnotherFlow
        } else if known.has_ended {
            RunStatus::Ended
        } else {
            RunStatus::Current
        }
    }

    /// Remembers what a run is like now.
    pub fn remember(&self, team: &Id, run: &Id, known: KnownRun) {
        self.runs.insert((team.clone(), run.clone()), known);
    }

    /// A run that the store may have no record of yet.
    pub fn find_unrecorded(&self, team: &Id, run: &Id) -> Option<KnownRun> {
        self.runs.get(&RunKey(team, run)).filter(|known| !known.is_recorded)
    }
}
