//! What may happen thousands of times a second and is worth a line in the log only now and then.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use crate::clock::Clock;

/// At most one line in this time.
const PERIOD: Duration = Duration::from_secs(10);

/// Says when the next line is due, and how often it happened since the last one.
#[derive(Debug)]
pub(super) struct LogThrottle {
    next_ms: AtomicI64,
    times: AtomicU64,
}

impl Default for LogThrottle {
    fn default() -> Self {
        Self { next_ms: AtomicI64::new(i64::MIN), times: AtomicU64::new(0) }
    }
}

impl LogThrottle {
    /// It happened. If a line is due: how often it happened since the last one.
    pub(super) fn happened(&self, clock: &Clock) -> Option<u64> {
        self.times.fetch_add(1, Ordering::Relaxed);
        let (now_ms, next_ms) = (clock.monotonic_ms(), self.next_ms.load(Ordering::Relaxed));
        let period_ms = i64::try_from(PERIOD.as_millis()).unwrap_or(i64::MAX);
        let due = now_ms >= next_ms
            && self
                .next_ms
                .compare_exchange(next_ms, now_ms.saturating_add(period_ms), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        due.then(|| self.times.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn the_first_is_told_at_once_and_then_one_in_each_period() {
        let manual = ManualClock::at(0);
        let clock = Clock::Manual(manual.clone());
        let seldom = LogThrottle::default();
        assert_eq!(seldom.happened(&clock), Some(1));
        manual.advance_ms(9_999);
        assert_eq!([seldom.happened(&clock), seldom.happened(&clock)], [None, None]);
        manual.advance_ms(1);
        assert_eq!([seldom.happened(&clock), seldom.happened(&clock)], [Some(3), None]);
    }
}
