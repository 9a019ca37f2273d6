//! An estimate of the store's clock, from the times in its replies. Transactions carry it as a guard, so a wrong
//! estimate only costs another attempt.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use crate::{clock::Clock, domain::lease::CLOCK_MARGIN_MS};

/// Maximum drift between the two clocks: one part in this many, which is 0.05%.
const DRIFT_PART: i64 = 2_000;

/// Stands for: no jump was seen yet.
const NEVER: i64 = i64::MIN;

/// The store's time, as an offset from the sidecar's monotonic clock.
#[derive(Debug)]
pub(crate) struct StoreTime {
    clock: Clock,
    /// Lower bound of the offset: the store's time less the sidecar's monotonic time, in milliseconds.
    offset_ms: AtomicI64,
    bounds: Mutex<OffsetBounds>,
    /// When the two clocks were last seen to have jumped apart, in milliseconds of the sidecar's clock.
    jumped_ms: AtomicI64,
}

/// The interval that contains the offset, according to all replies.
#[derive(Debug)]
struct OffsetBounds {
    low_ms: i64,
    high_ms: i64,
    /// When the last reply was received, in milliseconds of the sidecar's clock.
    at_ms: i64,
}

impl StoreTime {
    /// Starts with the time of day of this machine, until the first reply.
    pub(crate) fn new(clock: Clock) -> Self {
        let at_ms = clock.monotonic_ms();
        let offset_ms = AtomicI64::new(clock.now_ms() - at_ms);
        // The interval contains every offset, so that the first reply is no jump.
        let bounds = Mutex::new(OffsetBounds { low_ms: i64::MIN / 4, high_ms: i64::MAX / 4, at_ms });
        Self { clock, offset_ms, bounds, jumped_ms: AtomicI64::new(NEVER) }
    }

    /// Learns from one reply: the request was sent at `sent_ms` and the reply was received at `received_ms` of the
    /// sidecar's clock, and the store's clock showed `store_ms`. Returns whether the two clocks have jumped apart since
    /// the last reply.
    ///
    /// The store read its clock at some moment between the sending and the receiving. So one reply proves that the
    /// offset lies in `[store_ms - received_ms, store_ms - sent_ms]`, and all replies together prove that it lies in
    /// the intersection of their intervals. Before each intersection the known interval is widened by what the clocks
    /// may have drifted since.
    ///
    /// Example, in milliseconds. The known interval is `[5000, 5004]`.
    ///
    /// | request | reply's interval | known interval, widened | result |
    /// |---|---|---|---|
    /// | sent at 1000, received at 1002, store shows 6003 | `[5001, 5003]` | `[4999, 5005]` | `[5001, 5003]`: narrower, no jump |
    /// | sent at 1010, received at 9010 (slow), store shows 6012 | `[-2998, 5002]` | `[4996, 5008]` | `[4996, 5002]`: a slow reply teaches little, and is no jump |
    /// | sent at 9020, received at 9021, store shows 14620 | `[5599, 5600]` | `[4995, 5003]` | `[5599, 5600]`: apart by 596, within [`CLOCK_MARGIN_MS`]; the new interval replaces the old one |
    /// | sent at 9030, received at 9031, store shows 17030 | `[7999, 8000]` | `[5598, 5601]` | `[7999, 8000]`: apart by 2398, more than the margin; a jump |
    ///
    /// The estimate uses the lower end of the interval, so it is never ahead of the store's clock unless that clock was
    /// set back.
    pub(crate) fn learn(&self, sent_ms: i64, received_ms: i64, store_ms: i64) -> bool {
        let (reply_low_ms, reply_high_ms) = (store_ms - received_ms, store_ms - sent_ms);
        let mut bounds = self.bounds.lock().unwrap_or_else(PoisonError::into_inner);
        let drift_ms = (received_ms - bounds.at_ms) / DRIFT_PART + 1;
        let (known_low_ms, known_high_ms) = (bounds.low_ms - drift_ms, bounds.high_ms + drift_ms);
        let is_apart_by_more_than =
            |margin_ms| reply_low_ms > known_high_ms + margin_ms || reply_high_ms < known_low_ms - margin_ms;
        let has_jumped = is_apart_by_more_than(CLOCK_MARGIN_MS);
        let (low_ms, high_ms) = if is_apart_by_more_than(0) {
            (reply_low_ms, reply_high_ms)
        } else {
            (known_low_ms.max(reply_low_ms), known_high_ms.min(reply_high_ms))
        };
        *bounds = OffsetBounds { low_ms, high_ms, at_ms: received_ms };
        if has_jumped {
            self.jumped_ms.store(received_ms, Ordering::Relaxed);
        }
        self.offset_ms.store(low_ms, Ordering::Relaxed);
        has_jumped
    }

    /// Returns the estimate, in Unix milliseconds: the earliest time that the store's clock can show now.
    pub(crate) fn now_ms(&self) -> i64 {
        self.at(self.clock.monotonic_ms())
    }

    /// Returns the estimate for a time of the sidecar's clock, in milliseconds.
    pub(crate) fn at(&self, at_ms: i64) -> i64 {
        at_ms + self.offset_ms.load(Ordering::Relaxed)
    }

    /// Returns whether the clocks have jumped apart within the last `span_ms` milliseconds.
    pub(crate) fn jumped_within_ms(&self, span_ms: i64) -> bool {
        let jumped_ms = self.jumped_ms.load(Ordering::Relaxed);
        jumped_ms != NEVER && self.clock.monotonic_ms() - jumped_ms < span_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    /// The example in the documentation of [`StoreTime::learn`].
    #[test]
    fn the_worked_example_holds() {
        let clock = ManualClock::at(0);
        let time = StoreTime::new(Clock::Manual(clock.clone()));
        let bounds = || {
            let bounds = time.bounds.lock().unwrap();
            (bounds.low_ms, bounds.high_ms)
        };
        time.learn(996, 1_000, 6_000);
        assert_eq!(bounds(), (5_000, 5_004));
        assert!(!time.learn(1_000, 1_002, 6_003));
        assert_eq!(bounds(), (5_001, 5_003));
        assert!(!time.learn(1_010, 9_010, 6_012));
        assert_eq!(bounds(), (4_996, 5_002));
        assert!(!time.learn(9_020, 9_021, 14_620));
        assert_eq!(bounds(), (5_599, 5_600));
        assert!(time.learn(9_030, 9_031, 17_030));
        assert_eq!(bounds(), (7_999, 8_000));
    }

    /// A reply that was read late is no jump of the clocks. A clock that was set is one.
    #[test]
    fn a_late_reply_is_no_jump_and_a_set_clock_is_one() {
        let clock = ManualClock::at(1_000);
        let time = StoreTime::new(Clock::Manual(clock.clone()));
        let learn = |sent_ms, store_ms| time.learn(sent_ms, clock.now_ms(), store_ms);
        assert!(!learn(1_000, 500_000), "the first reply contradicts nothing");
        clock.advance_ms(10_000);
        // Sent and answered at 1,005, and read ten seconds later.
        assert!(!learn(1_005, 500_005));
        assert_eq!(time.now_ms(), 509_994, "the estimate is set back only by what clocks may drift");
        assert!(!learn(11_000, 510_500), "half a second is within the margin");
        assert!(!time.jumped_within_ms(1_000_000));
        assert!(learn(11_000, 512_000), "a second and a half is not");
        assert_eq!(time.now_ms(), 512_000);
        clock.advance_ms(500);
        assert!(time.jumped_within_ms(501) && !time.jumped_within_ms(500));
        assert!(learn(11_500, 400_000), "nor is a clock that was set back");
    }
}
