//! What one listener lets in, so that no client takes the sidecar's memory or time from the others.

use std::time::Duration;

/// What one listener lets in. Each listener has these limits for itself.
///
/// Together they bound its memory, whatever clients send: each connection by its window and buffers, 1 KiB for each call it
/// may have in flight and 64 KiB besides; each call by a message, its headers and an answer that nobody takes, twice
/// `max_message_bytes` and `max_header_bytes`. With what it ships with that is 80 MiB, and 160 MiB for calls, as much for checks of
/// the health, and 40 MiB for streams, if all of them are as large as they may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest request that is read, in bytes: far above any that the contract allows, but for a rate card of hundreds
    /// of models.
    pub max_message_bytes: u32,
    /// The largest list of headers of one call, in bytes. A trace context and a bearer token take about two thousand.
    pub max_header_bytes: u32,
    /// How many calls one connection may have in flight: a quarter of all, so that it takes four to crowd out the others.
    pub max_calls_per_connection: u32,
    /// How many calls all connections may have in flight. More are told to come again, before memory grows. At a
    /// millisecond each, this many are a million a second.
    pub max_calls: u32,
    /// How many watches of the health and conversations with reflection may be open. They last for as long as the client
    /// likes, so they are counted apart.
    pub max_streams: u32,
    /// How long a call may take to arrive and be answered, and its answer to be taken. A client's own deadline is mostly
    /// shorter; this one ends those that send or read a byte at a time.
    pub max_call_time: Duration,
    /// How many connections are open at once. One more takes the place of the one that has been silent for longest.
    pub max_connections: u32,
    /// How long a new connection has to send its first bytes of HTTP/2.
    pub handshake_timeout: Duration,
    /// A silent connection is asked this often whether its client is still there.
    pub keepalive_interval: Duration,
    /// How long a client has to answer that question, and to take what is sent to it.
    pub keepalive_timeout: Duration,
    /// After so long, give or take a tenth, a connection is asked to end once its calls are answered, so that clients find
    /// new sidecars. It is cut after `max_call_time` more.
    pub max_connection_age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_bytes: 64 * 1024,
            max_header_bytes: 16 * 1024,
            max_calls_per_connection: 256,
            max_calls: 1_024,
            max_streams: 256,
            max_call_time: Duration::from_secs(10),
            max_connections: 256,
            handshake_timeout: Duration::from_secs(5),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            max_connection_age: Duration::from_secs(3_600),
        }
    }
}
