//! What is known of one connection while it lasts: whether it ever spoke HTTP/2, what it has in flight, how long it has been
//! silent, and whether it takes what is sent to it.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use slab::Slab;
use tokio_util::sync::CancellationToken;

use super::http2_preface::Http2Preface;
use crate::{clock::Clock, serve::calls::CallSlot};

/// Written while nothing waits to be sent.
const NOTHING_WAITS: i64 = i64::MIN;

/// What is known of one connection.
#[derive(Debug)]
pub(in crate::serve) struct ConnectionState {
    /// Cuts it at once.
    pub(in crate::serve) cut: CancellationToken,
    clock: Clock,
    opened_ms: i64,
    greeting: Mutex<Http2Preface>,
    /// Since when the client has not taken what waits to be sent.
    blocked_since_ms: AtomicI64,
    calls: Mutex<OpenCalls>,
}

#[derive(Debug, Default)]
struct OpenCalls {
    /// When each call began that is in flight and may not last for ever.
    begun_ms: Slab<i64>,
    /// How many are open that may.
    streams: u64,
    /// Whether there have been any.
    any: bool,
    /// When the latest one ended.
    ended_ms: i64,
}

/// A call in flight: it takes a place of those that all connections share, until it is dropped.
#[derive(Debug)]
pub(in crate::serve) struct InFlightCall {
    vitals: Arc<ConnectionState>,
    /// Of a call that may not last for ever: where it is among them.
    key: Option<usize>,
    _place: CallSlot,
}

/// How little is lost with a connection: of two, the lesser one is to go. Those that never asked anything go first, so that
/// a crowd of idle ones does not push out who has work to do; then those that have been silent for longest; last those that watch the
/// health or talk with reflection, which can be taken up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::serve) struct EvictionRank {
    has_streams: bool,
    has_asked: bool,
    silent_since_ms: i64,
}

impl ConnectionState {
    pub(in crate::serve) fn new(cut: CancellationToken, clock: Clock) -> Self {
        Self {
            cut,
            opened_ms: clock.monotonic_ms(),
            clock,
            greeting: Mutex::default(),
            blocked_since_ms: AtomicI64::new(NOTHING_WAITS),
            calls: Mutex::default(),
        }
    }

    /// Takes note of what the client sent first; whether that is all of the greeting.
    pub(in crate::serve) fn greeted(&self, bytes: &[u8]) -> bool {
        lock(&self.greeting).read(bytes)
    }

