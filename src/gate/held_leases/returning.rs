//! Leases that this sidecar no longer draws from and that are not known to be back in the store yet.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::domain::{id::Id, lease::LeaseRemainder};

/// Leases that wait to be given back. They stay here until the store has confirmed them, or until they have ended by
/// themselves.
#[derive(Debug, Default)]
pub(crate) struct ReturningLeases {
    queue: Arc<Mutex<Vec<Return>>>,
    added: Notify,
}

/// Some leases of one team that are to be given back.
#[derive(Debug)]
pub(crate) struct Return {
    /// The team.
    pub(crate) team: Id,
    /// What is left of each lease.
    pub(crate) remainders: Vec<LeaseRemainder>,
    /// When the leases have ended by themselves at the latest, in milliseconds of the sidecar's clock.
    pub(crate) until_ms: i64,
}

/// Leases that are being given back. Those that are not confirmed when this is dropped return to the queue, also if the
/// task was cancelled.
pub(crate) struct ReturnInFlight {
    queue: Arc<Mutex<Vec<Return>>>,
    /// The leases. Each one is removed from here when the store has confirmed it.
    pub(crate) leases: Return,
}

impl ReturningLeases {
    /// Returns the number of leases that wait. Those in flight are not counted.
    pub(crate) fn len(&self) -> usize {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.iter().map(|leases| leases.remainders.len()).sum()
    }

    /// Adds leases to the queue, and wakes [`ReturningLeases::added`].
    pub(crate) fn add(&self, leases: Return) {
        if !leases.remainders.is_empty() {
            self.queue.lock().unwrap_or_else(PoisonError::into_inner).push(leases);
            self.added.notify_one();
        }
    }

    /// Waits until leases are added.
    pub(crate) async fn added(&self) {
        self.added.notified().await;
    }

    /// Prepares leases to be given back at once.
    pub(crate) fn start(&self, leases: Return) -> ReturnInFlight {
        ReturnInFlight { queue: Arc::clone(&self.queue), leases }
    }

    /// Takes all leases from the queue to be given back. Forgets those that have ended by themselves at `now_ms` of the
    /// sidecar's clock.
    pub(crate) fn start_all(&self, now_ms: i64) -> Vec<ReturnInFlight> {
        let mut all = std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner));
        all.retain(|leases| now_ms < leases.until_ms);
        all.into_iter().map(|leases| self.start(leases)).collect()
    }
}

impl Drop for ReturnInFlight {
    fn drop(&mut self) {
        let Return { team, remainders, until_ms } = &mut self.leases;
        if !remainders.is_empty() {
            let remainders = std::mem::take(remainders);
            let leases = Return { team: team.clone(), remainders, until_ms: *until_ms };
            self.queue.lock().unwrap_or_else(PoisonError::into_inner).push(leases);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases(until_ms: i64) -> Return {
        let id = Id::parse("lease").unwrap();
        let remainders = vec![LeaseRemainder { id, cycle_start_ms: 0, credits: 10, undrawn: 5 }];
        Return { team: Id::parse("team").unwrap(), remainders, until_ms }
    }

    #[test]
    fn leases_wait_until_they_are_confirmed_or_have_ended() {
        let returning = ReturningLeases::default();
        returning.add(leases(100));
        let in_flight = returning.start_all(0);
        assert_eq!(returning.len(), 0);
        drop(in_flight);
        assert_eq!(returning.len(), 1, "the store has not confirmed it");
        for mut confirmed in returning.start_all(0) {
            confirmed.leases.remainders.clear();
        }
        assert_eq!(returning.len(), 0);
        returning.add(leases(100));
        assert!(returning.start_all(100).is_empty(), "it has ended by itself");
        assert_eq!(returning.len(), 0);
    }
}
