//! The attempts of one call: what keeps its transaction from being applied, and how often the call tries to remove
//! that.
//!
//! A call builds a transaction from what this sidecar assumes, and the store applies it, finds an assumption to be
//! wrong, or refuses. Before a refusal stands, holds that have run out are expired, and leases are called back.
//! [`super::obstacles`] removes such an obstacle, and the call tries again, up to a limit for each kind.

use super::error::GateError;
use crate::{
    domain::{hold::Hold, id::Id, lease::OpenLeases, reservation::Reservation},
    metrics::GateMetrics,
};

/// Maximum number of attempts of one call whose assumptions turned out to be wrong. Then the call fails with
/// UNAVAILABLE; it is never suspended for this reason.
const MAX_STALE_ROUNDS: u32 = 8;

/// Maximum number of pages of due holds that one call expires.
const MAX_EXPIRY_ROUNDS: u32 = 64;

/// How often one call has tried.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    stale_rounds: u32,
    expiry_rounds: u32,
    has_recalled: bool,
}

/// What keeps the transaction of a call from being applied.
#[derive(Debug)]
pub(crate) enum Obstacle {
    /// An assumption was wrong. The reply has corrected it.
    Stale,
    /// The id belongs to a reservation whose retention is over. Its record has to be removed first.
    Forgotten(Id, Reservation),
    /// Some of these holds have run out, and their credits have not come back yet. The time is the store's, in Unix
    /// milliseconds.
    DueHolds(Vec<Hold>, i64),
    /// Credits are leased, and some of them may never be drawn.
    Leases,
}

/// The result of one attempt.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "it is taken apart at once, and the large one is the common one")]
pub(crate) enum Round<T> {
    /// The call has its answer.
    Done(T),
    /// The call can try again once this is removed.
    Blocked(Obstacle),
}

impl Attempts {
    /// Returns whether an assumption of this call was wrong before.
    pub(crate) fn any_stale(&self) -> bool {
        self.stale_rounds > 0
    }

    /// Returns whether the call may still call leases back. It does so once.
    pub(crate) fn may_recall(&self) -> bool {
        !self.has_recalled
    }

    /// Returns what can be removed before a refusal stands: the open holds and the open leases are as the refusing
    /// reply shows them, which was given at `now_ms` of the store, in Unix milliseconds.
    pub(crate) fn obstacle_to(&self, holds: &[Hold], open_leases: &OpenLeases, now_ms: i64) -> Option<Obstacle> {
        if holds.iter().any(|hold| hold.is_due(now_ms)) {
            Some(Obstacle::DueHolds(holds.to_vec(), now_ms))
        } else if self.may_recall() && !open_leases.is_empty() {
            Some(Obstacle::Leases)
        } else {
            None
        }
    }

    /// Notes that the call has called leases back.
    pub(crate) fn recalled(&mut self) {
        self.has_recalled = true;
    }

    /// Counts one more attempt whose assumptions were wrong.
    ///
    /// # Errors
    /// [`GateError::Unverified`] if there were too many.
    pub(crate) fn stale(&mut self, metrics: &GateMetrics) -> Result<(), GateError> {
        metrics.stale_round();
        self.stale_rounds += 1;
        if self.stale_rounds < MAX_STALE_ROUNDS { Ok(()) } else { Err(GateError::Unverified) }
    }

    /// Counts one more page of due holds.
    ///
    /// # Errors
    /// [`GateError::Unverified`] if there were too many.
    pub(crate) fn expiry_round(&mut self) -> Result<(), GateError> {
        self.expiry_rounds += 1;
        if self.expiry_rounds <= MAX_EXPIRY_ROUNDS { Ok(()) } else { Err(GateError::Unverified) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::hold::Holder;

    #[test]
    fn what_is_due_is_expired_before_leases_are_recalled() {
        let holder = Holder::Reservation(Id::parse("r").unwrap());
        let due = Hold { holder, cycle_start_ms: 0, credits: 1, expires_at_ms: 10 };
        let attempts = Attempts::default();
        let none = OpenLeases::default();
        assert!(matches!(attempts.obstacle_to(std::slice::from_ref(&due), &none, 10), Some(Obstacle::DueHolds(..))));
        assert!(attempts.obstacle_to(&[due], &none, 9).is_none(), "the refusal stands");
    }

    #[test]
    fn each_kind_of_attempt_is_bounded() {
        let (mut attempts, metrics) = (Attempts::default(), GateMetrics::default());
        for _ in 1..MAX_STALE_ROUNDS {
            attempts.stale(&metrics).unwrap();
        }
        assert!(matches!(attempts.stale(&metrics), Err(GateError::Unverified)));
        for _ in 0..MAX_EXPIRY_ROUNDS {
            attempts.expiry_round().unwrap();
        }
        assert!(matches!(attempts.expiry_round(), Err(GateError::Unverified)));
    }
}
