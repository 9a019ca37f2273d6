//! Whether a store serves, as far as this sidecar knows: for the log, and for whoever asks whether the sidecar is ready.

use tokio::sync::watch;

use super::error::causes;
use crate::clock::Clock;

/// Whether a store serves. Times are Unix milliseconds of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreHealth {
    /// It does.
    Up,
    /// It answers, and carries out no changes: a server whose memory is full, for example.
    RefusesChanges {
        /// Since when.
        since_ms: i64,
        /// What was noticed, fit for a client.
        reason: &'static str,
    },
    /// It does not answer, or must not be used. Calls are refused at once.
    Down {
        /// Since when.
        since_ms: i64,
        /// What was noticed, fit for a client.
        reason: &'static str,
    },
}

impl StoreHealth {
    /// Whether it serves all that it is there for.
    pub fn is_up(self) -> bool {
        self == Self::Up
    }
}

/// The health of one store: told to whoever watches, and logged once when the store is lost and once when it is back.
#[derive(Debug)]
pub(super) struct HealthReporter {
    store: String,
    health: watch::Sender<StoreHealth>,
}

impl HealthReporter {
    /// A store that was just opened. Its name must not have a password.
    pub(super) fn up(store: String) -> Self {
        Self { store, health: watch::Sender::new(StoreHealth::Up) }
    }

    pub(super) fn now(&self) -> StoreHealth {
        *self.health.borrow()
    }

    pub(super) fn watch(&self) -> watch::Receiver<StoreHealth> {
        self.health.subscribe()
    }

    /// It does not serve. If it did not before, only the reason can be new, which is no news for the log.
    pub(super) fn down(&self, reason: &'static str, cause: Option<&dyn std::error::Error>) {
        let was_up = self.leave(|since_ms| StoreHealth::Down { since_ms, reason });
        let cause = cause.map(causes);
        if was_up {
            tracing::warn!(store = self.store, reason, cause, "store lost: calls are refused until it is back");
        } else {
            tracing::debug!(store = self.store, reason, cause, "the store is still lost");
        }
    }

    /// It answers, and refuses changes.
    pub(super) fn refuses_changes(&self, reason: &'static str, cause: Option<&dyn std::error::Error>) {
        let was_up = self.leave(|since_ms| StoreHealth::RefusesChanges { since_ms, reason });
        let cause = cause.map(causes);
        if was_up {
            tracing::warn!(store = self.store, reason, cause, "the store refuses changes: only reads are served");
        } else {
            tracing::debug!(store = self.store, reason, cause, "the store refuses changes");
        }
    }

    /// It serves.
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

    /// Whether this was the end of its being up.
    fn leave(&self, next: impl Fn(i64) -> StoreHealth) -> bool {
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
    fn a_store_is_away_since_it_was_first_missed_whatever_the_reason_becomes() {
        let health = HealthReporter::up("redis://h".to_owned());
        let mut watch = health.watch();
        health.back();
        assert!(!watch.has_changed().unwrap() && watch.borrow_and_update().is_up());
        health.down("the connection to it failed", None);
        let StoreHealth::Down { since_ms, .. } = health.now() else { panic!("{:?}", health.now()) };
        health.refuses_changes("its memory is full", None);
        assert_eq!(health.now(), StoreHealth::RefusesChanges { since_ms, reason: "its memory is full" });
        health.back();
        assert!(watch.has_changed().unwrap() && health.now().is_up());
    }
}
