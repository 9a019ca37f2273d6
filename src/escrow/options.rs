//! Settings of the escrow: for which stores and teams leases are taken, and how large they are.

use crate::domain::lease::{LeaseTerms, MAX_LEASE_HOLD_MS};

/// Whether and how calls are answered from leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EscrowOptions {
    /// For which kinds of store leases are taken.
    pub mode: EscrowMode,
    /// How long a lease can be drawn from, and how long a hold drawn from it can last.
    pub terms: LeaseTerms,
    /// Maximum size of one lease, in credits.
    pub max_lease_credits: i64,
    /// When a lease is taken for a team.
    pub policy: LeasePolicy,
}

/// For which kinds of store leases are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EscrowMode {
    /// For none. Every call is written through.
    Off,
    /// For stores outside this process. The memory store answers as fast as a lease does, and the embedded store
    /// promises that every answered reservation is on disk.
    Auto,
    /// For every kind of store.
    On,
}

/// When a lease is taken for a team, and how large it is. The defaults suit production.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeasePolicy {
    /// Whether leases are only taken for teams that call often enough for a lease to save store calls.
    pub only_busy_teams: bool,
    /// Minimum size of a lease, in calls at the price of the call that needs it. No smaller lease is granted.
    pub min_calls: i64,
    /// Minimum size that is requested, in calls at the price of the call that needs it. More is requested if the team's
    /// demand is higher.
    pub usual_calls: i64,
    /// Whether a call that no held lease covers waits for a new lease. If `false`, that call is written through, and new
    /// leases are taken in the background before the held ones run out.
    pub wait_for_lease: bool,
    /// Pause after a request for a lease was refused, in milliseconds. Until it is over, the team's calls are written
    /// through.
    pub retry_pause_ms: i64,
}

impl Default for EscrowOptions {
    fn default() -> Self {
        Self {
            mode: EscrowMode::Auto,
            terms: LeaseTerms { term_ms: 30_000, hold_ms: MAX_LEASE_HOLD_MS },
            max_lease_credits: 10_000,
            policy: LeasePolicy::default(),
        }
    }
}

impl Default for LeasePolicy {
    fn default() -> Self {
        Self { only_busy_teams: true, min_calls: 8, usual_calls: 8, wait_for_lease: false, retry_pause_ms: 250 }
    }
}
