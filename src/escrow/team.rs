//! One team in the escrow: its demand, its leases, and its open reservations.

use std::collections::VecDeque;

use super::{
    open::OpenReservations,
    options::{EscrowMode, EscrowOptions, LeasePolicy},
    request::LeaseRequest,
};
use crate::domain::lease::{Demand, Draw, Lease, LeaseRemainder};

/// Maximum number of usable leases of a team: the one that is drawn from, and those taken ahead of need.
const MAX_USABLE_LEASES: usize = 4;

/// Maximum number of leases of a team, including those that are used up and not returned yet.
const MAX_HELD_LEASES: usize = 64;

/// A team's leases are returned when it had no call for this fraction of the lease term: one fourth.
const IDLE_TERM_FRACTION: i64 = 4;

/// One team in the escrow.
#[derive(Debug, Default)]
pub(super) struct TeamEscrow {
    pub(super) demand: Demand,
    pub(super) open: OpenReservations,
    /// Held leases, oldest first.
    leases: VecDeque<Lease>,
    /// Whether a lease was requested and its result is not known yet.
    request_pending: bool,
    /// No lease is requested before this time of the sidecar's clock, in milliseconds.
    not_before_ms: i64,
    /// Price of the last call, in credits. A lease with fewer credits left is used up.
    pub(super) last_request_credits: i64,
    /// Number of the team's open leases at all sidecars, when the last lease was granted.
    open_leases: usize,
    /// Time of the last recall, in Unix milliseconds of the store. Leases granted until then are not added.
    recalled_at_ms: i64,
}

impl TeamEscrow {
    /// Draws from the first lease that covers the call. Returns the lease, and the latest time that the store's clock
    /// can show.
    pub(super) fn draw(&mut self, draw: &Draw, at_ms: i64, dry_run: bool) -> Option<(&Lease, i64)> {
        for lease in &mut self.leases {
            let drawn = if dry_run { lease.clone().draw(draw, at_ms) } else { lease.draw(draw, at_ms) };
            if let Some(latest_ms) = drawn {
                return Some((lease, latest_ms));
            }
        }
        None
    }

    /// Returns the lease to request now, if the team needs another one. The caller must request it, and report the
    /// result with [`TeamEscrow::add_lease`] or [`TeamEscrow::lease_not_granted`]. Until then no other lease is
    /// requested.
    ///
    /// A team needs another lease while its usable leases hold less than two thirds of what it is expected to use in
    /// half a lease term. So the next lease arrives before the held ones are used up, and calls do not wait for it. A
    /// lease that ends within a quarter of a term is not usable here, and neither is one that does not cover the last
    /// call.
    ///
    /// For example, with a term of 30 s and the default policy, a team makes 100 calls of 2 credits per second:
    ///
    /// - It is expected to use 3,000 credits in half a term. A lease of less than 8 calls, 16 credits, is not worth its
    ///   cost.
    /// - It holds one lease with 2,100 credits left. That is not less than 2,000, so no lease is requested.
    /// - After 60 more calls, 1,980 credits are left. A lease of 3,000 credits is requested, at least 16.
    /// - How much is granted depends on what remains of the allotment; see
    ///   [`size_lease`](crate::domain::lease::size_lease). With 100,000 credits remaining and 4 open leases, up to
    ///   12,500 may be granted, so it gets its 3,000. With 120 remaining, up to 15 may be granted, which is below 16.
    ///   So no lease is granted, and calls are written through.
    pub(super) fn request_lease(
        &mut self,
        options: &EscrowOptions,
        terms_version: i64,
        at_ms: i64,
    ) -> Option<LeaseRequest> {
        let LeasePolicy { only_busy_teams, min_calls, usual_calls, .. } = options.policy;
        let saves_store_calls =
            options.mode != EscrowMode::Off && (!only_busy_teams || self.demand.is_worth_a_lease(&options.terms));
        let may_request = !self.request_pending && at_ms >= self.not_before_ms && self.leases.len() < MAX_HELD_LEASES;
        if !saves_store_calls || !may_request {
            return None;
        }
        let price = self.last_request_credits;
        let credits_of = |calls| price.max(1).saturating_mul(calls);
        let min_credits = credits_of(min_calls);
        let expected = self.demand.expected_credits(&options.terms).max(credits_of(usual_calls));
        let soon_ms = at_ms + options.terms.term_ms / 4;
        let is_usable = |lease: &&Lease| lease.undrawn >= price && lease.may_be_drawn(terms_version, soon_ms);
        let (mut usable_leases, mut usable_credits) = (0, 0);
        for lease in self.leases.iter().filter(is_usable) {
            usable_leases += 1;
            usable_credits += lease.undrawn;
        }
        if usable_credits >= expected / 3 * 2 || usable_leases >= MAX_USABLE_LEASES {
            return None;
        }
        self.request_pending = true;
        Some(LeaseRequest { credits: expected, min_credits, open_leases: self.open_leases })
    }

