//! Time. The only place that reads the machine's clocks, so that a test can hold time still and move it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};

/// A source of time; clones of a manual clock share it.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clocks.
    #[default]
    System,
    /// A clock that stands still until it is moved.
    Manual(ManualClock),
}

impl Clock {
    /// The time of day, in Unix milliseconds. It can jump when somebody sets the machine's clock.
    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now_ms(&self) -> i64 {
        match self {
            Self::System => match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(since_epoch) => i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX),
                Err(_) => 0,
            },
            Self::Manual(clock) => clock.now_ms(),
        }
    }

    /// Milliseconds since some moment before this process. It never goes back, and goes on while the machine sleeps: what was
    /// granted for a while is over after it, whoever slept meanwhile.
    pub fn monotonic_ms(&self) -> i64 {
        self.monotonic_ns() / 1_000_000
    }

    /// Nanoseconds since the same moment, to measure what takes less than a millisecond.
    pub fn monotonic_ns(&self) -> i64 {
        match self {
            Self::System => {
                let since_boot = clock_gettime(ClockId::Boottime);
                since_boot.tv_sec * 1_000_000_000 + since_boot.tv_nsec
            }
            Self::Manual(clock) => clock.now_ms().saturating_mul(1_000_000),
        }
    }
}

/// A clock that stands still until it is moved.
#[derive(Clone, Debug)]
pub struct ManualClock {
    now_ms: Arc<AtomicI64>,
}

impl ManualClock {
    /// A clock that shows this time, in Unix milliseconds.
    pub fn at(now_ms: i64) -> Self {
        Self { now_ms: Arc::new(AtomicI64::new(now_ms)) }
    }

    /// The time it shows, in Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    /// Moves it forward.
    pub fn advance_ms(&self, milliseconds: i64) {
        self.now_ms.fetch_add(milliseconds, Ordering::SeqCst);
    }

    /// Moves it to this time, in Unix milliseconds, if it does not show a later one.
    pub fn advance_to(&self, now_ms: i64) {
        self.now_ms.fetch_max(now_ms, Ordering::SeqCst);
    }
}
