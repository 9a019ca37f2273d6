//! The leases that this sidecar holds, the reservations opened from them, and the leases that wait to be given back.
//!
//! Everything here is in memory and answers at once. It must not know the store: `leases` takes leases and gives them
//! back.

mod returning;

use std::sync::Arc;

pub(crate) use self::returning::{Return, ReturnInFlight, ReturningLeases};
use crate::{
    domain::{
        id::Id,
        lease::{MAX_LEASE_LIFETIME_MS, RECALL_PAUSE_MS},
        terms::Terms,
    },
    escrow::{Escrow, EscrowOptions},
    metrics::{GateMetrics, Holdings, LeaseEvent},
};

/// What this sidecar holds of the teams' allotments.
pub(crate) struct HeldLeases {
    /// The leases that are drawn from, and the reservations that were opened from them.
    pub(crate) escrow: Escrow,
    /// The leases that wait to be given back.
    pub(crate) returning: ReturningLeases,
    metrics: Arc<GateMetrics>,
}

impl HeldLeases {
    /// Starts without leases.
    pub(crate) fn new(options: EscrowOptions, metrics: Arc<GateMetrics>) -> Self {
        Self { escrow: Escrow::new(options), returning: ReturningLeases::default(), metrics }
    }

    /// Applies the terms of a team that a reply has shown, at `now_ms` of the store, in Unix milliseconds, and `at_ms`
    /// of the sidecar's clock: leases that were granted under other terms, or that are called back, are no longer drawn
    /// from, and wait to be given back.
    pub(crate) fn apply_terms(&self, team: &Id, terms: &Terms, now_ms: i64, at_ms: i64) {
        if !self.escrow.is_on() {
            return;
        }
        let is_recalled = terms.no_leases_until_ms > now_ms;
        let recalled_at_ms = is_recalled.then(|| terms.no_leases_until_ms - RECALL_PAUSE_MS);
        let remainders = self.escrow.remove_outdated_leases(team, terms.version, recalled_at_ms);
        if is_recalled {
            self.metrics.leases(LeaseEvent::Recalled, remainders.len());
        }
        if !remainders.is_empty() {
            self.returning.add(Return { team: team.clone(), remainders, until_ms: at_ms + MAX_LEASE_LIFETIME_MS });
        }
    }

    /// Returns the leases and the open reservations that are held now.
    pub(crate) fn holdings(&self) -> Holdings {
        let (leases, leased_credits) = self.escrow.held_leases();
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Holdings {
            leases: number(leases),
            returning: number(self.returning.len()),
            leased_credits: u64::try_from(leased_credits).unwrap_or_default(),
            open_reservations: number(self.escrow.open_reservation_count()),
        }
    }
}
