//! One team's part of the escrow: its demand, its leases in hand, its open reservations.

use std::collections::VecDeque;

use super::{EscrowMode, EscrowOptions, Wanted, open::OpenReservations};
use crate::domain::lease::{Demand, Draw, Lease, LeaseRest};

/// So many leases that are of use are in hand at most: one that is drawn from, and others taken ahead of need.
const AHEAD: usize = 4;

/// So many are in hand at most with those that are used up and not given back yet.
const MAX_IN_HAND: usize = 64;

/// A lease is of so many calls at least.
const LEAST_CALLS: i64 = 8;

/// The leases of a team that nobody asked for lately are given back after this part of their term.
const IDLE_PART: i64 = 4;

/// One team's part.
#[derive(Debug, Default)]
pub(super) struct TeamEscrow {
    pub(super) demand: Demand,
    pub(super) open: OpenReservations,
    /// In hand, the oldest first.
    leases: VecDeque<Lease>,
    /// One is being asked for, so that no second one is.
    is_asking: bool,
    /// None is asked for before this time of the sidecar's clock.
    not_before_ms: i64,
    /// What the last call asked for: a lease of less is used up.
    asked_credits: i64,
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

    /// Whether another lease should be asked for now, after a call of so many credits. Whoever is told so asks.
    pub(super) fn wanted(
        &mut self,
        options: &EscrowOptions,
        terms_version: i64,
        credits: i64,
        at_ms: i64,
    ) -> Option<Wanted> {
        let pays = match options.mode {
            EscrowMode::Off => false,
            EscrowMode::Auto => self.demand.pays(&options.terms),
            EscrowMode::Eager => true,
        };
        self.asked_credits = credits;
        if !pays || self.is_asking || at_ms < self.not_before_ms || self.leases.len() >= MAX_IN_HAND {
            return None;
        }
        // A test's lease is of one more call, if there is as much.
        let (least_calls, calls) = if options.mode == EscrowMode::Eager { (1, 2) } else { (LEAST_CALLS, LEAST_CALLS) };
        let of_calls = |calls| credits.max(1).saturating_mul(calls);
        let least_credits = of_calls(least_calls);
        let likely = self.demand.within_half_a_term(&options.terms).max(of_calls(calls));
        // What is over soon is as good as gone.
        let soon_ms = at_ms + options.terms.term_ms / 4;
        let is_of_use = |lease: &&Lease| lease.undrawn >= credits && lease.may_be_drawn(terms_version, soon_ms);
        let (mut leases, mut in_hand) = (0, 0);
        for lease in self.leases.iter().filter(is_of_use) {
            leases += 1;
            in_hand += lease.undrawn;
        }
        if in_hand >= likely / 3 * 2 || leases >= AHEAD {
            return None;
        }
        self.is_asking = true;
        Some(Wanted { credits: likely, least_credits, open_leases: self.open_leases })
    }

    pub(super) fn keep(&mut self, lease: Lease, open_leases: usize) -> Option<LeaseRest> {
        self.is_asking = false;
        self.open_leases = open_leases;
        if lease.granted_at_ms <= self.recalled_at_ms {
            return Some(lease.into_rest());
        }
        self.leases.push_back(lease);
        None
    }

    pub(super) fn not_granted(&mut self, not_before_ms: i64) {
        self.is_asking = false;
        self.not_before_ms = not_before_ms;
    }

    pub(super) fn recalled(&mut self, at_ms: i64) {
        self.recalled_at_ms = self.recalled_at_ms.max(at_ms);
    }

    pub(super) fn has_leases(&self) -> bool {
        !self.leases.is_empty()
    }

    /// How many leases are in hand, and what is left of them.
    pub(super) fn in_hand(&self) -> (usize, i64) {
        (self.leases.len(), self.leases.iter().map(|lease| lease.undrawn).sum())
    }

    pub(super) fn take_all(&mut self) -> Vec<LeaseRest> {
        self.leases.drain(..).map(Lease::into_rest).collect()
    }

    pub(super) fn take_useless(&mut self, options: &EscrowOptions, at_ms: i64) -> Vec<LeaseRest> {
        if self.leases.is_empty() {
            return Vec::new();
        }
        if at_ms - self.demand.asked_at_ms() > options.terms.term_ms / IDLE_PART {
            return self.take_all();
        }
        let least = self.asked_credits.max(1);
        self.take_if(|lease| lease.undrawn < least || !lease.may_be_drawn(lease.terms_version, at_ms))
    }

    pub(super) fn take_if(&mut self, is_useless: impl Fn(&Lease) -> bool) -> Vec<LeaseRest> {
        if !self.leases.iter().any(&is_useless) {
            return Vec::new();
        }
        let (useless, kept) = self.leases.drain(..).partition::<Vec<_>, _>(is_useless);
        self.leases = kept.into();
        useless.into_iter().map(Lease::into_rest).collect()
    }

    pub(super) fn is_forgotten(&self, at_ms: i64, after_ms: i64) -> bool {
        self.leases.is_empty()
            && !self.is_asking
            && self.open.is_empty()
            && at_ms - self.demand.asked_at_ms() > after_ms
    }
}
