//! What one listener lets in, so that no client takes the sidecar's memory or time from the others.

use std::time::Duration;

/// What one listener lets in. Each listener has these limits for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest request that is read, in bytes: far above any that the contract allows, but for a rate card of hundreds
    /// of models.
    pub max_message_bytes: u32,
    /// The largest list of headers of one call, in bytes. A trace context and a bearer token take about two thousand.
    pub max_header_bytes: u32,
    /// How many calls one connection may have in flight.
    pub max_calls_per_connection: u32,
    /// How many calls all connections may have in flight. More are told to come again, before memory grows.
    pub max_calls: u32,
    /// How many connections are open at once. One more takes the place of the one that has been silent for longest.
    pub max_connections: u32,
    /// How long a new connection has to send its first bytes of HTTP/2.
    pub handshake_timeout: Duration,
    /// A silent connection is asked this often whether its client is still there.
    pub keepalive_interval: Duration,
    /// How long a client has to answer that question.
    pub keepalive_timeout: Duration,
    /// After so long a connection is asked to end once its calls are answered, so that clients find new sidecars.
    pub max_connection_age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_bytes: 64 * 1024,
            max_header_bytes: 16 * 1024,
            max_calls_per_connection: 1_024,
            max_calls: 4_096,
            max_connections: 1_024,
            handshake_timeout: Duration::from_secs(5),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            max_connection_age: Duration::from_secs(3_600),
        }
    }
}
