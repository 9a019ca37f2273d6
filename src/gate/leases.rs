//! Takes leases from the store ahead of need, and gives back those that are no longer needed or that are called back.
//!
//! This part owns the store's side of leases. The held leases, and the reservations opened from them, are in
//! [`super::held_leases`]. This part must not know how a call is decided.

mod giving_back;
mod recall;
mod taking;

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use self::recall::Recalls;
use super::{held_leases::HeldLeases, store_client::StoreClient};

/// Interval between two looks at the leases. It bounds how long a sidecar takes to learn of a recall.
const TEND_EVERY: Duration = Duration::from_millis(100);

/// Maximum number of teams whose unneeded leases one look gives back, so that recalls do not wait for more.
const TEAMS_PER_LOOK: usize = 64;

/// How long after a jump of the clocks each look gives all leases back, in milliseconds. The time covers several looks,
/// so a missed look makes no difference.
const JUMP_SEEN_FOR_MS: i64 = 1_000;

/// Takes leases and gives them back.
pub(crate) struct Leases {
    store: Arc<StoreClient>,
    held: Arc<HeldLeases>,
    recalls: Recalls,
    /// The tasks that take leases, at most one for each team.
    requests: TaskTracker,
}

impl Leases {
    /// Takes leases from a store, and gives them back.
    pub(crate) fn new(store: Arc<StoreClient>, held: Arc<HeldLeases>) -> Self {
        Self { store, held, recalls: Recalls::default(), requests: TaskTracker::new() }
    }

    /// Tends the leases at regular intervals, and as soon as some are to be given back. Never returns.
    pub(crate) async fn tend_forever(&self) {
        let mut since_ms = 0;
        loop {
            // A wait that times out costs nothing: a look that comes early or late makes no difference.
            let _ = timeout(TEND_EVERY, self.held.returning.added()).await;
            if self.held.escrow.is_on() {
                since_ms = self.tend(since_ms).await;
            }
        }
    }

    /// Gives back the leases that were called back after `since_ms` of the store, in Unix milliseconds, and those that
    /// are no longer needed. Returns the `since_ms` of the next call.
    pub(crate) async fn tend(&self, since_ms: i64) -> i64 {
        let escrow = &self.held.escrow;
        let mut next_since_ms = since_ms;
        if escrow.has_any_lease() {
            // Calls wait for these, so they come first.
            next_since_ms = self.answer_recalls(since_ms).await.unwrap_or(since_ms);
        }
        if self.store.time().jumped_within_ms(JUMP_SEEN_FOR_MS) {
            let all = escrow.remove_all_leases();
            if !all.is_empty() {
                tracing::warn!(
                    teams = all.len(),
                    "the store's clock and the sidecar's jumped apart; giving all leases back"
                );
            }
            self.give_back_all(all).await;
        }
        self.give_back_returning().await;
        self.give_back_all(escrow.evict_leases(self.store.monotonic_ms(), TEAMS_PER_LOOK)).await;
        next_since_ms
    }

    /// Waits until the leases that are being taken now are granted or refused.
    pub(crate) async fn requests_done(&self) {
        self.requests.close();
        self.requests.wait().await;
    }
}
