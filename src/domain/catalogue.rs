//! The catalogue: what plans include, and every rate card. It is one versioned record that all sidecars share.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    Damaged,
    account::not_after,
    audit,
    id::Id,
    keys,
    plan::{IncludedCredits, Plan},
    rate_card::{InvalidRateCard, Rate, RateCard},
    terms::MAX_INCLUDED_CREDITS,
};
use crate::transaction::{FieldMap, Guard, Key, Read, RecordRef, Scope, Transaction, Write};

/// Minimum notice for a change of the catalogue, in milliseconds. A sidecar's copy prices calls correctly for this long
/// after it was read, even if a card was accepted since.
pub const MIN_NOTICE_MS: i64 = 10_000;

/// Maximum size of a catalogue's record, in bytes: some 1,500 cards like the one that ships. Every sidecar fetches the
/// record each second. Cards are never removed, because old reservations are settled at their prices.
pub const MAX_BYTES: usize = 1024 * 1024;

/// Included credits and rate cards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    /// Included credits per plan.
    pub included_credits: IncludedCredits,
    /// Every card, ordered by `effective_at_ms`.
    pub rate_cards: Vec<RateCard>,
}

/// A copy of the catalogue and the version of its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionedCatalogue {
    /// Number of changes so far.
    pub version: i64,
    /// The store's time when the copy was read, in Unix milliseconds.
    pub read_at_ms: i64,
    /// The catalogue itself.
    pub catalogue: Catalogue,
    /// The versions of its cards as IDs. Each reservation gets one of them.
    card_ids: Vec<Id>,
}

/// The rate card in effect at some time, and the period for which a copy of the catalogue can vouch for it.
#[derive(Clone, Debug)]
pub struct CardInEffect<'a> {
    /// The card.
    pub card: &'a RateCard,
    /// Version of the card.
    pub id: &'a Id,
    /// From the card's effective time until the next card's, or until a card may be in effect that the copy does not
    /// contain. In Unix milliseconds of the store.
    pub valid_ms: Range<i64>,
}

/// Why a rate card was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RefusedCard {
    /// A field of the card is wrong.
    #[error(transparent)]
    Invalid(#[from] InvalidRateCard),
    /// The card's version belongs to another card.
    #[error("the version {0} belongs to another rate card; choose a new one")]
    VersionReused(String),
    /// The card would take effect too soon.
    #[error("a rate card has to be announced: the earliest effective_at is now {earliest_ms}")]
    NoticeTooShort {
        /// Earliest acceptable effective time, in Unix milliseconds.
        earliest_ms: i64,
    },
}

impl Catalogue {
    /// Returns what the product sells.
    pub fn shipped() -> Self {
        Self { included_credits: IncludedCredits::SHIPPED, rate_cards: vec![RateCard::shipped()] }
    }

    /// Returns the card in effect at a time. `None` before the first card's effective time.
    pub fn card_at(&self, at_ms: i64) -> Option<&RateCard> {
        self.rate_cards.get(self.index_at(at_ms)?)
    }

    /// Returns the index of that card.
    fn index_at(&self, at_ms: i64) -> Option<usize> {
        self.rate_cards.iter().rposition(|card| card.effective_at_ms <= at_ms)
    }

    /// Returns the next card that is announced and not yet in effect.
    pub fn announced_at(&self, at_ms: i64) -> Option<&RateCard> {
        self.rate_cards.iter().find(|card| card.effective_at_ms > at_ms)
    }

    /// Returns the rate of a model on a card, both given by name.
    pub fn rate(&self, card_version: &str, model: &str) -> Option<&Rate> {
        self.rate_cards.iter().find(|card| card.version == card_version)?.rate(model)
    }

    /// Returns this catalogue with one more card. `None` if it already contains exactly this card.
    pub fn with_card(&self, card: &RateCard, now_ms: i64, notice_ms: i64) -> Result<Option<Self>, RefusedCard> {
        card.validate()?;
        if let Some(existing) = self.rate_cards.iter().find(|existing| existing.version == card.version) {
            return if existing == card { Ok(None) } else { Err(RefusedCard::VersionReused(card.version.clone())) };
        }
        let earliest_ms = now_ms + notice_ms.max(MIN_NOTICE_MS);
        if card.effective_at_ms < earliest_ms {
            return Err(RefusedCard::NoticeTooShort { earliest_ms });
        }
        let refuse = |field: &str, problem: String| {
            Err(RefusedCard::Invalid(InvalidRateCard { field: field.to_owned(), problem }))
        };
        let later = self.rate_cards.partition_point(|other| other.effective_at_ms < card.effective_at_ms);
        if let Some(other) = self.rate_cards.get(later).filter(|other| other.effective_at_ms == card.effective_at_ms) {
            return refuse(
                "rate_card.effective_at",
                format!("the card {} already takes effect at that time; choose another time", other.version),
            );
        }
        let mut catalogue = self.clone();
        catalogue.rate_cards.insert(later, card.clone());
        if serde_json::to_vec(&catalogue).map_or(usize::MAX, |body| body.len()) > MAX_BYTES {
            return refuse(
                "rate_card",
                format!(
                    "all rate cards together would exceed {MAX_BYTES} bytes, and cards are never removed; shorten this one"
                ),
            );
        }
        Ok(Some(catalogue))
    }
}

