//! Removes what keeps the transaction of a call from being applied, so that the call can try again.
//! This part must not know which call it is.

use std::sync::Arc;

use super::{
    attempts::{Attempts, Obstacle},
    error::GateError,
    expiry::Expiry,
    leases::Leases,
    store_client::StoreClient,
};
use crate::domain::id::Id;

/// Removes obstacles.
pub(crate) struct Obstacles {
    store: Arc<StoreClient>,
    expiry: Arc<Expiry>,
    leases: Arc<Leases>,
}

impl Obstacles {
    /// Makes the part from the parts that it uses.
    pub(crate) fn new(store: Arc<StoreClient>, expiry: Arc<Expiry>, leases: Arc<Leases>) -> Self {
        Self { store, expiry, leases }
    }

    /// Removes an obstacle of a call, and counts that among its attempts.
    ///
    /// # Errors
    /// [`GateError::Unverified`] after too many attempts, and the store's.
    pub(crate) async fn remove(&self, team: &Id, obstacle: Obstacle, attempts: &mut Attempts) -> Result<(), GateError> {
        match obstacle {
            Obstacle::Stale => attempts.stale(self.store.metrics()),
            Obstacle::Forgotten(id, reservation) => {
                attempts.stale(self.store.metrics())?;
                Box::pin(self.expiry.expire(team, &[(id, reservation.into())])).await
            }
            Obstacle::DueHolds(holds, now_ms) => {
                attempts.expiry_round()?;
                Box::pin(self.expiry.expire_holds(team, &holds, now_ms)).await
            }
            Obstacle::Leases => {
                attempts.recalled();
                Box::pin(self.leases.call_back(team)).await
            }
        }
    }
}
