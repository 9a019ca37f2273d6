//! How a store is opened.

use std::time::Duration;

use crate::clock::Clock;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The store's clock. With the system's clock, the Redis store takes the time of its server.
    pub clock: Clock,
    /// Whether to refuse a Redis server that writes no append-only file.
    pub require_aof: bool,
    /// Timeout of a call to a store on a server or on a disk. After it, the outcome of the call is unknown.
    pub wait: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { clock: Clock::default(), require_aof: false, wait: Duration::from_millis(250) }
    }
}
