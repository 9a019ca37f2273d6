//! One team's part of the escrow: its demand, its leases in hand, its open reservations.

use std::collections::VecDeque;

use super::{EscrowMode, EscrowOptions, LeasePolicy, LeaseRequest, open::OpenReservations};
use crate::domain::lease::{Demand, Draw, Lease, LeaseRemainder};

/// So many leases that are of use are in hand at most: one that is drawn from, and others taken ahead of need.
const MAX_USABLE_LEASES: usize = 4;

/// So many are in hand at most with those that are used up and not given back yet.
const MAX_HELD_LEASES: usize = 64;

/// The leases of a team that nobody asked for lately are given back after this part of their term.
const IDLE_TERM_FRACTION: i64 = 4;

/// One team's part.
#[derive(Debug, Default)]
pub(super) struct TeamEscrow {
    pub(super) demand: Demand,
    pub(super) open: OpenReservations,
    /// In hand, the oldest first.
    leases: VecDeque<Lease>,
    /// One is being asked for, so that no second one is.
    request_pending: bool,
    /// None is asked for before this time of the sidecar's clock.
    not_before_ms: i64,
    /// Price of the last call, in credits. A lease with fewer credits left is used up.
    pub(super) last_request_credits: i64,
    /// How many were open when one was granted last, whoever has them.
    open_leases: usize,
    /// What was granted by then, in Unix milliseconds of the store, is called back.
    recalled_at_ms: i64,
}

impl TeamEscrow {
    /// Draws from the first lease in hand that covers it. The result is that lease, and the latest that the store's clock can show.
    pub(super) fn draw(&mut self, draw: &Draw, at_ms: i64, dry_run: bool) -> Option<(&Lease, i64)> {
        for lease in &mut self.leases {
            let drawn = if dry_run { lease.clone().draw(draw, at_ms) } else { lease.draw(draw, at_ms) };
            if let Some(latest_ms) = drawn {
                return Some((lease, latest_ms));
            }
        }
        None
    }

    /// Returns the lease to ask for now, if the team needs another one. The caller has to ask for it.
    pub(super) fn request_lease(
        &mut self,
        options: &EscrowOptions,
        terms_version: i64,
        at_ms: i64,
    ) -> Option<LeaseRequest> {
        let LeasePolicy { only_busy_teams, min_calls, usual_calls, .. } = options.policy;
        let is_worth_a_lease =
            options.mode != EscrowMode::Off && (!only_busy_teams || self.demand.is_worth_a_lease(&options.terms));
        if !is_worth_a_lease
            || self.request_pending
            || at_ms < self.not_before_ms
            || self.leases.len() >= MAX_HELD_LEASES
        {
            return None;
        }
        let credits = self.last_request_credits;
        let of_calls = |calls| credits.max(1).saturating_mul(calls);
        let min_credits = of_calls(min_calls);
        let likely = self.demand.expected_credits(&options.terms).max(of_calls(usual_calls));
        // What is over soon is as good as gone.
        let soon_ms = at_ms + options.terms.term_ms / 4;
        let is_of_use = |lease: &&Lease| lease.undrawn >= credits && lease.may_be_drawn(terms_version, soon_ms);
        let (mut leases, mut held_leases) = (0, 0);
        for lease in self.leases.iter().filter(is_of_use) {
            leases += 1;
            held_leases += lease.undrawn;
        }
        if held_leases >= likely / 3 * 2 || leases >= MAX_USABLE_LEASES {
            return None;
        }
        self.request_pending = true;
        Some(LeaseRequest { credits: likely, min_credits, open_leases: self.open_leases })
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

    /// How many leases are in hand, and what is left of them.
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
        let least = self.last_request_credits.max(1);
        self.remove_if(|lease| lease.undrawn < least || !lease.may_be_drawn(lease.terms_version, at_ms))
    }

    pub(super) fn remove_if(&mut self, is_useless: impl Fn(&Lease) -> bool) -> Vec<LeaseRemainder> {
        if !self.leases.iter().any(&is_useless) {
            return Vec::new();
        }
        let (useless, kept) = self.leases.drain(..).partition::<Vec<_>, _>(is_useless);
        self.leases = kept.into();
        useless.into_iter().map(Lease::into_remainder).collect()
    }

    pub(super) fn is_idle(&self, at_ms: i64, after_ms: i64) -> bool {
        self.leases.is_empty()
            && !self.request_pending
            && self.open.is_empty()
            && at_ms - self.demand.asked_at_ms() > after_ms
    }
}
