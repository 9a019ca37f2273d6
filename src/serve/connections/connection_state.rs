//! The state of one connection: whether it has begun HTTP/2, which calls it has in flight, how long it has been idle, and whether
//! its client reads what is sent.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use slab::Slab;
use tokio_util::sync::CancellationToken;

use super::http2_preface::{Http2Preface, Protocol};
use crate::clock::Clock;

/// Value of `blocked_since_ms` while nothing waits to be sent.
const NOT_BLOCKED: i64 = i64::MIN;

/// The state of one connection.
#[derive(Debug)]
pub(in crate::serve) struct ConnectionState {
    /// Closes the connection at once.
    pub(in crate::serve) cut: CancellationToken,
    clock: Clock,
    opened_ms: i64,
    preface: Mutex<Http2Preface>,
    /// Since when the client has not read what waits to be sent.
    blocked_since_ms: AtomicI64,
    calls: Mutex<OpenCalls>,
}

#[derive(Debug, Default)]
struct OpenCalls {
    /// When each call in flight began, without streams.
    begun_ms: Slab<i64>,
    /// Number of open streams: calls that may last for as long as the client likes.
    streams: u64,
    /// Whether the connection ever had a call.
    any: bool,
    /// When the latest call ended.
    ended_ms: i64,
}

/// A call in flight, until this is dropped.
#[derive(Debug)]
pub(in crate::serve) struct InFlightCall {
    connection: Arc<ConnectionState>,
    /// Its place among the calls in flight; `None` for a stream.
    key: Option<usize>,
}

/// Eviction rank: when the listener is full, the lowest-ranked connection is closed.
///
/// Connections that never had a call rank lowest, so many idle ones do not push out a client with work to do. Then come
/// those that have been idle for longest. Those with open streams rank highest: a watch of the health or a conversation with
/// reflection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EvictionRank {
    has_streams: bool,
    had_calls: bool,
    idle_since_ms: i64,
}

impl ConnectionState {
    pub(in crate::serve) fn new(cut: CancellationToken, clock: Clock, protocol: Protocol) -> Self {
        Self {
            cut,
            opened_ms: clock.monotonic_ms(),
            clock,
            preface: Mutex::new(Http2Preface::new(protocol)),
            blocked_since_ms: AtomicI64::new(NOT_BLOCKED),
            calls: Mutex::default(),
        }
    }

    /// Takes the first bytes that the client sent, and returns whether the HTTP/2 preface is complete.
    pub(super) fn read_preface(&self, bytes: &[u8]) -> bool {
        lock(&self.preface).read(bytes)
    }