impl VersionedCatalogue {
    /// Reads the record of a catalogue. `read_at_ms` is the store's time of the reply.
    pub fn from_fields(fields: &FieldMap, read_at_ms: i64) -> Result<Self, Damaged> {
        let damaged = |what: &str| Damaged::new("catalogue", what);
        let version = fields.number("version").ok_or_else(|| damaged("no version"))?;
        let body = fields.text("body").ok_or_else(|| damaged("no body"))?;
        let catalogue: Catalogue = serde_json::from_str(body).map_err(|error| damaged(&error.to_string()))?;
        // Sums with these numbers must not overflow, even if another program wrote the record.
        let mut card_ids = Vec::new();
        for card in &catalogue.rate_cards {
            card.validate().map_err(|invalid| damaged(&invalid.to_string()))?;
            card_ids.push(Id::parse(&card.version).map_err(|invalid| damaged(&invalid.to_string()))?);
        }
        let included = Plan::ALL.map(|plan| catalogue.included_credits.of(plan, true));
        if included.iter().any(|credits| !(0..=MAX_INCLUDED_CREDITS).contains(credits))
            || !(0..=MAX_INCLUDED_CREDITS).contains(&catalogue.included_credits.without_seat)
        {
            return Err(damaged("included credits out of range"));
        }
        Ok(Self { version, read_at_ms, catalogue, card_ids })
    }

    /// Returns the card in effect at a time. `None` before the first card's effective time.
    pub fn card_in_effect(&self, at_ms: i64) -> Option<CardInEffect<'_>> {
        let index = self.catalogue.index_at(at_ms)?;
        let (card, id) = (self.catalogue.rate_cards.get(index)?, self.card_ids.get(index)?);
        let known_until_ms = self.read_at_ms + MIN_NOTICE_MS;
        let next = self.catalogue.announced_at(at_ms);
        let until_ms = next.map_or(known_until_ms, |next| next.effective_at_ms.min(known_until_ms));
        Some(CardInEffect { card, id, valid_ms: card.effective_at_ms..until_ms })
    }
}

/// Returns the scope of the catalogue. No team ID equals it.
pub fn scope() -> Scope {
    Scope::new("!catalogue")
}

/// Builds the transaction that reads the catalogue. Its record is the first one in the reply.
pub fn read() -> Transaction {
    let mut transaction = Transaction::on(scope());
    transaction.record(key(), Read::Whole);
    transaction
}

/// Builds the transaction that writes a catalogue if the store has none. The first record in the reply is the catalogue
/// that the store has then.
pub fn seed(catalogue: &Catalogue) -> Result<Transaction, Damaged> {
    let mut transaction = Transaction::on(scope());
    let record = transaction.record(key(), Read::Whole);
    transaction.option(vec![Guard::Absent(record)], writes(record, 1, catalogue)?);
    Ok(transaction)
}

/// Builds the transaction that replaces the catalogue and adds `card`. The store applies it only if its catalogue still
/// has the version of `from`, and `card` is still announced early enough.
pub fn replace(
    from: &VersionedCatalogue,
    to: &Catalogue,
    card: &RateCard,
    notice_ms: i64,
    caller: &str,
) -> Result<Transaction, Damaged> {
    let mut transaction = Transaction::on(scope());
    let record = transaction.record(key(), Read::Whole);
    let log = transaction.record(keys::audit(), Read::Nothing);
    transaction.require(Guard::FieldEquals(record, "version", from.version.to_string()));
    transaction.require(not_after(card.effective_at_ms - notice_ms.max(MIN_NOTICE_MS)));
    let mut writes = writes(record, from.version + 1, to)?;
    writes.push(audit::append(log, caller, "rate card", String::new(), json(card)?));
    transaction.option(Vec::new(), writes);
    Ok(transaction)
}

fn writes(record: RecordRef, version: i64, catalogue: &Catalogue) -> Result<Vec<Write>, Damaged> {
    Ok(vec![Write::Set(record, "version", version.into()), Write::Set(record, "body", json(catalogue)?.into())])
}

fn json(value: &impl Serialize) -> Result<String, Damaged> {
    serde_json::to_string(value).map_err(|error| Damaged::new("catalogue", error.to_string()))
}

fn key() -> Key {
    Key::hash("catalogue")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A catalogue accepts cards until it is too large to be fetched each second.
    #[test]
    fn a_catalogue_accepts_cards_up_to_its_maximum_size() {
        let rate = RateCard::shipped().rates.remove(0);
        let rates: Vec<_> = (0..1_000).map(|model| Rate { model: format!("model-{model}"), ..rate.clone() }).collect();
        let card = |number: i64| RateCard {
            version: format!("card-{number}"),
            effective_at_ms: 1_800_000_000_000 + number,
            rates: rates.clone(),
        };
        let mut catalogue = Catalogue::shipped();
        let refused = (0..).find_map(|number| match catalogue.with_card(&card(number), 0, 0) {
            Ok(Some(larger)) => {
                catalogue = larger;
                None
            }
            other => Some(other),
        });
        assert!(matches!(refused, Some(Err(RefusedCard::Invalid(_)))), "{refused:?}");
        assert!(catalogue.rate_cards.len() > 10);
        assert!(serde_json::to_vec(&catalogue).unwrap().len() <= MAX_BYTES);
    }
}
