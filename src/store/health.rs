//! Whether a store is available, as far as this sidecar knows. The log and the readiness of the sidecar follow it.

use tokio::sync::watch;

use super::error::causes;
use crate::clock::Clock;

/// Whether a store is available. Times are Unix milliseconds of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreHealth {
    /// It serves all calls.
    Up,
    /// It serves reads and refuses writes, for example because its memory is full.
    RefusesChanges {
        /// When it was last up.
        since_ms: i64,
        /// What happened, fit for a client.
        reason: &'static str,
    },
    /// It does not answer, or must not be used. All calls fail at once.
    Down {
        /// When it was last up.
        since_ms: i64,
        /// What happened, fit for a client.
        reason: &'static str,
    },
}

impl StoreHealth {
    /// Returns whether the store serves all calls.
    pub fn is_up(self) -> bool {
        self == Self::Up
    }
}

/// Publishes the health of one store, and logs each loss and each return once.
#[derive(Debug)]
pub(super) struct HealthReporter {
    store: String,
    health: watch::Sender<StoreHealth>,
}

impl HealthReporter {
    /// Reports for a store that was just opened. `store` is its name in the log and must not contain a password.
    pub(super) fn up(store: String) -> Self {
        Self { store, health: watch::Sender::new(StoreHealth::Up) }
    }

    pub(super) fn now(&self) -> StoreHealth {
        *self.health.borrow()
    }

    pub(super) fn watch(&self) -> watch::Receiver<StoreHealth> {
        self.health.subscribe()
    }

    /// Reports that the store is down. If it was not up before, only the reason can have changed; that is logged at
    /// level debug.
    pub(super) fn down(&self, reason: &'static str, cause: Option<&dyn std::error::Error>) {
        let was_up = self.leave_up(|since_ms| StoreHealth::Down { since_ms, reason });
        let cause = cause.map(causes);
        if was_up {
            tracing::warn!(store = self.store, reason, cause, "store lost; calls fail until it is back");
        } else {
            tracing::debug!(store = self.store, reason, cause, "store still lost");
        }
    }

    /// Reports that the store refuses writes.
    pub(super) fn refuses_changes(&self, reason: &'static str, cause: Option<&dyn std::error::Error>) {
        let was_up = self.leave_up(|since_ms| StoreHealth::RefusesChanges { since_ms, reason });
        let cause = cause.map(causes);
        if was_up {
            tracing::warn!(store = self.store, reason, cause, "store refuses writes; only reads are served");
        } else {
            tracing::debug!(store = self.store, reason, cause, "store still refuses writes");
        }
    }

    /// Reports that the store is up.
    pub(super) fn back(&self) {
        let mut lost_ms = None;
        self.health.send_if_modified(|health| match std::mem::replace(health, StoreHealth::Up) {
            StoreHealth::Up => false,
            StoreHealth::RefusesChanges { since_ms, .. } | StoreHealth::Down { since_ms, .. } => {
                lost_ms = Some(since_ms);
                true
            }
        });
        if let Some(lost_ms) = lost_ms {
            let away_ms = Clock::System.now_ms() - lost_ms;
            tracing::info!(store = self.store, away_ms, "store back");
        }
    }

    /// Publishes a health other than `Up`. Returns whether the store was up before.
    fn leave_up(&self, next: impl Fn(i64) -> StoreHealth) -> bool {
        let mut was_up = false;
        self.health.send_if_modified(|health| {
            let since_ms = match *health {
                StoreHealth::Up => {
                    was_up = true;
                    Clock::System.now_ms()
                }
                StoreHealth::RefusesChanges { since_ms, .. } | StoreHealth::Down { since_ms, .. } => since_ms,
            };
            let next = next(since_ms);
            let modified = next != *health;
            *health = next;
            modified
        });
        was_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_keeps_its_start_when_its_reason_changes() {
        let reporter = HealthReporter::up("redis://h".to_owned());
        let mut watch = reporter.watch();
        reporter.back();
        assert!(!watch.has_changed().unwrap() && watch.borrow_and_update().is_up());
        reporter.down("the connection to it failed", None);
        let StoreHealth::Down { since_ms, .. } = reporter.now() else { panic!("{:?}", reporter.now()) };
        reporter.refuses_changes("its memory is full", None);
        assert_eq!(reporter.now(), StoreHealth::RefusesChanges { since_ms, reason: "its memory is full" });
        reporter.back();
        assert!(watch.has_changed().unwrap() && reporter.now().is_up());
    }
}
