//! The calls of operators. Each is carried out by the part that its body names.

use super::{
    Gate,
    calls::{Page, Paged, UsageAnswer},
    error::GateError,
};
use crate::domain::{
    audit::AuditedChange, charge::Charge, id::Id, rate_card::RateCard, seed::Seed, terms::Terms,
    terms_change::TeamSettings,
};

impl Gate {
    /// Creates a team, or replaces its plan, seat, anchor day and override. A change acts at once on the current cycle,
    /// except for the anchor day, which acts from the next cycle on.
    ///
    /// # Errors
    /// Any [`GateError`] that keeps the gate from a verified answer.
    pub async fn put_team(&self, team: &Id, settings: &TeamSettings, caller: &str) -> Result<Terms, GateError> {
        self.administration.put_team(team, settings, caller).await
    }

    /// Switches overages on or off. They need the professional plan and a paid seat.
    ///
    /// # Errors
    /// [`GateError::OveragesUnavailable`], and any that keeps the gate from a verified answer.
    pub async fn set_overages(
        &self,
        team: &Id,
        enabled: bool,
        cap_blocks: Option<u32>,
        caller: &str,
    ) -> Result<Terms, GateError> {
        self.administration.set_overages(team, enabled, cap_blocks, caller).await
    }

    /// Announces a rate card. The same card may be announced again.
    ///
    /// # Errors
    /// [`GateError::NoticeTooShort`], [`GateError::IdReused`], [`GateError::InvalidField`], and the store's.
    pub async fn put_rate_card(&self, card: RateCard, caller: &str) -> Result<RateCard, GateError> {
        self.administration.put_rate_card(card, caller).await
    }

    /// Announces the rate cards and creates the teams that the store lacks.
    ///
    /// # Errors
    /// The store's. What was written before the error stays, and the whole seed can be applied again.
    pub async fn apply_seed(&self, seed: Seed) -> Result<(), GateError> {
        self.administration.apply_seed(seed).await
    }

    /// Returns a team's terms.
    ///
    /// # Errors
    /// [`GateError::TeamNotFound`], and the store's.
    pub async fn team(&self, team: &Id) -> Result<Terms, GateError> {
        self.listings.team(team).await
    }

    /// Returns a page of all teams, by id.
    ///
    /// # Errors
    /// [`GateError::InvalidField`] for an invalid page token, and the store's.
    pub async fn teams(&self, page: &Page) -> Result<Paged<(Id, Terms)>, GateError> {
        self.listings.teams(page).await
    }

    /// Returns a team's balance in the cycle that contains a time, in Unix milliseconds, or in the current one, and a
    /// page of its usage rows.
    ///
    /// # Errors
    /// [`GateError::TeamNotFound`], [`GateError::InvalidField`] for a time after the current cycle or before the team's
    /// first one, or for an invalid page token, and the store's.
    pub async fn usage(&self, team: &Id, at_ms: Option<i64>, page: &Page) -> Result<UsageAnswer, GateError> {
        self.listings.usage(team, at_ms, page).await
    }

    /// Returns a page of the charges of one team, or of all teams, in the cycle that contains a time, in Unix
    /// milliseconds, or in all cycles.
    ///
    /// # Errors
    /// [`GateError::TeamNotFound`] if the named team does not exist, [`GateError::InvalidField`] for an invalid page
    /// token, and the store's.
    pub async fn charges(
        &self,
        team: Option<&Id>,
        at_ms: Option<i64>,
        page: &Page,
    ) -> Result<Paged<Charge>, GateError> {
        self.listings.charges(team, at_ms, page).await
    }

    /// Returns a page of the changes of one team, or of the catalogue and then of every team. The oldest change of each
    /// log comes first.
    ///
    /// # Errors
    /// [`GateError::TeamNotFound`] if the named team does not exist, [`GateError::InvalidField`] for an invalid page
    /// token, and the store's.
    pub async fn audit(&self, team: Option<&Id>, page: &Page) -> Result<Paged<AuditedChange>, GateError> {
        self.listings.audit(team, page).await
    }

    /// Returns the card that is in effect at a time, in Unix milliseconds, or now.
    ///
    /// # Errors
    /// [`GateError::RateCardNotFound`] for a time before the first card, and the store's.
    pub async fn rate_card(&self, at_ms: Option<i64>) -> Result<RateCard, GateError> {
        self.listings.rate_card(at_ms).await
    }

    /// Returns a page of all cards, by the time at which they take effect.
    ///
    /// # Errors
    /// [`GateError::InvalidField`] for an invalid page token, and the store's.
    pub async fn rate_cards(&self, page: &Page) -> Result<Paged<RateCard>, GateError> {
        self.listings.rate_cards(page).await
    }
}
