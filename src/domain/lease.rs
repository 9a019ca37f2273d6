//! Leases: credits that a sidecar takes out of a team's allotment in advance, so that it can open reservations without
//! asking the store. This is escrow locking (O'Neil, ACM TODS 1986).
//!
//! - A lease is immutable and is used up. It is never refilled or renewed. The next lease has a new ID.
//! - Credits are drawn only after the store has confirmed the grant.
//! - Settling a reservation that was drawn from a lease subtracts its credits from the lease's record in the store. The
//!   record never falls below 0. So the allotment is never exceeded, even if a sidecar is wrong or a client makes up
//!   a grant.
//! - The clock that ends drawing is the sidecar's. The clock of the lease's record is the store's. [`CLOCK_MARGIN_MS`]
//!   allows for the difference.

mod grant;
mod lease_return;
mod recall;
mod reclaim;
mod sizing;

pub(crate) use self::recall::{declare_open_leases, no_leases_until};
pub use self::{
    grant::{LeaseGrant, LeaseVerdict},
    lease_return::LeaseReturn,
    recall::{OpenLeases, Recall, RecallsQuery, announce, remove_announcements},
    reclaim::{Reclaim, ReclaimVerdict},
    sizing::{Demand, size_lease},
};

use std::ops::{Range, RangeInclusive};

use super::{billing_cycle::Cycle, id::Id, policy::MIN_COMMIT_RETENTION_MS};

/// Maximum hold that can be drawn from a lease, in milliseconds. If the sidecar dies, the lease's credits are away for
/// this long in addition to the lease term.
pub const MAX_LEASE_HOLD_MS: i64 = 120_000;

/// Maximum term of a lease, in milliseconds.
pub const MAX_LEASE_TERM_MS: i64 = 60_000;

/// Maximum time from the grant of a lease until nothing that was drawn from it is held any more, in milliseconds.
/// It holds for all settings of a sidecar.
pub const MAX_LEASE_LIFETIME_MS: i64 = MAX_LEASE_TERM_MS + MAX_LEASE_HOLD_MS + CLOCK_MARGIN_MS;

/// Maximum difference between the clocks of a sidecar and the store during a lease's life, in milliseconds. Drawing
/// ends this much before the term does, and a lease is reclaimed this much after its last hold can have run out.
pub const CLOCK_MARGIN_MS: i64 = 1_000;

/// Time after a recall during which no lease of the team is granted, in milliseconds.
pub const RECALL_PAUSE_MS: i64 = 1_000;

// The record of a commit must outlive everything that can be drawn from a lease and held, even if the sidecar that
// opened the reservation was one term ahead of the store's clock. Otherwise a grant could be charged again after its
// commit was forgotten.
const _: () = assert!(MIN_COMMIT_RETENTION_MS - MAX_LEASE_TERM_MS > MAX_LEASE_LIFETIME_MS);

/// How long a lease can be drawn from, and how long a hold drawn from it can last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    /// Time from the grant of a lease until nothing is drawn from it any more, in milliseconds. Drawing ends
    /// [`CLOCK_MARGIN_MS`] earlier.
    pub term_ms: i64,
    /// Maximum hold that is drawn from a lease, in milliseconds. At most [`MAX_LEASE_HOLD_MS`].
    pub hold_ms: i64,
}

impl LeaseTerms {
    /// Returns the quarantine: the time after the grant until everything that was drawn has run out and the lease is
    /// reclaimed, in milliseconds.
    pub fn reclaim_after_ms(&self) -> i64 {
        self.term_ms + self.hold_ms + CLOCK_MARGIN_MS
    }
}