    pub(super) fn add_lease(&mut self, lease: Lease, open_leases: usize) -> Option<LeaseRemainder> {
        self.request_pending = false;
        self.open_leases = open_leases;
        if lease.granted_at_ms <= self.recalled_at_ms {
            return Some(lease.into_remainder());
        }
        self.leases.push_back(lease);
        None
    }

    pub(super) fn lease_not_granted(&mut self, not_before_ms: i64) {
        self.request_pending = false;
        self.not_before_ms = not_before_ms;
    }

    pub(super) fn recalled(&mut self, at_ms: i64) {
        self.recalled_at_ms = self.recalled_at_ms.max(at_ms);
    }

    pub(super) fn has_leases(&self) -> bool {
        !self.leases.is_empty()
    }

    /// Returns the number of leases and the credits that can still be drawn from them.
    pub(super) fn held_leases(&self) -> (usize, i64) {
        (self.leases.len(), self.leases.iter().map(|lease| lease.undrawn).sum())
    }

    pub(super) fn remove_all(&mut self) -> Vec<LeaseRemainder> {
        self.leases.drain(..).map(Lease::into_remainder).collect()
    }

    pub(super) fn evict_leases(&mut self, options: &EscrowOptions, at_ms: i64) -> Vec<LeaseRemainder> {
        if self.leases.is_empty() {
            return Vec::new();
        }
        if at_ms - self.demand.asked_at_ms() > options.terms.term_ms / IDLE_TERM_FRACTION {
            return self.remove_all();
        }
        let min_credits = self.last_request_credits.max(1);
        self.remove_if(|lease| lease.undrawn < min_credits || !lease.may_be_drawn(lease.terms_version, at_ms))
    }

    pub(super) fn remove_if(&mut self, is_removed: impl Fn(&Lease) -> bool) -> Vec<LeaseRemainder> {
        if !self.leases.iter().any(&is_removed) {
            return Vec::new();
        }
        let (removed, kept) = self.leases.drain(..).partition::<Vec<_>, _>(is_removed);
        self.leases = kept.into();
        removed.into_iter().map(Lease::into_remainder).collect()
    }

    pub(super) fn is_idle(&self, at_ms: i64, after_ms: i64) -> bool {
        self.leases.is_empty()
            && !self.request_pending
            && self.open.is_empty()
            && at_ms - self.demand.asked_at_ms() > after_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{billing_cycle::Cycle, id::Id};

    /// The example in the documentation of [`TeamEscrow::request_lease`].
    #[test]
    fn a_lease_is_requested_before_the_held_ones_are_used_up() {
        let options = EscrowOptions::default();
        let cycle = Cycle { start_ms: 0, end_ms: i64::MAX };
        let mut team = TeamEscrow { last_request_credits: 2, ..TeamEscrow::default() };
        for at_ms in (0..20_000).step_by(10) {
            team.demand.note(2, at_ms);
        }
        let granted = |credits| {
            Lease::granted(Id::parse("a.1").unwrap(), cycle, 1, credits, 10_000, 10_000..=10_000, &options.terms)
        };
        team.add_lease(granted(2_100), 1);
        assert_eq!(team.request_lease(&options, 1, 20_000), None);
        team.remove_all();
        team.add_lease(granted(1_980), 1);
        let request = team.request_lease(&options, 1, 20_000).unwrap();
        assert!((2_900..=3_100).contains(&request.credits) && request.min_credits == 16, "{request:?}");
        assert_eq!(team.request_lease(&options, 1, 20_000), None, "one lease is requested at a time");
    }
}
