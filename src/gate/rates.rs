//! Rate cards.

use super::{
    Gate, GateError,
    attempts::Attempts,
    calls::{Page, Paged},
    catalogue,
};
use crate::{
    domain::{catalogue::replace, rate_card::RateCard},
    transaction::Outcome,
};

impl Gate {
    /// Announces a rate card. The very same card again is fine.
    ///
    /// # Errors
    /// [`GateError::NoticeTooShort`], [`GateError::IdReused`], [`GateError::InvalidField`], and the store's.
    pub async fn put_rate_card(&self, card: RateCard, caller: &str) -> Result<RateCard, GateError> {
        let notice_ms = self.policy.rate_card_notice_ms;
        let mut attempts = Attempts::default();
        loop {
            // Read anew, which also tells the store's time: notice is counted from now, not from a guess.
            let reply = self.transact(crate::domain::catalogue::read()).await?;
            let current = match catalogue::read(&reply)? {
                Some(current) => current,
                None => self.catalogue.refresh(&self.store).await?.as_ref().clone(),
            };
            let extended = current.catalogue.with_card(&card, reply.now_ms, notice_ms);
            let Some(extended) = extended.map_err(|refused| GateError::refused_card(refused, notice_ms))? else {
                return Ok(card);
            };
            let reply = self.transact(replace(&current, &extended, &card, notice_ms, caller)?).await?;
            if matches!(reply.outcome, Outcome::Applied { .. }) {
                self.catalogue.refresh(&self.store).await?;
                return Ok(card);
            }
            self.stale(&mut attempts)?;
        }
    }

    /// The card in effect at a time, in Unix milliseconds, or now.
    ///
    /// # Errors
    /// [`GateError::RateCardNotFound`] before the first card, and the store's.
    pub async fn rate_card(&self, at_ms: Option<i64>) -> Result<RateCard, GateError> {
        let catalogue = self.catalogue.refresh(&self.store).await?;
        let at_ms = at_ms.unwrap_or_else(|| self.store_time.now_ms());
        let card = catalogue.catalogue.card_at(at_ms).ok_or(GateError::RateCardNotFound)?;
        Ok(card.clone())
    }

    /// All cards, by the time they take effect.
    ///
    /// # Errors
    /// An invalid page token, and the store's.
    pub async fn rate_cards(&self, page: &Page) -> Result<Paged<RateCard>, GateError> {
        let catalogue = self.catalogue.refresh(&self.store).await?;
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
