//! All connections of one listener: how many there may be, which one is evicted when another one comes, and which ones are closed
//! because their clients take too long.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{connection_state::ConnectionState, http2_preface::Protocol};
use crate::{
    clock::Clock,
    serve::{limits::Limits, log_throttle::LogThrottle},
};

/// Interval at which connections are checked against their timeouts.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Which connection is closed when a listener is full and one more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) enum Eviction {
    /// The lowest-ranked of those without calls in flight. If there is none, the new one is refused.
    LowestRank,
    /// The oldest, even if it has calls in flight: no client can keep others out by holding on to its connections.
    Oldest,
}

/// All connections of one listener.
#[derive(Debug)]
pub(in crate::serve) struct ConnectionRegistry {
    protocol: Protocol,
    eviction: Eviction,
    permits: Arc<Semaphore>,
    connections: Mutex<BTreeMap<u64, Arc<ConnectionState>>>,
    next_number: AtomicU64,
    clock: Clock,
    full_log: LogThrottle,
}

/// A connection that is registered until this is dropped.
#[derive(Debug)]
pub(in crate::serve) struct RegisteredConnection {
    registry: Arc<ConnectionRegistry>,
    number: u64,
    state: Arc<ConnectionState>,
    _permit: OwnedSemaphorePermit,
}

impl RegisteredConnection {
    /// Returns the connection's state.
    pub(in crate::serve) fn state(&self) -> &Arc<ConnectionState> {
        &self.state
    }
}

impl Drop for RegisteredConnection {
    fn drop(&mut self) {
        self.registry.connections().remove(&self.number);
    }
}

impl ConnectionRegistry {
    pub(in crate::serve) fn new(max_connections: u32, protocol: Protocol, eviction: Eviction) -> Arc<Self> {
        let permits = usize::try_from(max_connections).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            protocol,
            eviction,
            permits: Arc::new(Semaphore::new(permits)),
            connections: Mutex::default(),
            next_number: AtomicU64::new(0),
            clock: Clock::default(),
            full_log: LogThrottle::default(),
        })
    }

    /// Registers one more connection, which is closed when `everything` is cancelled. If the listener is full, another connection
    /// is evicted first. Returns `None` if it is full and all connections have calls in flight.
    pub(in crate::serve) async fn admit(
        self: &Arc<Self>,
        everything: &CancellationToken,
    ) -> Option<RegisteredConnection> {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.evict_one()?;
                Arc::clone(&self.permits).acquire_owned().await.ok()?
            }
        };
        let state = Arc::new(ConnectionState::new(everything.child_token(), self.clock.clone(), self.protocol));
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        self.connections().insert(number, Arc::clone(&state));
        Some(RegisteredConnection { registry: Arc::clone(self), number, state, _permit: permit })
    }

    /// Closes the connections whose clients take too long. Runs until it is dropped.
    pub(in crate::serve) async fn enforce_timeouts(self: Arc<Self>, limits: Limits) {
        let mut checks = tokio::time::interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            checks.tick().await;
            for state in self.connections().values().filter(|state| !state.cut.is_cancelled()) {
                if let Some(reason) = expired_timeout(state, &limits) {
                    tracing::debug!(reason, "closing a connection");
                    state.cut.cancel();
                }
            }
        }
    }

    fn evict_one(&self) -> Option<()> {
        let connections = self.connections();
        let mut candidates = connections.values().filter(|state| !state.cut.is_cancelled());
        let is_closing = connections.values().any(|state| state.cut.is_cancelled());
        let evicted = match self.eviction {
            Eviction::LowestRank => {
                let ranked = candidates.filter_map(|state| Some((state.eviction_rank()?, state)));
                ranked.min_by_key(|(rank, _)| *rank).map(|(_, state)| state)
            }
            // The map is in the order of arrival.
            Eviction::Oldest => candidates.next(),
        };
        if let Some(times) = self.full_log.record(&self.clock) {
            let outcome = if evicted.is_some() { "evicting another one" } else { "all are busy; refusing the new one" };
            tracing::warn!(times, outcome, "more connections than the listener takes");
        }
        if let Some(state) = evicted {
            state.cut.cancel();
            return Some(());
        }
        // A connection that is being closed frees its permit soon.
        is_closing.then_some(())
    }

    /// Nothing that holds the lock can panic.
    fn connections(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<ConnectionState>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns which timeout of a connection has expired, if any.
fn expired_timeout(state: &ConnectionState, limits: &Limits) -> Option<&'static str> {
    let is_over = |ms: i64, limit: Duration| u128::try_from(ms).is_ok_and(|ms| ms > limit.as_millis());
    if is_over(state.age_ms(), limits.handshake_timeout) && state.other_protocol().is_some() {
        return Some("it did not begin HTTP/2 in time");
    }
    if is_over(state.blocked_ms(), limits.keepalive_timeout) {
        return Some("its client does not read");
    }
    // One such time for the call, which has an answer by then, and one for the client to read the answer.
    if is_over(state.oldest_call_ms(), limits.max_call_time.saturating_mul(2)) {
        return Some("its client does not read a response");
    }
    None
}
