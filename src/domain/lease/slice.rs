//! How much a lease is to be of, and whether one pays: from what a team asks for, and what remains of its allotment.

use super::LeaseTerms;

/// What was asked for counts for so long, in milliseconds; older demand fades.
const REMEMBERED_MS: f64 = 4_000.0;

/// A lease pays if so many calls are likely to be drawn from it within half its term. It costs two calls of the store, one to take
/// and one to give back; and a few calls in a row are no reason to expect more.
const CALLS_THAT_PAY: f64 = 8.0;

/// What a team asks of one sidecar, lately.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Demand {
    /// Credits per millisecond, fading.
    credits_per_ms: f64,
    /// Calls per millisecond, fading.
    calls_per_ms: f64,
    /// The last call, by the sidecar's clock, in milliseconds.
    asked_at_ms: i64,
}

impl Demand {
    /// One more call asks for so many credits, at a time of the sidecar's clock.
    pub fn note(&mut self, credits: i64, at_ms: i64) {
        if at_ms > self.asked_at_ms {
            let faded = self.faded(at_ms);
            self.credits_per_ms *= faded;
            self.calls_per_ms *= faded;
            self.asked_at_ms = at_ms;
        }
        self.credits_per_ms += credits as f64 / REMEMBERED_MS;
        self.calls_per_ms += 1.0 / REMEMBERED_MS;
    }

    /// When the last call was, by the sidecar's clock.
    pub fn asked_at_ms(&self) -> i64 {
        self.asked_at_ms
    }

    /// Whether leases pay at this rate.
    pub fn pays(&self, terms: &LeaseTerms) -> bool {
        self.calls_per_ms * (terms.term_ms as f64 / 2.0) >= CALLS_THAT_PAY
    }

    /// The credits that are likely to be asked for within half a term.
    pub fn within_half_a_term(&self, terms: &LeaseTerms) -> i64 {
        (self.credits_per_ms * (terms.term_ms as f64 / 2.0)).ceil() as i64
    }

    fn faded(&self, at_ms: i64) -> f64 {
        (-((at_ms - self.asked_at_ms) as f64) / REMEMBERED_MS).exp()
    }
}

/// The credits of the next lease: what is wanted, at most `max_slice_credits`, and at most half of an equal share of what remains
/// among all that have one. 0 if that is less than a few calls': near the limit every call is written through.
pub fn slice_credits(wanted: i64, max_slice_credits: i64, remaining: i64, open_leases: usize, least: i64) -> i64 {
    let sharers = i64::try_from(open_leases).unwrap_or(i64::MAX).max(1);
    let share = remaining / sharers.saturating_mul(2);
    let slice = wanted.max(least).min(max_slice_credits).min(share);
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
        let wanted = demand.within_half_a_term(&TERMS);
        assert!((2_400..=2_600).contains(&wanted), "{wanted}");
        assert!(demand.pays(&TERMS));
        demand.note(5, 60_000);
        assert!(!demand.pays(&TERMS), "what was asked a minute ago has faded");
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
            assert_eq!(slice_credits(wanted, 10_000, remaining, open_leases, 20), slice, "{wanted} of {remaining}");
        }
    }
}
