//! What operators change: teams and their terms, rate cards; and what a store gets from the configuration at the start.
//! This part must not know reservations and runs.

mod rate_cards;
mod seed;
mod teams;

use std::sync::Arc;

use super::{leases::Leases, store_client::StoreClient};

/// Changes teams and rate cards.
pub(crate) struct Administration {
    store: Arc<StoreClient>,
    leases: Arc<Leases>,
}

impl Administration {
    /// Changes those in a store. A change of a team's terms calls the team's leases back.
    pub(crate) fn new(store: Arc<StoreClient>, leases: Arc<Leases>) -> Self {
        Self { store, leases }
    }
}
