//! The catalogue: what plans include, and every rate card, as one versioned record that all sidecars share.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    Damaged, keys,
    plan::IncludedCredits,
    rate_card::{InvalidRateCard, Rate, RateCard},
};
use crate::transaction::{Fields, Guard, Key, Read, RecordRef, Scope, Transaction, Value, Write};

/// A change of the catalogue takes effect no sooner than this after it was accepted, so that every sidecar has fetched it
/// by then: they fetch it each second, and a copy older than 8 s prices nothing.
pub const MIN_NOTICE_MS: i64 = 10_000;

/// The most cards that a catalogue holds; cards are never removed, for old reservations are settled at theirs.
pub const MAX_RATE_CARDS: usize = 1_000;

/// How many audit entries of the catalogue stay.
const AUDIT_ENTRIES: u32 = 10_000;

/// Plans and rate cards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    /// What plans include.
    pub included_credits: IncludedCredits,
    /// Every card, by `effective_at_ms`.
    pub rate_cards: Vec<RateCard>,
}

/// A catalogue, and the version of its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionedCatalogue {
    /// Counts changes.
    pub version: i64,
    /// What it says.
    pub catalogue: Catalogue,
}

/// The card in effect at some time, and until when it is.
#[derive(Clone, Copy, Debug)]
pub struct CardInEffect<'a> {
    /// The card.
    pub card: &'a RateCard,
    /// When the next one takes its place, in Unix milliseconds; `None` if none is announced.
    pub until_ms: Option<i64>,
}

/// Why a card was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RefusedCard {
    /// A field of it is wrong.
    #[error(transparent)]
    Invalid(#[from] InvalidRateCard),
    /// Its version belongs to another card.
    #[error("the version {0} belongs to another rate card; choose a new one")]
    VersionReused(String),
    /// It would take effect too soon.
    #[error("a rate card has to be announced: the earliest effective_at is now {earliest_ms}")]
    NoticeTooShort {
        /// The earliest acceptable effective time, in Unix milliseconds.
        earliest_ms: i64,
    },
}

impl Catalogue {
    /// What the product sells.
    pub fn shipped() -> Self {
        Self { included_credits: IncludedCredits::SHIPPED, rate_cards: vec![RateCard::shipped()] }
    }

    /// The card in effect at a time; `None` before the first one.
    pub fn card_at(&self, at_ms: i64) -> Option<CardInEffect<'_>> {
        let later = self.rate_cards.partition_point(|card| card.effective_at_ms <= at_ms);
        let card = self.rate_cards.get(later.checked_sub(1)?)?;
        Some(CardInEffect { card, until_ms: self.rate_cards.get(later).map(|next| next.effective_at_ms) })
    }

    /// The next card that is announced and not yet in effect.
    pub fn announced_at(&self, at_ms: i64) -> Option<&RateCard> {
        self.rate_cards.iter().find(|card| card.effective_at_ms > at_ms)
    }

    /// The rate of a model on a card, both by name.
    pub fn rate(&self, card_version: &str, model: &str) -> Option<&Rate> {
        self.rate_cards.iter().find(|card| card.version == card_version)?.rate(model)
    }

    /// This catalogue with one more card; `None` if it has that very card.
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
            return refuse("rate_card.effective_at", format!("the card {} takes effect at that moment", other.version));
        }
        if self.rate_cards.len() >= MAX_RATE_CARDS {
            return refuse("rate_card", format!("there are {MAX_RATE_CARDS} cards already, and none may be removed"));
        }
        let mut catalogue = self.clone();
        catalogue.rate_cards.insert(later, card.clone());
        Ok(Some(catalogue))
    }
}

impl VersionedCatalogue {
    /// Reads a catalogue's record.
    pub fn from_fields(fields: &Fields) -> Result<Self, Damaged> {
        let damaged = |what: &str| Damaged::new("catalogue", what);
        let version = fields.number("version").ok_or_else(|| damaged("no version"))?;
        let body = fields.text("body").ok_or_else(|| damaged("no body"))?;
        let catalogue = serde_json::from_str(body).map_err(|error| damaged(&error.to_string()))?;
        Ok(Self { version, catalogue })
    }
}

/// The scope of the catalogue, which no team id can equal.
pub fn scope() -> Scope {
    Scope::new("!catalogue")
}

/// Reads the catalogue; its record is the reply's first.
pub fn read() -> Transaction {
    let mut transaction = Transaction::on(scope());
    transaction.record(key(), Read::Whole);
    transaction
}

/// Writes a catalogue if there is none; what there is afterwards is the reply's first record.
pub fn seed(catalogue: &Catalogue) -> Result<Transaction, Damaged> {
    let mut transaction = Transaction::on(scope());
    let record = transaction.record(key(), Read::Whole);
    transaction.option(vec![Guard::Absent(record)], writes(record, 1, catalogue)?);
    Ok(transaction)
}

/// Replaces the catalogue, if it still is of the version that the new one was made from.
pub fn replace(from: &VersionedCatalogue, to: &Catalogue, card: &str, caller: &str) -> Result<Transaction, Damaged> {
    let mut transaction = Transaction::on(scope());
    let record = transaction.record(key(), Read::Whole);
    let log = transaction.record(keys::audit(), Read::Nothing);
    transaction.require(Guard::FieldEquals(record, "version", from.version.to_string()));
    let mut writes = writes(record, from.version + 1, to)?;
    writes.push(Write::Append {
        log,
        fields: vec![
            ("at", Value::now()),
            ("caller", caller.into()),
            ("change", "rate card".into()),
            ("before", String::new().into()),
            ("after", card.into()),
        ],
        keep: Some(AUDIT_ENTRIES),
    });
    transaction.option(Vec::new(), writes);
    Ok(transaction)
}

fn writes(record: RecordRef, version: i64, catalogue: &Catalogue) -> Result<Vec<Write>, Damaged> {
    let body = serde_json::to_string(catalogue).map_err(|error| Damaged::new("catalogue", error.to_string()))?;
    Ok(vec![Write::Set(record, "version", version.into()), Write::Set(record, "body", body.into())])
}

fn key() -> Key {
    Key::hash("catalogue")
}
