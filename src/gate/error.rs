//! Everything that keeps the gate from an answer. A denial is none of it: that is an answer.

use thiserror::Error;

use crate::{
    domain::{Damaged, catalogue::RefusedCard, rate_card::InvalidRateCard, terms_change::OveragesUnavailable},
    store::StoreError,
};

/// Why a call has no answer.
#[derive(Debug, Error)]
pub enum GateError {
    /// A field of the request is wrong.
    #[error("{field} {problem}")]
    InvalidField {
        /// The field's path, as the contract names it.
        field: String,
        /// What is wrong, and what to do, as the rest of a sentence.
        problem: String,
    },
    /// The model is not on the card.
    #[error("the model {model} is not on the rate card {rate_card}")]
    UnknownModel {
        /// The model.
        model: String,
        /// The card's version.
        rate_card: String,
    },
    /// There is no such team.
    #[error("there is no such team; PutTeam makes one")]
    TeamNotFound,
    /// There is no such reservation, or its retention is over.
    #[error("there is no such reservation, or it was settled too long ago")]
    ReservationNotFound,
    /// There is no such run.
    #[error("there is no such run")]
    RunNotFound,
    /// No rate card is in effect at that time.
    #[error("no rate card is in effect at that time")]
    RateCardNotFound,
    /// The id belongs to something with other content.
    #[error("this {what} was used before with other content; a new call needs a new one")]
    IdReused {
        /// Which id, as the contract names its field.
        what: &'static str,
    },
    /// The reservation was released.
    #[error("the reservation was released; ask for a new one")]
    ReservationReleased,
    /// The reservation was committed.
    #[error("the reservation was committed already")]
    ReservationCommitted,
    /// The reservation's hold ran out.
    #[error("the reservation's hold ran out; a commit still counts, and a new call needs a new reservation")]
    ReservationExpired,
    /// The run has ended, by EndRun or by its age.
    #[error("the run has ended; begin a new one")]
    RunEnded,
    /// The team may not have overages.
    #[error(transparent)]
    OveragesUnavailable(#[from] OveragesUnavailable),
    /// A rate card would take effect too soon.
    #[error("a rate card has to be announced at least {notice} ahead: the earliest effective_at is now {earliest}")]
    NoticeTooShort {
        /// The notice, for people.
        notice: String,
        /// RFC 3339.
        earliest: String,
    },
    /// The sidecar is shutting down.
    #[error("this sidecar is shutting down; repeat the call at another one")]
    Draining,
    /// The catalogue could not be fetched for so long that its prices may be old, or the answer kept changing.
    #[error("no answer could be verified in time; repeat the call with the same id")]
    Unverified,
    /// The store gave no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store has a record that the rules cannot have written.
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

impl GateError {
    /// A field of the request is wrong.
    pub fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::InvalidField { field: field.into(), problem: problem.into() }
    }

    /// Whether the store did not answer. The store logs once that it is lost; a failure that follows from it is not
    /// worth a warning.
    pub(crate) fn is_store_outage(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unavailable { .. }))
    }

    /// A page token that no page came with.
    pub(crate) fn foreign_page_token() -> Self {
        Self::invalid("page_token", "is not one that a page came with")
    }
}

impl From<InvalidRateCard> for GateError {
    fn from(invalid: InvalidRateCard) -> Self {
        Self::InvalidField { field: invalid.field, problem: invalid.problem }
    }
}

impl GateError {
    /// A card that was not accepted under a notice of so many milliseconds.
    pub(crate) fn refused_card(refused: RefusedCard, notice_ms: i64) -> Self {
        match refused {
            RefusedCard::Invalid(invalid) => invalid.into(),
            RefusedCard::VersionReused(_) => Self::IdReused { what: "version" },
            RefusedCard::NoticeTooShort { earliest_ms } => Self::NoticeTooShort {
                notice: format!("{:#}", jiff::SignedDuration::from_millis(notice_ms)),
                earliest: jiff::Timestamp::from_millisecond(earliest_ms)
                    .map_or_else(|_| format!("{earliest_ms} ms"), |at| at.to_string()),
            },
        }
    }
}
