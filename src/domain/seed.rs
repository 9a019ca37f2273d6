//! The seed: included credits, rate cards and teams for a store that has none. It never replaces what the store has.

use super::{catalogue::Catalogue, id::Id, plan::IncludedCredits, rate_card::RateCard, terms::Terms};

/// What is written to a store that has none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seed {
    /// Included credits per plan. `None` means what the product sells.
    pub included_credits: Option<IncludedCredits>,
    /// Rate cards. No two have the same version or the same effective time.
    pub rate_cards: Vec<RateCard>,
    /// Teams. No two have the same ID.
    pub teams: Vec<TeamSeed>,
}

/// A team that is created if the store has none with its ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamSeed {
    /// ID of the team.
    pub team: Id,
    /// The team's first terms.
    pub terms: Terms,
}

impl Seed {
    /// Returns the catalogue of a store that has none, at a time in Unix milliseconds.
    ///
    /// No call was priced before, so the cards need no notice. The card that ships is added only if no other card is in
    /// effect. Without it, calls would have no price.
    pub fn catalogue(&self, now_ms: i64) -> Catalogue {
        let mut rate_cards = self.rate_cards.clone();
        rate_cards.sort_by_key(|card| card.effective_at_ms);
        let mut catalogue = Catalogue {
            included_credits: self.included_credits.clone().unwrap_or(IncludedCredits::SHIPPED),
            rate_cards,
        };
        if catalogue.card_at(now_ms).is_none() {
            let shipped = RateCard::shipped();
            // The seed may announce a later card with the version of the shipped one. Then the shipped card has no name
            // left and is not added.
            if catalogue.rate_cards.iter().all(|card| card.version != shipped.version) {
                catalogue.rate_cards.insert(0, shipped);
            }
        }
        catalogue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(version: &str, effective_at_ms: i64) -> RateCard {
        RateCard { version: version.to_owned(), effective_at_ms, ..RateCard::shipped() }
    }

    fn versions(cards: &[RateCard], now_ms: i64) -> Vec<String> {
        let seed = Seed { rate_cards: cards.to_vec(), ..Seed::default() };
        seed.catalogue(now_ms).rate_cards.into_iter().map(|card| card.version).collect()
    }

    /// Without settings, the seed is what the product sells.
    #[test]
    fn an_empty_seed_is_what_the_product_sells() {
        assert_eq!(Seed::default().catalogue(1_800_000_000_000), Catalogue::shipped());
    }

    /// The card that ships is seeded only if no other card is in effect.
    #[test]
    fn the_shipped_card_is_seeded_only_if_no_other_applies() {
        let now_ms = 1_800_000_000_000;
        let shipped = RateCard::shipped().version;
        assert_eq!(versions(&[card("later", now_ms + 1)], now_ms), [shipped.as_str(), "later"]);
        assert_eq!(versions(&[card("later", now_ms + 1), card("now", now_ms)], now_ms), ["now", "later"]);
        assert_eq!(versions(&[card("old", 1)], now_ms), ["old"]);
        assert_eq!(versions(&[card(&shipped, now_ms + 1)], now_ms), [shipped.as_str()]);
    }
}
