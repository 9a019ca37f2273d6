//! The limits of a listener, so that no client can take the sidecar's memory or time from the others.

use std::time::Duration;

/// The limits of one listener. Each listener has its own.
///
/// Together they bound the listener's memory, whatever clients send:
///
/// - A connection takes at most 1 KiB for each call that it may have in flight, and 64 KiB for its windows and buffers. With the
///   defaults that is 80 MiB for all connections.
/// - A call takes at most twice `max_message_bytes` and `max_header_bytes`: for its message and headers, and for a response that
///   its client does not read. With the defaults that is 160 MiB for calls, 160 MiB for health checks, and 40 MiB for streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum size of a request message in bytes. Only a rate card with hundreds of models comes near the default.
    pub max_message_bytes: u32,
    /// Maximum size of a call's headers in bytes. A trace context and a bearer token take about 2,000 bytes.
    pub max_header_bytes: u32,
    /// Maximum number of calls in flight on one connection. The default is a quarter of `max_calls`, so it takes four connections
    /// to use them all.
    pub max_calls_per_connection: u32,
    /// Maximum number of calls in flight on all connections. Further calls fail with RESOURCE_EXHAUSTED before memory grows. If
    /// each call takes a millisecond, the default allows a million calls per second.
    pub max_calls: u32,
    /// Maximum number of open streams: watches of the health and conversations with reflection. They last for as long as the
    /// client likes, so they have a limit of their own.
    pub max_streams: u32,
    /// How long a call may take to arrive and be answered, and then how long its client may take to read the response. A client's
    /// own deadline is usually shorter. This one ends clients that send or read one byte at a time.
    pub max_call_time: Duration,
    /// Maximum number of open connections. One more evicts the connection that has been idle for longest.
    pub max_connections: u32,
    /// How long a new connection has to complete its TLS handshake and begin HTTP/2.
    pub handshake_timeout: Duration,
    /// How long a connection may be silent before it is pinged.
    pub keepalive_interval: Duration,
    /// How long a client has to answer a ping, and to read what is sent to it.
    pub keepalive_timeout: Duration,
    /// Maximum age of a connection, plus or minus a tenth. It is then asked to end when its calls are answered, so that clients
    /// find new sidecars, and is closed after another `max_call_time`.
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
