//! What the gate asks of the escrow, and what it is answered.

use std::sync::Arc;

use crate::domain::{
    id::Id,
    lease::Draw,
    reservation::{Content, Reservation, ReservationTerms},
};

/// A call that may be answered from a lease.
#[derive(Debug)]
pub struct EscrowRequest<'a> {
    /// The team.
    pub team: &'a Id,
    /// ID of the reservation.
    pub reservation: &'a Id,
    /// Whether the client chose the ID, so that the call may be a repeat.
    pub is_named: bool,
    /// What the call asks for.
    pub content: &'a Content,
    /// The price under the assumed terms, and when it is valid.
    pub draw: Draw,
    /// The terms of the reservation. The lease sets their cycle.
    pub terms: ReservationTerms,
    /// How long to hold the credits, in milliseconds.
    pub hold_ms: i64,
    /// Whether to decide only and open nothing.
    pub dry_run: bool,
    /// Whether there is room to record a run that this sidecar has not seen.
    pub may_begin_run: bool,
    /// The time of the sidecar's clock, in milliseconds. It decides the draw and the end of the hold.
    pub at_ms: i64,
}

/// The answer of the escrow to a call.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "the value is matched at once, and its large variant is the common one")]
pub enum EscrowAnswer {
    /// The reservation was opened. In a dry run, it would have been.
    Opened {
        /// The reservation.
        reservation: Reservation,
        /// Its grant.
        grant: Arc<[u8]>,
        /// Whether this sidecar has not seen its run before, so that the run has to be recorded.
        new_run: bool,
    },
    /// A reservation with this ID is open here.
    Exists,
    /// The run has ended.
    RunEnded,
    /// The run ID belongs to a run of another flow.
    RunOfAnotherFlow,
    /// No lease can answer the call. Ask the store.
    AskStore,
}

/// A lease that a team needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// Credits that the team is expected to use in half a lease term.
    pub credits: i64,
    /// Minimum number of credits. A smaller lease is not worth its cost.
    pub min_credits: i64,
    /// Number of the team's open leases at all sidecars, when the last lease was granted.
    pub open_leases: usize,
}
