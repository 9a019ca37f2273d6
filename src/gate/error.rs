//! Errors of the gate. A suspension is not one of them: it is an answer.

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
        /// Path of the field, as the contract names it.
        field: String,
        /// What is wrong, and what to do, as the rest of a sentence.
        problem: String,
    },
    /// The rate card has no rate for the model.
    #[error("the model {model} is not on the rate card {rate_card}")]
    UnknownModel {
        /// The model.
        model: String,
        /// Version of the card.
        rate_card: String,
    },
    /// There is no such team.
    #[error("there is no such team; PutTeam creates it")]
    TeamNotFound,
    /// There is no such reservation, or its retention is over.
    #[error("there is no such reservation, or its retention is over")]
    ReservationNotFound,
    /// There is no such run.
    #[error("there is no such run")]
    RunNotFound,
    /// No rate card is in effect at that time.
    #[error("no rate card is in effect at that time")]
    RateCardNotFound,
    /// The id was used before with different content.
    #[error("this {what} was already used with different content; use a new one for a new call")]
    IdReused {
        /// Which id, as the contract names its field.
        what: &'static str,
    },
    /// The reservation was released.
    #[error("the reservation was released; make a new one")]
    ReservationReleased,
    /// The reservation was committed.
    #[error("the reservation was already committed")]
    ReservationCommitted,
    /// The reservation's hold has run out.
    #[error("the reservation's hold has run out; it can still be committed, but a new call needs a new reservation")]
    ReservationExpired,
    /// The run has ended, by EndRun or by its age.
    #[error("the run has ended; begin a new one")]
    RunEnded,
    /// The team's plan or seat does not allow overages.
    #[error(transparent)]
    OveragesUnavailable(#[from] OveragesUnavailable),
    /// The rate card takes effect too soon.
    #[error("a rate card must be announced at least {notice} ahead; the earliest effective_at is now {earliest}")]
    NoticeTooShort {
        /// The minimum notice, as people write a duration.
        notice: String,
        /// The earliest effective time, in RFC 3339.
        earliest: String,
    },
    /// The sidecar is shutting down.
    #[error("this sidecar is shutting down; repeat the call at another one")]
    Draining,
    /// The call gave up after too many attempts, because its data kept changing.
    #[error("no answer could be verified in time; repeat the call with the same id")]
    Unverified,
    /// The store did not answer, or refused the call.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store contains a record that the rules cannot have written.
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

impl GateError {
    /// Makes the error for a field of the request.
    pub fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::InvalidField { field: field.into(), problem: problem.into() }
    }

    /// Returns whether the store did not answer. The store logs once that it is lost; a failure that follows from it is
    /// not worth a warning.
    pub(crate) fn is_store_outage(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unavailable { .. }))
    }

    /// Makes the error for a page token that did not come with a page of this list.
    pub(crate) fn foreign_page_token() -> Self {
        Self::invalid("page_token", "must be a token that came with a page of this list")
    }
}

impl From<InvalidRateCard> for GateError {
    fn from(invalid: InvalidRateCard) -> Self {
        Self::InvalidField { field: invalid.field, problem: invalid.problem }
    }
}

impl GateError {
    /// Makes the error for a card that was not accepted under a minimum notice, in milliseconds.
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
