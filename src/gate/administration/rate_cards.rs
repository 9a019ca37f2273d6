//! Announces rate cards.

use super::Administration;
use crate::{
    domain::{
        catalogue::{self, replace},
        rate_card::RateCard,
    },
    gate::{attempts::Attempts, error::GateError, store_client::catalogue_in},
    transaction::Outcome,
};

impl Administration {
    /// Announces a rate card. The same card may be announced again.
    pub(crate) async fn put_rate_card(&self, card: RateCard, caller: &str) -> Result<RateCard, GateError> {
        let store = &self.store;
        let notice_ms = store.policy().rate_card_notice_ms;
        let mut attempts = Attempts::default();
        loop {
            // Notice is counted from the store's time in this reply, not from an estimate.
            let reply = store.transact(catalogue::read()).await?;
            let current = match catalogue_in(&reply)? {
                Some(current) => current,
                None => store.refresh_catalogue().await?.as_ref().clone(),
            };
            let extended = current.catalogue.with_card(&card, reply.now_ms, notice_ms);
            let Some(extended) = extended.map_err(|refused| GateError::refused_card(refused, notice_ms))? else {
                return Ok(card);
            };
            let reply = store.transact(replace(&current, &extended, &card, notice_ms, caller)?).await?;
            if matches!(reply.outcome, Outcome::Applied { .. }) {
                store.refresh_catalogue().await?;
                return Ok(card);
            }
            attempts.stale(store.metrics())?;
        }
    }
}
