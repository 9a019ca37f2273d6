//! What operators read: teams, usage, charges, rate cards and the audit logs, a page at a time. It needs the store
//! client only, and changes nothing.

mod audit;
mod charges;
mod rate_cards;
mod teams;
mod usage;

use std::sync::Arc;

use super::store_client::StoreClient;

/// Number of teams that one page of a list about all teams looks at. Such a page may have few items, or none, and a
/// token to go on from.
const TEAMS_PER_PAGE: u32 = 100;

/// Reads lists.
pub(crate) struct Listings {
    store: Arc<StoreClient>,
}

impl Listings {
    /// Reads lists from a store.
    pub(crate) fn new(store: Arc<StoreClient>) -> Self {
        Self { store }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::id::Id,
        gate::{GateError, GateOptions, calls::Page, held_leases::HeldLeases},
        store::{Store, StoreLocation, StoreOptions},
    };

    #[tokio::test]
    async fn listings_need_only_a_store_client() {
        let store = Store::open(&StoreLocation::Memory, StoreOptions::default()).await.unwrap();
        let options = GateOptions::default();
        let held = Arc::new(HeldLeases::new(options.escrow.clone(), Arc::clone(&options.metrics)));
        let listings = Listings::new(Arc::new(StoreClient::open(store, &options, held).await.unwrap()));
        let page = Page { size: 10, token: String::new() };
        assert!(listings.teams(&page).await.unwrap().items.is_empty());
        let team = Id::parse("team").unwrap();
        assert!(matches!(listings.team(&team).await, Err(GateError::TeamNotFound)));
        assert_eq!(listings.rate_cards(&page).await.unwrap().items.len(), 1, "the built-in card");
    }
}
