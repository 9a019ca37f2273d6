//! All connections of one listener: how many there may be, who goes when one more comes, and who is cut for wasting time.

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

use super::connection_state::ConnectionState;
use crate::{
    clock::Clock,
    serve::{limits::Limits, log_throttle::LogThrottle},
};

/// Between two looks at who wastes time.
const LOOK: Duration = Duration::from_millis(100);

/// All connections of one listener.
#[derive(Debug)]
pub(in crate::serve) struct ConnectionRegistry {
    places: Arc<Semaphore>,
    present: Mutex<BTreeMap<u64, Arc<ConnectionState>>>,
    arrivals: AtomicU64,
    clock: Clock,
    full: LogThrottle,
}

/// A connection's place among the others, until it is dropped.
#[derive(Debug)]
pub(in crate::serve) struct RegisteredConnection {
    crowd: Arc<ConnectionRegistry>,
    number: u64,
    vitals: Arc<ConnectionState>,
    _permit: OwnedSemaphorePermit,
}

impl RegisteredConnection {
    /// What is known of the connection.
    pub(in crate::serve) fn vitals(&self) -> &Arc<ConnectionState> {
        &self.vitals
    }
}

impl Drop for RegisteredConnection {
    fn drop(&mut self) {
        self.crowd.present().remove(&self.number);
    }
}

impl ConnectionRegistry {
    pub(in crate::serve) fn new(max_connections: u32) -> Arc<Self> {
        let places = usize::try_from(max_connections).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            places: Arc::new(Semaphore::new(places)),
            present: Mutex::default(),
            arrivals: AtomicU64::new(0),
            clock: Clock::default(),
            full: LogThrottle::default(),
        })
    }

    /// A place for one more: free, or that of the least of those without a call in flight, once it is gone. `None` if all
    /// have one. The connection is cut with `everything`.
    pub(in crate::serve) async fn admit(
        self: &Arc<Self>,
        everything: &CancellationToken,
    ) -> Option<RegisteredConnection> {
        let permit = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.make_room()?;
                Arc::clone(&self.places).acquire_owned().await.ok()?
            }
        };
        let vitals = Arc::new(ConnectionState::new(everything.child_token(), self.clock.clone()));
        let number = self.arrivals.fetch_add(1, Ordering::Relaxed);
        self.present().insert(number, Arc::clone(&vitals));
        Some(RegisteredConnection { crowd: Arc::clone(self), number, vitals, _permit: permit })
    }

    /// Cuts who wastes time, again and again.
    pub(in crate::serve) async fn keep_moving(self: Arc<Self>, limits: Limits) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            for vitals in self.present().values().filter(|vitals| !vitals.cut.is_cancelled()) {
                if let Some(reason) = wastes_time(vitals, &limits) {
                    tracing::debug!(reason, "a connection is cut");
                    vitals.cut.cancel();
                }
            }
        }
    }

    fn make_room(&self) -> Option<()> {
        let present = self.present();
        let candidates = present.values().filter(|vitals| !vitals.cut.is_cancelled());
        let is_leaving = present.values().any(|vitals| vitals.cut.is_cancelled());
        let least = candidates.filter_map(|vitals| Some((vitals.worth()?, vitals))).min_by_key(|(worth, _)| *worth);
        if let Some(times) = self.full.happened(&self.clock) {
            let outcome = if least.is_some() { "the one that was silent longest goes" } else { "all are busy" };
            tracing::warn!(times, outcome, "more connections than max_connections");
        }
        if let Some((_, vitals)) = least {
            vitals.cut.cancel();
            return Some(());
        }
        // The place of one that was cut already is about to be free.
        is_leaving.then_some(())
    }

    /// Nothing that holds the lock can panic.
    fn present(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<ConnectionState>>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wastes_time(vitals: &ConnectionState, limits: &Limits) -> Option<&'static str> {
    let is_over = |ms: i64, limit: Duration| u128::try_from(ms).is_ok_and(|ms| ms > limit.as_millis());
    if is_over(vitals.age_ms(), limits.handshake_timeout) && vitals.spoke_instead().is_some() {
        return Some("it did not begin with HTTP/2 in time");
    }
    if is_over(vitals.blocked_ms(), limits.keepalive_timeout) {
        return Some("it does not take what is sent to it");
    }
    // One such time for the call, which is then answered whatever becomes of it, and one for its answer.
    if is_over(vitals.oldest_call_ms(), limits.max_call_time.saturating_mul(2)) {
        return Some("it does not take an answer");
    }
    None
}
