//! The messages between the conductor and the load client: one line of JSON each.

use std::ops::Range;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The team whose calls a sidecar and the floor suspend.
pub(crate) const SUSPENDED_TEAM: &str = "suspended";

/// What the load client must do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Create the suspended team, and the teams with these numbers, which do not run out of credits.
    MakeTeams { admin: String, numbers: Range<u32> },
    /// Make calls, and measure them.
    Load(Load),
    /// Reserve all credits of a team.
    Drain(Drain),
    /// Read the sum of a team's used, held and leased credits from the store.
    Books { admin: String, team: String },
}

/// A team to drain.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Drain {
    /// Admin listener on which the team is created.
    pub(crate) admin: String,
    /// Data listeners of the sidecars that its executors call.
    pub(crate) addresses: Vec<String>,
    /// Number of executors at each sidecar.
    pub(crate) at_once: u32,
    /// Credits of the team.
    pub(crate) credits: i64,
}

/// Calls to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Data listener.
    pub(crate) address: String,
    /// Number of concurrent calls.
    pub(crate) at_once: u32,
    pub(crate) work: Work,
    pub(crate) teams: Teams,
    pub(crate) until: Until,
}

/// Kind of operation. One operation is one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    /// A CheckAndReserve that proceeds.
    Reserve,
    /// A CheckAndReserve that proceeds, and its Commit.
    ReserveAndCommit,
    /// A CheckAndReserve that proceeds, and its Commit. Only the CheckAndReserve is measured.
    ReserveBeforeCommit,
    /// A CheckAndReserve that is suspended.
    Suspend,
    /// A CheckAndReserve in its own run, so that no run completes past the limit.
    Drain,
}

impl Work {
    /// Whether it commits its reservation.
    pub(crate) fn commits(self) -> bool {
        matches!(self, Self::ReserveAndCommit | Self::ReserveBeforeCommit)
    }
}

/// Which teams call. Teams are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Teams {
    /// One team.
    One,
    /// This many teams. The n-th calls 1/n as often as the first (Zipf's law with exponent 1).
    Zipf(u32),
    /// This many teams, one after the other.
    InTurn(u32),
}

impl Teams {
    /// Returns the number of teams.
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
    /// After this time. Operations that begin in the warm-up or end later are not measured.
    Elapsed { warm_up_ms: u32, measure_ms: u32 },
    /// After this time. Operations that begin before are measured, even if they end later.
    Begun { measure_ms: u32 },
    /// After this many operations.
    Done { operations: u32 },
}

/// Answer to an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The order was executed.
    Done,
    /// Calls were made.
    Measured(Measured),
    /// A team was drained.
    Drained(Drained),
    /// A number of credits.
    Credits(i64),
    /// The order failed.
    Failed(String),
}

/// Result of a measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) operations: u64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p99_9_us: f64,
    /// Processor time of the load client, in cores.
    pub(crate) client_cores: f64,
    /// Credits that were reserved, also by operations that are not measured.
    pub(crate) credits: i64,
    /// Number of operations with an unexpected answer, which are in no other figure.
    pub(crate) failed: u64,
    /// Answer of one of them.
    pub(crate) failure: Option<String>,
}

/// Credits that were reserved while a team was drained.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Drained {
    /// Credits of calls that were answered before the first Suspend.
    pub(crate) answered_before: i64,
    /// Credits of calls that began before the first Suspend.
    pub(crate) begun_before: i64,
    /// Credits of calls that began later.
    pub(crate) begun_after: i64,
    pub(crate) seconds: f64,
    pub(crate) failed: u64,
    pub(crate) failure: Option<String>,
}

impl Measured {
    /// Returns the result for these latencies, without failures.
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

/// Returns the id of a team.
pub(crate) fn team_name(number: u32) -> String {
    format!("team-{number:06}")
}
