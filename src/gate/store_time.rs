//! What the store's clock shows, as far as the last reply tells. A guess: transactions carry it as a guard.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::clock::Clock;

/// The store's time, carried on by our own monotonic clock.
#[derive(Debug)]
pub(crate) struct StoreTime {
    clock: Clock,
    /// The store's time less our monotonic time, in milliseconds.
    ahead_ms: AtomicI64,
}

impl StoreTime {
    /// Before the first reply it is as good as this machine's time of day.
    pub(crate) fn new(clock: Clock) -> Self {
        let ahead_ms = AtomicI64::new(clock.now_ms() - clock.monotonic_ms());
        Self { clock, ahead_ms }
    }

    /// A reply showed this time, in Unix milliseconds.
    pub(crate) fn learn(&self, now_ms: i64) {
        self.ahead_ms.store(now_ms - self.clock.monotonic_ms(), Ordering::Relaxed);
    }

    /// The guess, in Unix milliseconds.
    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.monotonic_ms() + self.ahead_ms.load(Ordering::Relaxed)
    }
}
