//! Gives the store what it lacks of a seed, and leaves alone what it has. Several sidecars may do so at once.

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{Gate, GateError};
use crate::domain::{
    rate_card::RateCard,
    seed::{Seed, TeamSeed},
    terms::Terms,
    terms_change::TermsVerdict,
};

/// Who seeded, for the audit stream.
const CALLER: &str = "configuration";

/// How many teams are looked for at a time, so that a thousand of them do not take a thousand round trips.
const TEAMS_AT_ONCE: usize = 32;

impl Gate {
    /// Announces the cards and makes the teams that are not there. The catalogue of the seed was written before, if
    /// there was none.
    ///
    /// # Errors
    /// The store's; what was written until then stays, and the whole seed can be applied again.
    pub async fn apply_seed(&self, seed: Seed) -> Result<(), GateError> {
        let Seed { included_credits, rate_cards, teams } = seed;
        let catalogue = self.catalogue.fresh(&self.store).await?;
        if included_credits.is_some_and(|wanted| wanted != catalogue.catalogue.included_credits) {
            let kept = &catalogue.catalogue.included_credits;
            tracing::warn!(
                ?kept,
                "the store says otherwise what plans include than [plans] in the file; the store's stays"
            );
        }
        for card in rate_cards {
            self.seed_card(card).await?;
        }
        let seeded = stream::iter(teams).map(|team| async move { self.seed_team(&team).await });
        seeded.buffer_unordered(TEAMS_AT_ONCE).try_collect().await
    }

    async fn seed_card(&self, card: RateCard) -> Result<(), GateError> {
        let version = card.version.clone();
        match self.put_rate_card(card, CALLER).await {
            Ok(_) => Ok(()),
            Err(GateError::IdReused { .. }) => {
                tracing::warn!(
                    rate_card = version,
                    "the store has another rate card of this version, which stays; a card never changes, so give the new prices \
                     a version of their own"
                );
                Ok(())
            }
            Err(refused @ (GateError::NoticeTooShort { .. } | GateError::InvalidField { .. })) => {
                tracing::warn!(rate_card = version, "the rate card of the file is left out: {refused}");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn seed_team(&self, seed: &TeamSeed) -> Result<(), GateError> {
        let TeamSeed { team, terms } = seed;
        let existing = match self.read_terms(team).await {
            Ok(existing) => Some(existing),
            // Two sidecars may come here at once; one of them makes the team, whole, and the other sees it.
            Err(GateError::TeamNotFound) => match self.create_team(team, terms, CALLER).await? {
                TermsVerdict::Done(_) => None,
                TermsVerdict::Stale(existing) => existing,
            },
            Err(error) => return Err(error),
        };
        match existing {
            None => tracing::info!(%team, "made, as the file has it"),
            Some(existing) if same_terms(&existing, terms) => {}
            Some(_) => tracing::info!(%team, "the store has other terms than the file; the store's stay"),
        }
        Ok(())
    }
}

/// Whether somebody who reads them side by side finds the same.
fn same_terms(one: &Terms, other: &Terms) -> bool {
    let said = |terms: &Terms| Terms {
        version: 0,
        created_at_ms: 0,
        updated_at_ms: 0,
        no_leases_until_ms: 0,
        ..terms.clone()
    };
    let (one, other) = (said(one), said(other));
    one.anchor.day == other.anchor.day && Terms { anchor: other.anchor, ..one } == other
}
