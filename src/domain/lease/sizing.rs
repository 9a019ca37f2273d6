//! Sizing of leases: whether a lease is worth its cost, and how large it is, given a team's demand and what remains of
//! its allotment.

use super::LeaseTerms;

/// Time constant of the long-term demand, in milliseconds. A call counts 1/e as much after this time.
const LATELY_MS: f64 = 4_000.0;

/// How much faster the short-term demand fades. It lets growing load be seen before leases run out.
const JUST_NOW_PART: i32 = 8;

/// A lease is worth its cost if at least this many calls are expected within half its term. A lease costs two store
/// calls: one to take it and one to return it. A few calls in a row are no reason to expect more.
const CALLS_THAT_PAY: f64 = 8.0;

/// The demand of one team at one sidecar.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Demand {
    lately: DecayingTotals,
    just_now: DecayingTotals,
    /// When the last call was, by the sidecar's clock in milliseconds.
    asked_at_ms: i64,
}

/// Exponentially decaying totals of calls and of their credits.
#[derive(Clone, Debug, Default, PartialEq)]
struct DecayingTotals {
    credits: f64,
    calls: f64,
}

impl Demand {
    /// Counts a call for `credits` at a time of the sidecar's clock.
    pub fn note(&mut self, credits: i64, at_ms: i64) {
        if at_ms > self.asked_at_ms {
            let faded = (-((at_ms - self.asked_at_ms) as f64) / LATELY_MS).exp();
            self.lately.fade(faded);
            self.just_now.fade(faded.powi(JUST_NOW_PART));
            self.asked_at_ms = at_ms;
        }
        self.lately.note(credits);
        self.just_now.note(credits);
    }

    /// Returns when the last call was, by the sidecar's clock in milliseconds.
    pub fn asked_at_ms(&self) -> i64 {
        self.asked_at_ms
    }

    /// Returns whether a lease saves store calls at this rate.
    pub fn is_worth_a_lease(&self, terms: &LeaseTerms) -> bool {
        self.lately.calls / LATELY_MS * half(terms) >= CALLS_THAT_PAY
    }

    /// Returns the credits that are likely to be reserved within half a term. This is the long-term rate, or the
    /// short-term rate if that is higher and based on enough calls.
    pub fn expected_credits(&self, terms: &LeaseTerms) -> i64 {
        let lately = self.lately.credits / LATELY_MS;
        let is_reliable = self.just_now.calls >= CALLS_THAT_PAY;
        let just_now = if is_reliable { self.just_now.credits * f64::from(JUST_NOW_PART) / LATELY_MS } else { 0.0 };
        (lately.max(just_now) * half(terms)).ceil() as i64
    }
}

impl DecayingTotals {
    fn note(&mut self, credits: i64) {
        self.credits += credits as f64;
        self.calls += 1.0;
    }

    fn fade(&mut self, to: f64) {
        self.credits *= to;
        self.calls *= to;
    }
}

fn half(terms: &LeaseTerms) -> f64 {
    terms.term_ms as f64 / 2.0
}

/// Returns the size of the next lease, in credits: what is wanted, at most `max_lease_credits`, and at most half of an
/// equal share of what remains among all holders of leases.
///
/// Returns 0 if that is below `least`. Near the limit no leases are granted and every call is written through.
///
/// For example, with 1,000 credits remaining and 4 open leases, an equal share is 250, so a lease has at most 125
/// credits.
pub fn size_lease(wanted: i64, max_lease_credits: i64, remaining: i64, open_leases: usize, least: i64) -> i64 {
    let sharers = i64::try_from(open_leases).unwrap_or(i64::MAX).max(1);
    let share = remaining / sharers.saturating_mul(2);
    let slice = wanted.max(least).min(max_lease_credits).min(share);
    if slice < least { 0 } else { slice }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: LeaseTerms = LeaseTerms { term_ms: 10_000, hold_ms: 120_000 };

    #[test]
    fn demand_is_what_was_asked_for_lately() {
        let mut demand = Demand::default();
        for at_ms in (0..20_000).step_by(10) {
            demand.note(5, at_ms);
        }
        // 100 calls of 5 credits a second are 2,500 credits in half a term.
        let wanted = demand.expected_credits(&TERMS);
        assert!((2_400..=2_600).contains(&wanted), "{wanted}");
        assert!(demand.is_worth_a_lease(&TERMS));
        for at_ms in (20_000..22_000).step_by(2) {
            demand.note(5, at_ms);
        }
        let wanted = demand.expected_credits(&TERMS);
        assert!((11_500..=13_000).contains(&wanted), "a load that is five times as high is seen at once: {wanted}");
        demand.note(5, 60_000);
        assert!(!demand.is_worth_a_lease(&TERMS), "what was asked a minute ago has faded");
    }

    /// A lease leaves other sidecars their share, and there is none near the limit.
    #[test]
    fn a_lease_leaves_others_a_share_and_is_0_near_the_limit() {
        for (wanted, remaining, open_leases, slice) in [
            (2_500, 1_000_000, 1, 2_500),
            (90_000, 1_000_000, 0, 10_000),
            (2_500, 1_000, 0, 500),
            (2_500, 1_000, 4, 125),
            (2_500, 159, 4, 0),
            (1, 1_000, 0, 20),
            (2_500, 0, 0, 0),
        ] {
            assert_eq!(size_lease(wanted, 10_000, remaining, open_leases, 20), slice, "{wanted} of {remaining}");
        }
    }
}
