//! How a store is opened.

use std::time::Duration;

use crate::clock::Clock;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The store's clock. With the system's clock, the Redis store takes the time of its server.
    pub clock: Clock,
    /// Refuse a Redis server that does not log its changes to disk.
    pub require_aof: bool,
    /// The longest that a call to a store outside this process, or on a disk, waits for its answer. After that the outcome is
    /// unknown.
    pub wait: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { clock: Clock::default(), require_aof: false, wait: Duration::from_millis(250) }
    }
}
