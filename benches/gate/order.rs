//! What the conductor asks of the load client and how it is answered: a line of JSON each way.

use std::ops::Range;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The team whose calls are suspended, by a sidecar and by the floor.
pub(crate) const SUSPENDED_TEAM: &str = "suspended";

/// What the load client is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Makes the suspended team, and those of these numbers, which have credits for ever.
    MakeTeams { admin: String, numbers: Range<u32> },
    /// Makes calls, and measures them.
    Load(Load),
    /// Asks sidecars for all that a team has.
    Drain(Drain),
    /// What a team's used, held and leased credits come to, by the store.
    Books { admin: String, team: String },
}

/// A team to be drained.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Drain {
    /// Where the team is made.
    pub(crate) admin: String,
    /// The sidecars that its executors ask.
    pub(crate) addresses: Vec<String>,
    /// How many executors ask each of them.
    pub(crate) at_once: u32,
    /// What it has.
    pub(crate) credits: i64,
}

/// Calls to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Where.
    pub(crate) address: String,
    /// How many wait for an answer at any time.
    pub(crate) at_once: u32,
    pub(crate) work: Work,
    pub(crate) teams: Teams,
    pub(crate) until: Until,
}

/// One operation, which is one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    /// A CheckAndReserve that proceeds.
    Reserve,
    /// The same, and a Commit after it.
    ReserveAndCommit,
    /// The same, of which only the CheckAndReserve is timed.
    ReserveBeforeCommit,
    /// A CheckAndReserve that is suspended.
    Suspend,
    /// A CheckAndReserve in a run of its own, so that no run goes on past the limit.
    Drain,
}

impl Work {
    /// Whether a reservation is settled.
    pub(crate) fn commits(self) -> bool {
        matches!(self, Self::ReserveAndCommit | Self::ReserveBeforeCommit)
    }
}

/// Whose calls they are. Teams are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Teams {
    /// Those of one team.
    One,
    /// Those of so many teams, the n-th of which calls 1/n as often as the first (Zipf's law, exponent 1).
    Zipf(u32),
    /// Those of so many teams, one after the other.
    InTurn(u32),
}

impl Teams {
    /// How many there are.
    pub(crate) fn count(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Zipf(count) | Self::InTurn(count) => count,
        }
    }
}

/// When to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Until {
    /// After so long; what begins in the warm-up does not count.
    Elapsed { warm_up_ms: u32, measure_ms: u32 },
    /// After so long; what begins until then counts, however long it takes.
    Begun { measure_ms: u32 },
    /// After so many operations.
    Done { operations: u32 },
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Everything was done.
    Done,
    /// Calls were made.
    Measured(Measured),
    /// A team was drained.
    Drained(Drained),
    /// So many credits.
    Credits(i64),
    /// It could not be done.
    Failed(String),
}

/// What was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) operations: u64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p99_9_us: f64,
    /// What the client took of the machine meanwhile, in cores.
    pub(crate) client_cores: f64,
    /// What was reserved, also by operations that do not count because they began in the warm-up or ended too late.
    pub(crate) credits: i64,
    /// Operations that had another answer than they should; they are in no other figure.
    pub(crate) failed: u64,
    /// What one of them was answered.
    pub(crate) failure: Option<String>,
}

/// What was reserved of a team's last credits.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Drained {
    /// By calls that were answered before the first Suspend was.
    pub(crate) answered_before: i64,
    /// By calls that had begun by then.
    pub(crate) begun_before: i64,
    /// By calls that began later.
    pub(crate) begun_after: i64,
    pub(crate) seconds: f64,
    pub(crate) failed: u64,
    pub(crate) failure: Option<String>,
}

impl Measured {
    /// What these latencies come to, of operations that were all answered as they should be.
    pub(crate) fn of(latencies_ns: &Histogram<u64>, elapsed_ns: i64) -> Self {
        let quantile_us = |quantile| latencies_ns.value_at_quantile(quantile) as f64 / 1_000.0;
        Self {
            operations: latencies_ns.len(),
            per_second: latencies_ns.len() as f64 * 1e9 / elapsed_ns as f64,
            p50_us: quantile_us(0.5),
            p99_us: quantile_us(0.99),
            p99_9_us: quantile_us(0.999),
            client_cores: 0.0,
            credits: 0,
            failed: 0,
            failure: None,
        }
    }
}

/// The name of a team.
pub(crate) fn team_name(number: u32) -> String {
    format!("team-{number:06}")
}
