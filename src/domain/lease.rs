//! Leases: credits that a sidecar takes out of a team's allotment in advance, so that it can open reservations without asking.
//!
//! A lease is immutable and consumed. It is never refilled, renewed or topped up; the next one has a new id. Nothing is drawn
//! before its grant was answered. Whoever settles a reservation that was drawn from it shrinks its record in the store by what
//! was held, and no further than to nothing: so whatever a sidecar, or somebody with a made-up grant, believes, the allotment is
//! never exceeded. (Escrow: O'Neil, TODS 1986.) The clock that a lease is drawn by is the sidecar's; that of its record is the
//! store's.

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

/// The longest hold that is drawn from a lease, in milliseconds: so long, beside its term, a lease's credits are away if its
/// sidecar dies.
pub const MAX_LEASE_HOLD_MS: i64 = 120_000;

/// The longest term of a lease, in milliseconds.
pub const MAX_LEASE_TERM_MS: i64 = 60_000;

/// The longest that any sidecar's lease can be in use, in milliseconds, whatever it is configured to.
pub const MAX_LEASE_LIFETIME_MS: i64 = MAX_LEASE_TERM_MS + MAX_LEASE_HOLD_MS + CLOCK_MARGIN_MS;

/// What the clocks of a sidecar and of the store may differ by within a lease's life, in milliseconds. A lease is drawn from so
/// much shorter than its term, and its credits come back so much later than its last hold can run out.
pub const CLOCK_MARGIN_MS: i64 = 1_000;

/// For so long after a recall no lease of the team is granted, in milliseconds.
pub const RECALL_PAUSE_MS: i64 = 1_000;

// The record of a commit outlives everything that can be drawn from a lease and held, even if the sidecar that opened the
// reservation took the store's clock for up to one term ahead. So no grant of a lease is charged after its commit was forgotten.
const _: () = assert!(MIN_COMMIT_RETENTION_MS - MAX_LEASE_TERM_MS > MAX_LEASE_LIFETIME_MS);

/// For how long leases are drawn from, and what is drawn from them held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    /// From its grant on it may be drawn from for so long, less [`CLOCK_MARGIN_MS`]; in milliseconds.
    pub term_ms: i64,
    /// The longest hold that is drawn from it, in milliseconds, at most [`MAX_LEASE_HOLD_MS`].
    pub hold_ms: i64,
}

impl LeaseTerms {
    /// The quarantine: so long after its grant all that was drawn has run out, and its credits come back by themselves; in
    /// milliseconds.
    pub fn reclaim_after_ms(&self) -> i64 {
        self.term_ms + self.hold_ms + CLOCK_MARGIN_MS
    }
}

/// A lease as its sidecar has it in hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its id, which no other ever has.
    pub id: Id,
    /// The cycle whose allotment it is of.
    pub cycle: Cycle,
    /// The team's terms that it was granted under: with others, a call would have another price.
    pub terms_version: i64,
    /// What was granted, in credits.
    pub credits: i64,
    /// What nobody has drawn yet.
    pub undrawn: i64,
    /// When the store granted it, in its own Unix milliseconds.
    pub granted_at_ms: i64,
    /// Between which times of the sidecar's clock that was: the first asking, and the answer; in milliseconds.
    pub granted_between_ms: RangeInclusive<i64>,
    /// From this time of the sidecar's clock on nothing is drawn, in milliseconds.
    pub drawn_until_ms: i64,
}

/// What is left of a lease that its sidecar draws from no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRemainder {
    /// The lease.
    pub id: Id,
    /// The start of its cycle, in Unix milliseconds.
    pub cycle_start_ms: i64,
    /// What was granted, in credits.
    pub credits: i64,
    /// What nobody drew.
    pub undrawn: i64,
}

/// What a draw asks for.
#[derive(Clone, Debug)]
pub struct Draw {
    /// Credits.
    pub credits: i64,
    /// The terms that they were priced by.
    pub terms_version: i64,
    /// When that price is valid, in Unix milliseconds of the store.
    pub valid_ms: Range<i64>,
}

impl Lease {
    /// A lease that the store granted at a time of its own, asked for and answered at these times of the sidecar's clock.
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

    /// Draws credits at a time of the sidecar's clock, in milliseconds. The result is the latest that the store's clock can show
    /// then, in Unix milliseconds: what is held from then on is over before the lease's credits come back by themselves.
    ///
    /// One reading of the clock decides both, so that a process that is stopped in between holds nothing too long. `None` if the lease
    /// is over, or does not cover it, or the price is not certain to be valid: nothing was drawn then.
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

    /// Whether anything may still be drawn at a time of the sidecar's clock, under terms of that version.
    pub fn may_be_drawn(&self, terms_version: i64, at_ms: i64) -> bool {
        at_ms < self.drawn_until_ms
            && terms_version == self.terms_version
            && self.latest_store_ms(at_ms) < self.cycle.end_ms
    }

    /// What is left, for a sidecar that draws from it no more.
    pub fn into_remainder(self) -> LeaseRemainder {
        let Self { id, cycle, credits, undrawn, .. } = self;
        LeaseRemainder { id, cycle_start_ms: cycle.start_ms, credits, undrawn }
    }

    fn latest_store_ms(&self, at_ms: i64) -> i64 {
        self.granted_at_ms + (at_ms - self.granted_between_ms.start())
    }
}

/// The fields of a lease's record.
pub(crate) mod field {
    /// The start of the cycle whose allotment it is of.
    pub(crate) const CYCLE: &str = "cycle";
    /// What was granted.
    pub(crate) const CREDITS: &str = "credits";
    /// What was neither settled nor given back.
    pub(crate) const REST: &str = "rest";
    /// When it was granted.
    pub(crate) const GRANTED_AT: &str = "granted_at";
    /// When what is left comes back by itself.
    pub(crate) const RECLAIM_AT: &str = "reclaim_at";
    /// 1 once its sidecar draws from it no more.
    pub(crate) const RETURNED: &str = "returned";
    /// 1 once what was left has come back by itself. The rest then still says what may be committed late.
    pub(crate) const RECLAIMED: &str = "reclaimed";
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: LeaseTerms = LeaseTerms { term_ms: 10_000, hold_ms: 120_000 };

    /// Asked for at 1,000 of the sidecar's clock and answered at 1,040; the store's clock showed 500,000.
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

    #[test]
    fn nothing_is_drawn_where_the_store_would_not_have_allowed_it() {
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
        let mut amid_its_cycle = Lease { cycle: Cycle { start_ms: 0, end_ms: i64::MAX }, ..lease() };
        assert_eq!(amid_its_cycle.draw(&draw(1), 10_000), None, "after its term, whatever its cycle");
        assert_eq!(amid_its_cycle.draw(&draw(1), 9_999), Some(508_999));
    }

    #[test]
    fn the_last_hold_is_over_before_the_credits_come_back_by_themselves() {
        let lease = Lease { cycle: Cycle { start_ms: 0, end_ms: i64::MAX }, ..lease() };
        let last_ms = lease.drawn_until_ms - 1;
        let held_until_ms = lease.clone().draw(&draw(1), last_ms).unwrap() + TERMS.hold_ms;
        assert!(held_until_ms + CLOCK_MARGIN_MS < lease.granted_at_ms + TERMS.reclaim_after_ms());
    }
}
