//! What tests share: real servers to talk to, and waiting for a condition with a bound.

pub(crate) mod proxy;
pub(crate) mod servers;

use std::time::Duration;

use tollgate::clock::Clock;

/// How long a test waits for what should happen almost at once. Only a failing test waits for all of it.
const PATIENCE_MS: i64 = 20_000;

/// Waits until the condition holds. Panics, naming what it waited for, if it does not in time.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun_ms = Clock::System.monotonic_ms();
    while !condition() {
        assert!(Clock::System.monotonic_ms() - begun_ms < PATIENCE_MS, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
