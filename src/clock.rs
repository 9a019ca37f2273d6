//! Clocks. Only this module reads the clocks of the machine, so that a test can use a clock that it moves itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};

/// A source of time. Clones of a manual clock share one time.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The clocks of the machine.
    #[default]
    System,
    /// A clock that a test moves.
    Manual(ManualClock),
}

impl Clock {
    /// Returns the wall-clock time in Unix milliseconds. It jumps when the clock of the machine is set.
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

    /// Returns monotonic time in milliseconds since an arbitrary start.
    ///
    /// It also counts the time during which the machine is suspended: a lease must end on time even then.
    pub fn monotonic_ms(&self) -> i64 {
        self.monotonic_ns() / 1_000_000
    }

    /// Returns the same time in nanoseconds, to measure intervals below a millisecond.
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

/// A clock for tests. It stands still until it is moved.
#[derive(Clone, Debug)]
pub struct ManualClock {
    now_ms: Arc<AtomicI64>,
}

impl ManualClock {
    /// Creates a clock at a time in Unix milliseconds.
    pub fn at(now_ms: i64) -> Self {
        Self { now_ms: Arc::new(AtomicI64::new(now_ms)) }
    }

    /// Returns the time in Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    /// Moves the clock forward.
    pub fn advance_ms(&self, milliseconds: i64) {
        self.now_ms.fetch_add(milliseconds, Ordering::SeqCst);
    }

    /// Moves the clock to a time in Unix milliseconds. Does nothing if the clock is past it.
    pub fn advance_to(&self, now_ms: i64) {
        self.now_ms.fetch_max(now_ms, Ordering::SeqCst);
    }
}