    /// What the client spoke instead of HTTP/2, if it has not completed its greeting.
    pub(in crate::serve) fn spoke_instead(&self) -> Option<&'static str> {
        lock(&self.greeting).spoke_instead()
    }

    /// The client does not take what waits to be sent, or takes it again.
    pub(in crate::serve) fn waits_to_send(&self, waits: bool) {
        let known = self.blocked_since_ms.load(Ordering::Relaxed);
        if waits != (known != NOTHING_WAITS) {
            let since_ms = if waits { self.clock.monotonic_ms() } else { NOTHING_WAITS };
            self.blocked_since_ms.store(since_ms, Ordering::Relaxed);
        }
    }

    /// A call begins that may not last for ever.
    pub(in crate::serve) fn begin_call(self: &Arc<Self>, place: CallSlot) -> InFlightCall {
        let begun_ms = self.clock.monotonic_ms();
        let mut calls = lock(&self.calls);
        calls.any = true;
        let key = calls.begun_ms.insert(begun_ms);
        InFlightCall { vitals: Arc::clone(self), key: Some(key), _place: place }
    }

    /// A call begins that may.
    pub(in crate::serve) fn begin_stream(self: &Arc<Self>, place: CallSlot) -> InFlightCall {
        let mut calls = lock(&self.calls);
        calls.any = true;
        calls.streams += 1;
        InFlightCall { vitals: Arc::clone(self), key: None, _place: place }
    }

    /// How little is lost with it; `None` while calls are in flight that may not last for ever.
    pub(in crate::serve) fn worth(&self) -> Option<EvictionRank> {
        let calls = lock(&self.calls);
        let idle = calls.begun_ms.is_empty();
        let has_streams = calls.streams > 0;
        let has_asked = calls.any;
        let silent_since_ms = if has_asked { calls.ended_ms } else { self.opened_ms };
        idle.then_some(EvictionRank { has_streams, has_asked, silent_since_ms })
    }

    /// Whether a call is in flight that may not last for ever.
    pub(in crate::serve) fn has_calls(&self) -> bool {
        !lock(&self.calls).begun_ms.is_empty()
    }

    /// For how long it has been open, in milliseconds.
    pub(in crate::serve) fn age_ms(&self) -> i64 {
        self.clock.monotonic_ms() - self.opened_ms
    }

    /// For how long the client has not taken what waits to be sent, in milliseconds.
    pub(in crate::serve) fn blocked_ms(&self) -> i64 {
        match self.blocked_since_ms.load(Ordering::Relaxed) {
            NOTHING_WAITS => 0,
            since_ms => self.clock.monotonic_ms() - since_ms,
        }
    }

    /// For how long its oldest call has been in flight, in milliseconds.
    pub(in crate::serve) fn oldest_call_ms(&self) -> i64 {
        let oldest_ms = lock(&self.calls).begun_ms.iter().map(|(_, begun_ms)| *begun_ms).min();
        oldest_ms.map_or(0, |begun_ms| self.clock.monotonic_ms() - begun_ms)
    }
}

impl Drop for InFlightCall {
    fn drop(&mut self) {
        let ended_ms = self.vitals.clock.monotonic_ms();
        let mut calls = lock(&self.vitals.calls);
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
    use crate::{clock::ManualClock, serve::calls::CallSlots};

    fn vitals(clock: &ManualClock) -> Arc<ConnectionState> {
        Arc::new(ConnectionState::new(CancellationToken::new(), Clock::Manual(clock.clone())))
    }

    fn place() -> CallSlot {
        CallSlots::of(1).enter().unwrap()
    }

    #[test]
    fn who_never_asked_is_worth_less_than_who_did_and_who_was_silent_longer_less_than_who_spoke() {
        let clock = ManualClock::at(0);
        let asked_first = vitals(&clock);
        drop(asked_first.begin_call(place()));
        clock.advance_ms(1);
        let asked_then = vitals(&clock);
        drop(asked_then.begin_stream(place()));
        clock.advance_ms(1);
        let (idle, idle_too) = (vitals(&clock), {
            clock.advance_ms(1);
            vitals(&clock)
        });
        let worths = [&idle, &idle_too, &asked_first, &asked_then].map(|vitals| vitals.worth().unwrap());
        assert!(worths.is_sorted(), "{worths:?}");
    }

    #[test]
    fn a_connection_with_a_call_in_flight_is_not_to_go() {
        let clock = ManualClock::at(0);
        let vitals = vitals(&clock);
        let call = vitals.begin_call(place());
        let stream = vitals.begin_stream(place());
        clock.advance_ms(5);
        assert_eq!((vitals.worth(), vitals.oldest_call_ms()), (None, 5));
        drop(call);
        let with_stream = vitals.worth().unwrap();
        assert_eq!(vitals.oldest_call_ms(), 0);
        drop(stream);
        assert!(vitals.worth().unwrap() < with_stream, "one that watches goes last");
    }

    #[test]
    fn a_client_that_takes_nothing_is_noticed_until_it_takes_something() {
        let clock = ManualClock::at(0);
        let vitals = vitals(&clock);
        vitals.waits_to_send(true);
        clock.advance_ms(3);
        vitals.waits_to_send(true);
        clock.advance_ms(3);
        assert_eq!(vitals.blocked_ms(), 6);
        vitals.waits_to_send(false);
        assert_eq!(vitals.blocked_ms(), 0);
    }
}