/// A lease as the sidecar that holds it sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// ID of the lease. No other lease ever has it.
    pub id: Id,
    /// The cycle whose allotment it was taken from.
    pub cycle: Cycle,
    /// Version of the team's terms when it was granted. Under other terms a call may have another price.
    pub terms_version: i64,
    /// Number of credits granted.
    pub credits: i64,
    /// Number of credits that were not drawn yet.
    pub undrawn: i64,
    /// When the store granted it, in Unix milliseconds of the store.
    pub granted_at_ms: i64,
    /// The period in which the store granted it, by the sidecar's clock in milliseconds: from the first request to the
    /// reply.
    pub granted_between_ms: RangeInclusive<i64>,
    /// From when on nothing is drawn, by the sidecar's clock in milliseconds.
    pub drawn_until_ms: i64,
}

/// What remains of a lease after its sidecar has stopped drawing from it. It is returned to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRemainder {
    /// ID of the lease.
    pub id: Id,
    /// Start of its cycle, in Unix milliseconds.
    pub cycle_start_ms: i64,
    /// Number of credits granted.
    pub credits: i64,
    /// Number of credits that were never drawn.
    pub undrawn: i64,
}

/// The credits that a call wants to draw from a lease.
#[derive(Clone, Debug)]
pub struct Draw {
    /// Number of credits.
    pub credits: i64,
    /// Version of the terms that they were priced by.
    pub terms_version: i64,
    /// When that price is valid, in Unix milliseconds of the store.
    pub valid_ms: Range<i64>,
}

impl Lease {
    /// Returns a lease that the store granted at `granted_at_ms` of its clock. `granted_between_ms` is from the request
    /// to the reply, by the sidecar's clock.
    pub fn granted(
        id: Id,
        cycle: Cycle,
        terms_version: i64,
        credits: i64,
        granted_at_ms: i64,
        granted_between_ms: RangeInclusive<i64>,
        terms: &LeaseTerms,
    ) -> Self {
        let drawn_until_ms = granted_between_ms.start() + terms.term_ms - CLOCK_MARGIN_MS;
        Self { id, cycle, terms_version, credits, undrawn: credits, granted_at_ms, granted_between_ms, drawn_until_ms }
    }

    /// Draws credits at a time of the sidecar's clock, in milliseconds. Returns the latest time that the store's clock
    /// can show then, in Unix milliseconds. A hold that begins at that time is over before the lease is reclaimed.
    ///
    /// Returns `None` and draws nothing if the lease is over, has too few credits, or the price is not certain to be
    /// valid.
    ///
    /// One reading of the clock decides both the draw and the hold. So a process that is paused between the two cannot
    /// hold credits for too long.
    pub fn draw(&mut self, draw: &Draw, at_ms: i64) -> Option<i64> {
        let latest_ms = self.latest_store_ms(at_ms);
        let earliest_ms = self.granted_at_ms + (at_ms - self.granted_between_ms.end());
        let fits = self.may_be_drawn(draw.terms_version, at_ms)
            && draw.credits <= self.undrawn
            && draw.valid_ms.start <= earliest_ms
            && latest_ms < draw.valid_ms.end;
        if !fits {
            return None;
        }
        self.undrawn -= draw.credits;
        Some(latest_ms)
    }

    /// Returns whether credits may be drawn at a time of the sidecar's clock, under terms of that version.
    pub fn may_be_drawn(&self, terms_version: i64, at_ms: i64) -> bool {
        at_ms < self.drawn_until_ms
            && terms_version == self.terms_version
            && self.latest_store_ms(at_ms) < self.cycle.end_ms
    }

    /// Returns what remains, for a sidecar that stops drawing from the lease.
    pub fn into_remainder(self) -> LeaseRemainder {
        let Self { id, cycle, credits, undrawn, .. } = self;
        LeaseRemainder { id, cycle_start_ms: cycle.start_ms, credits, undrawn }
    }

    fn latest_store_ms(&self, at_ms: i64) -> i64 {
        self.granted_at_ms + (at_ms - self.granted_between_ms.start())
    }
}

