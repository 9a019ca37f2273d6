//! Limits how often a line is logged for something that can happen thousands of times a second.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use crate::clock::Clock;

/// Minimum time between two lines.
const PERIOD: Duration = Duration::from_secs(10);

/// Counts occurrences, and says when the next line is due.
#[derive(Debug)]
pub(super) struct LogThrottle {
    next_ms: AtomicI64,
    count: AtomicU64,
}

impl Default for LogThrottle {
    fn default() -> Self {
        Self { next_ms: AtomicI64::new(i64::MIN), count: AtomicU64::new(0) }
    }
}

impl LogThrottle {
    /// Records one occurrence. If a line is due, returns the number of occurrences since the last line.
    pub(super) fn record(&self, clock: &Clock) -> Option<u64> {
        self.count.fetch_add(1, Ordering::Relaxed);
        let (now_ms, next_ms) = (clock.monotonic_ms(), self.next_ms.load(Ordering::Relaxed));
        let period_ms = i64::try_from(PERIOD.as_millis()).unwrap_or(i64::MAX);
        let due = now_ms >= next_ms
            && self
                .next_ms
                .compare_exchange(next_ms, now_ms.saturating_add(period_ms), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        due.then(|| self.count.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn the_first_occurrence_is_due_and_then_one_in_each_period() {
        let manual = ManualClock::at(0);
        let clock = Clock::Manual(manual.clone());
        let throttle = LogThrottle::default();
        assert_eq!(throttle.record(&clock), Some(1));
        manual.advance_ms(9_999);
        assert_eq!([throttle.record(&clock), throttle.record(&clock)], [None, None]);
        manual.advance_ms(1);
        assert_eq!([throttle.record(&clock), throttle.record(&clock)], [Some(3), None]);
    }
}
