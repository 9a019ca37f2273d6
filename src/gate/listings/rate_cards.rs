//! Rate cards.

use super::Listings;
use crate::{
    domain::rate_card::RateCard,
    gate::{
        calls::{Page, Paged},
        error::GateError,
    },
};

impl Listings {
    /// Returns the card that is in effect at a time, in Unix milliseconds, or now.
    pub(crate) async fn rate_card(&self, at_ms: Option<i64>) -> Result<RateCard, GateError> {
        let catalogue = self.store.refresh_catalogue().await?;
        let at_ms = at_ms.unwrap_or_else(|| self.store.now_ms());
        let card = catalogue.catalogue.card_at(at_ms).ok_or(GateError::RateCardNotFound)?;
        Ok(card.clone())
    }

    /// Returns a page of all cards, by the time at which they take effect.
    pub(crate) async fn rate_cards(&self, page: &Page) -> Result<Paged<RateCard>, GateError> {
        let catalogue = self.store.refresh_catalogue().await?;
        let cards = &catalogue.catalogue.rate_cards;
        let first = match page.token.as_str() {
            "" => 0,
            version => cards
                .iter()
                .position(|card| card.version == version)
                .map(|position| position + 1)
                .ok_or_else(GateError::foreign_page_token)?,
        };
        let size = usize::try_from(page.size).unwrap_or(usize::MAX);
        let items: Vec<RateCard> = cards.iter().skip(first).take(size).cloned().collect();
        let more = first + items.len() < cards.len();
        let next = items.last().filter(|_| more).map(|card| card.version.clone());
        Ok(Paged { items, next })
    }
}