/// The names of the fields of a lease's record.
pub(crate) mod field {
    /// Start of the cycle whose allotment it was taken from.
    pub(crate) const CYCLE: &str = "cycle";
    /// Number of credits granted.
    pub(crate) const CREDITS: &str = "credits";
    /// Number of credits that were neither settled nor returned.
    pub(crate) const REST: &str = "rest";
    /// When it was granted.
    pub(crate) const GRANTED_AT: &str = "granted_at";
    /// When the rest is reclaimed.
    pub(crate) const RECLAIM_AT: &str = "reclaim_at";
    /// 1 after its sidecar has stopped drawing from it.
    pub(crate) const RETURNED: &str = "returned";
    /// 1 after the rest was reclaimed. Up to the rest, credits may still be committed late.
    pub(crate) const RECLAIMED: &str = "reclaimed";
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: LeaseTerms = LeaseTerms { term_ms: 10_000, hold_ms: 120_000 };

    /// Requested at 1,000 and confirmed at 1,040 of the sidecar's clock. The store's clock showed 500,000.
    fn lease() -> Lease {
        let cycle = Cycle { start_ms: 0, end_ms: 505_000 };
        Lease::granted(Id::parse("a.1").unwrap(), cycle, 7, 100, 500_000, 1_000..=1_040, &TERMS)
    }

    fn draw(credits: i64) -> Draw {
        Draw { credits, terms_version: 7, valid_ms: 400_000..600_000 }
    }

    #[test]
    fn a_lease_is_consumed_to_its_last_credit_and_no_further() {
        let mut lease = lease();
        assert_eq!(lease.draw(&draw(60), 1_050), Some(500_050));
        assert_eq!(lease.draw(&draw(41), 1_050), None);
        assert_eq!(lease.draw(&draw(40), 1_060), Some(500_060));
        assert_eq!(lease.draw(&draw(1), 1_060), None);
        assert_eq!(lease.draw(&draw(0), 1_060), Some(500_060), "what costs nothing is always covered");
        assert_eq!(lease.into_remainder().undrawn, 0);
    }

    /// Nothing is drawn from a lease that the store would not have allowed.
    #[test]
    fn nothing_is_drawn_that_the_store_would_refuse() {
        let table: [(&str, Draw, i64); 6] = [
            ("after its term", draw(1), 10_000),
            ("after its cycle", draw(1), 6_000),
            ("under other terms", Draw { terms_version: 8, ..draw(1) }, 1_050),
            ("before the price is certain to be valid", Draw { valid_ms: 500_011..600_000, ..draw(1) }, 1_050),
            ("after the price may be valid", Draw { valid_ms: 400_000..500_050, ..draw(1) }, 1_050),
            ("more than there is", draw(101), 1_050),
        ];
        for (case, draw, at_ms) in table {
            let mut lease = lease();
            assert_eq!(lease.draw(&draw, at_ms), None, "{case}");
            assert_eq!(lease, self::lease(), "{case}");
        }
        assert_eq!(lease().draw(&draw(1), 5_999), Some(504_999));
        let mut mid_cycle = Lease { cycle: Cycle { start_ms: 0, end_ms: i64::MAX }, ..lease() };
        assert_eq!(mid_cycle.draw(&draw(1), 10_000), None, "after its term, although its cycle goes on");
        assert_eq!(mid_cycle.draw(&draw(1), 9_999), Some(508_999));
    }

    /// The last hold drawn from a lease is over before the lease is reclaimed.
    #[test]
    fn the_last_hold_ends_before_the_lease_is_reclaimed() {
        let lease = Lease { cycle: Cycle { start_ms: 0, end_ms: i64::MAX }, ..lease() };
        let last_ms = lease.drawn_until_ms - 1;
        let held_until_ms = lease.clone().draw(&draw(1), last_ms).unwrap() + TERMS.hold_ms;
        assert!(held_until_ms + CLOCK_MARGIN_MS < lease.granted_at_ms + TERMS.reclaim_after_ms());
    }
}
