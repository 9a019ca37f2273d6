//! Writes the configured rate cards and teams to a store that lacks them, and leaves alone what the store has. Several
//! sidecars may do so concurrently.

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::Administration;
use crate::{
    domain::{
        rate_card::RateCard,
        seed::{Seed, TeamSeed},
        terms::Terms,
        terms_change::TermsVerdict,
    },
    gate::error::GateError,
};

/// Name of the caller in the audit log.
const CALLER: &str = "configuration";

/// Number of teams that are written concurrently, so that a thousand teams do not take a thousand round trips in a row.
const TEAMS_AT_ONCE: usize = 32;

impl Administration {
    /// Announces the rate cards and creates the teams that the store lacks. The plans were written when the store
    /// client was opened, if the store had no catalogue.
    pub(crate) async fn apply_seed(&self, seed: Seed) -> Result<(), GateError> {
        let Seed { included_credits, rate_cards, teams } = seed;
        let catalogue = self.store.fresh_catalogue().await?;
        if included_credits.is_some_and(|wanted| wanted != catalogue.catalogue.included_credits) {
            let kept = &catalogue.catalogue.included_credits;
            tracing::warn!(?kept, "[plans] differs from the store; keeping the store's values");
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
                    "the store has another rate card of this version; keeping the store's card. A card never changes: give new \
                     prices a new version"
                );
                Ok(())
            }
            Err(refused @ (GateError::NoticeTooShort { .. } | GateError::InvalidField { .. })) => {
                tracing::warn!(rate_card = version, %refused, "a configured rate card was not accepted; ignoring it");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn seed_team(&self, seed: &TeamSeed) -> Result<(), GateError> {
        let TeamSeed { team, terms } = seed;
        let existing = match self.store.read_terms(team).await {
            Ok(existing) => Some(existing),
            // If two sidecars come here at once, one of them creates the team in one step, and the other one sees it.
            Err(GateError::TeamNotFound) => match self.create_team(team, terms, CALLER).await? {
                TermsVerdict::Done(_) => None,
                TermsVerdict::Stale(existing) => existing,
            },
            Err(error) => return Err(error),
        };
        match existing {
            None => tracing::info!(%team, "created a configured team"),
            Some(existing) if same_terms(&existing, terms) => {}
            Some(_) => tracing::info!(%team, "a configured team differs from the store; keeping the store's terms"),
        }
        Ok(())
    }
}

/// Returns whether two teams' terms are the same, apart from what the store adds.
fn same_terms(one: &Terms, other: &Terms) -> bool {
    let configured = |terms: &Terms| Terms {
        version: 0,
        created_at_ms: 0,
        updated_at_ms: 0,
        no_leases_until_ms: 0,
        ..terms.clone()
    };
    let (one, other) = (configured(one), configured(other));
    one.anchor.day == other.anchor.day && Terms { anchor: other.anchor, ..one } == other
}