    /// Returns what the client seems to speak instead of HTTP, unless it has sent the whole preface.
    pub(in crate::serve) fn other_protocol(&self) -> Option<&'static str> {
        lock(&self.preface).other_protocol()
    }

    /// Records whether something waits to be sent because the client does not read.
    pub(super) fn set_blocked(&self, is_blocked: bool) {
        let since_ms = self.blocked_since_ms.load(Ordering::Relaxed);
        if is_blocked != (since_ms != NOT_BLOCKED) {
            let since_ms = if is_blocked { self.clock.monotonic_ms() } else { NOT_BLOCKED };
            self.blocked_since_ms.store(since_ms, Ordering::Relaxed);
        }
    }

    /// Begins a call that has to end in time.
    pub(in crate::serve) fn begin_call(self: &Arc<Self>) -> InFlightCall {
        let begun_ms = self.clock.monotonic_ms();
        let mut calls = lock(&self.calls);
        calls.any = true;
        let key = calls.begun_ms.insert(begun_ms);
        InFlightCall { connection: Arc::clone(self), key: Some(key) }
    }

    /// Begins a stream, which may last for as long as the client likes.
    pub(in crate::serve) fn begin_stream(self: &Arc<Self>) -> InFlightCall {
        let mut calls = lock(&self.calls);
        calls.any = true;
        calls.streams += 1;
        InFlightCall { connection: Arc::clone(self), key: None }
    }

    /// Returns the eviction rank, or `None` while calls other than streams are in flight: then the connection is not evicted.
    pub(super) fn eviction_rank(&self) -> Option<EvictionRank> {
        let calls = lock(&self.calls);
        let is_idle = calls.begun_ms.is_empty();
        let had_calls = calls.any;
        let idle_since_ms = if had_calls { calls.ended_ms } else { self.opened_ms };
        is_idle.then_some(EvictionRank { has_streams: calls.streams > 0, had_calls, idle_since_ms })
    }

    /// Returns whether calls other than streams are in flight.
    pub(in crate::serve) fn has_calls(&self) -> bool {
        !lock(&self.calls).begun_ms.is_empty()
    }

    /// Returns the age of the connection in milliseconds.
    pub(super) fn age_ms(&self) -> i64 {
        self.clock.monotonic_ms() - self.opened_ms
    }

    /// Returns for how many milliseconds the client has not read what waits to be sent.
    pub(super) fn blocked_ms(&self) -> i64 {
        match self.blocked_since_ms.load(Ordering::Relaxed) {
            NOT_BLOCKED => 0,
            since_ms => self.clock.monotonic_ms() - since_ms,
        }
    }

    /// Returns for how many milliseconds the oldest call has been in flight, without streams.
    pub(super) fn oldest_call_ms(&self) -> i64 {
        let oldest_ms = lock(&self.calls).begun_ms.iter().map(|(_, begun_ms)| *begun_ms).min();
        oldest_ms.map_or(0, |begun_ms| self.clock.monotonic_ms() - begun_ms)
    }
}

impl Drop for InFlightCall {
    fn drop(&mut self) {
        let ended_ms = self.connection.clock.monotonic_ms();
        let mut calls = lock(&self.connection.calls);
        match self.key {
            Some(key) => {
                calls.begun_ms.try_remove(key);
            }
            None => calls.streams = calls.streams.saturating_sub(1),
        }
        calls.ended_ms = ended_ms;
    }
}

/// Nothing that holds one of these locks can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn connection(clock: &ManualClock) -> Arc<ConnectionState> {
        Arc::new(ConnectionState::new(CancellationToken::new(), Clock::Manual(clock.clone()), Protocol::Http2))
    }

    /// A connection that never had a call ranks below one that had; among equals the one that was idle for longer ranks lower.
    #[test]
    fn unused_and_long_idle_connections_rank_lowest() {
        let clock = ManualClock::at(0);
        let used_first = connection(&clock);
        drop(used_first.begin_call());
        clock.advance_ms(1);
        let used_then = connection(&clock);
        drop(used_then.begin_stream());
        clock.advance_ms(1);
        let (unused, newer_unused) = (connection(&clock), {
            clock.advance_ms(1);
            connection(&clock)
        });
        let ranks = [&unused, &newer_unused, &used_first, &used_then].map(|state| state.eviction_rank().unwrap());
        assert!(ranks.is_sorted(), "{ranks:?}");
    }

    #[test]
    fn a_connection_with_a_call_in_flight_has_no_rank() {
        let clock = ManualClock::at(0);
        let connection = connection(&clock);
        let call = connection.begin_call();
        let stream = connection.begin_stream();
        clock.advance_ms(5);
        assert_eq!((connection.eviction_rank(), connection.oldest_call_ms()), (None, 5));
        drop(call);
        let with_stream = connection.eviction_rank().unwrap();
        assert_eq!(connection.oldest_call_ms(), 0);
        drop(stream);
        assert!(connection.eviction_rank().unwrap() < with_stream, "one with a stream ranks highest");
    }

    #[test]
    fn a_client_is_blocked_until_it_reads_again() {
        let clock = ManualClock::at(0);
        let connection = connection(&clock);
        connection.set_blocked(true);
        clock.advance_ms(3);
        connection.set_blocked(true);
        clock.advance_ms(3);
        assert_eq!(connection.blocked_ms(), 6);
        connection.set_blocked(false);
        assert_eq!(connection.blocked_ms(), 0);
    }
}
