//! What the store's clock shows, as far as the replies tell. A guess: transactions carry it as a guard.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use crate::{clock::Clock, domain::lease::CLOCK_MARGIN_MS};

/// Two clocks may drift apart by one part in so many.
const DRIFT_PART: i64 = 2_000;

/// No clock jumped yet.
const NEVER: i64 = i64::MIN;

/// The store's time, carried on by our own monotonic clock.
#[derive(Debug)]
pub(crate) struct StoreTime {
    clock: Clock,
    /// The store's time less our monotonic time, in milliseconds.
    ahead_ms: AtomicI64,
    bounds: Mutex<Bounds>,
    /// When the two were seen to have jumped apart, in milliseconds of our clock.
    jumped_ms: AtomicI64,
}

/// How far the store's clock is ahead of ours, as far as all replies together tell: each was given between the asking
/// and its coming.
#[derive(Debug)]
struct Bounds {
    least_ms: i64,
    most_ms: i64,
    /// When that was so, in milliseconds of our clock.
    at_ms: i64,
}

impl StoreTime {
    /// Before the first reply it is as good as this machine's time of day.
    pub(crate) fn new(clock: Clock) -> Self {
        let at_ms = clock.monotonic_ms();
        let ahead_ms = AtomicI64::new(clock.now_ms() - at_ms);
        // Nothing is known yet, so that no reply can contradict it.
        let bounds = Mutex::new(Bounds { least_ms: i64::MIN / 4, most_ms: i64::MAX / 4, at_ms });
        Self { clock, ahead_ms, bounds, jumped_ms: AtomicI64::new(NEVER) }
    }

    /// A reply to what was asked at a time of our clock, and answered at another, showed this time, in Unix
    /// milliseconds. Whether the two clocks have jumped apart since the last one.
    pub(crate) fn learn(&self, asked_ms: i64, at_ms: i64, now_ms: i64) -> bool {
        let (least_ms, most_ms) = (now_ms - at_ms, now_ms - asked_ms);
        let mut bounds = self.bounds.lock().unwrap_or_else(PoisonError::into_inner);
        let drift_ms = (at_ms - bounds.at_ms) / DRIFT_PART + 1;
        let (low_ms, high_ms) = (bounds.least_ms - drift_ms, bounds.most_ms + drift_ms);
        let has_jumped = least_ms > high_ms + CLOCK_MARGIN_MS || most_ms < low_ms - CLOCK_MARGIN_MS;
        let is_apart = least_ms > high_ms || most_ms < low_ms;
        let (low_ms, high_ms) =
            if is_apart { (least_ms, most_ms) } else { (low_ms.max(least_ms), high_ms.min(most_ms)) };
        *bounds = Bounds { least_ms: low_ms, most_ms: high_ms, at_ms };
        if has_jumped {
            self.jumped_ms.store(at_ms, Ordering::Relaxed);
        }
        self.ahead_ms.store(low_ms, Ordering::Relaxed);
        has_jumped
    }

    /// The guess, in Unix milliseconds: what the store's clock shows at least.
    pub(crate) fn now_ms(&self) -> i64 {
        self.at(self.clock.monotonic_ms())
    }

    /// The guess for a time of our clock, in milliseconds.
    pub(crate) fn at(&self, at_ms: i64) -> i64 {
        at_ms + self.ahead_ms.load(Ordering::Relaxed)
    }

    /// Whether the clocks jumped apart within so many milliseconds.
    pub(crate) fn jumped_within_ms(&self, span_ms: i64) -> bool {
        let jumped_ms = self.jumped_ms.load(Ordering::Relaxed);
        jumped_ms != NEVER && self.clock.monotonic_ms() - jumped_ms < span_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn a_late_reply_is_no_jump_and_a_clock_that_was_set_is_one() {
        let clock = ManualClock::at(1_000);
        let time = StoreTime::new(Clock::Manual(clock.clone()));
        let learn = |asked_ms, now_ms| time.learn(asked_ms, clock.now_ms(), now_ms);
        assert!(!learn(1_000, 500_000), "the first reply contradicts nothing");
        clock.advance_ms(10_000);
        // Asked at 1,005, and answered then; it was read ten seconds later.
        assert!(!learn(1_005, 500_005));
        assert_eq!(time.now_ms(), 509_994, "and the guess is not set back by it, but for what clocks may drift");
        assert!(!learn(11_000, 510_500), "half a second is within the margin");
        assert!(!time.jumped_within_ms(1_000_000));
        assert!(learn(11_000, 512_000), "a second and a half is not");
        assert_eq!(time.now_ms(), 512_000);
        clock.advance_ms(500);
        assert!(time.jumped_within_ms(501) && !time.jumped_within_ms(500));
        assert!(learn(11_500, 400_000), "nor is a clock that was set back");
    }
}
