//! How much a lease is to be of, and whether one pays: from what a team asks for, and what remains of its allotment.

use super::LeaseTerms;

/// What was asked for lately counts for so long, in milliseconds; older demand fades.
const LATELY_MS: f64 = 4_000.0;

/// What was asked for just now counts for a part of that, so that a load which grows is seen before leases run dry.
const JUST_NOW_PART: i32 = 8;

/// A lease pays if so many calls are likely to be drawn from it within half its term. It costs two calls of the store, one to take
/// and one to give back; and a few calls in a row are no reason to expect more.
const CALLS_THAT_PAY: f64 = 8.0;

/// What a team asks of one sidecar.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Demand {
    lately: DecayingTotals,
    just_now: DecayingTotals,
    /// The last call, by the sidecar's clock, in milliseconds.
    asked_at_ms: i64,
}

/// What was asked for, fading.
#[derive(Clone, Debug, Default, PartialEq)]
struct DecayingTotals {
    credits: f64,
    calls: f64,
}

impl Demand {
    /// One more call asks for so many credits, at a time of the sidecar's clock.
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

    /// When the last call was, by the sidecar's clock.
    pub fn asked_at_ms(&self) -> i64 {
        self.asked_at_ms
    }

    /// Whether leases pay at this rate.
    pub fn is_worth_a_lease(&self, terms: &LeaseTerms) -> bool {
        self.lately.calls / LATELY_MS * half(terms) >= CALLS_THAT_PAY
    }

    /// The credits that are likely to be asked for within half a term: as lately or, if that is more, as just now, where calls were
    /// many enough to tell.
    pub fn expected_credits(&self, terms: &LeaseTerms) -> i64 {
        let lately = self.lately.credits / LATELY_MS;
        let tells = self.just_now.calls >= CALLS_THAT_PAY;
        let just_now = if tells { self.just_now.credits * f64::from(JUST_NOW_PART) / LATELY_MS } else { 0.0 };
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

/// The credits of the next lease: what is wanted, at most `max_lease_credits`, and at most half of an equal share of what remains
/// among all that have one. 0 if that is less than a few calls': near the limit every call is written through.
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
        // 100 calls of 5 credits a second: 2,500 credits in half a term.
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

    #[test]
    fn a_lease_leaves_others_their_share_and_is_none_near_the_limit() {
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
