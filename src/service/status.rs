//! Turns an error of the gate into a status with details. A status never names an address, a key or a script; the log has the
//! cause.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{
    call_refusal::{ERROR_DOMAIN, RETRY_OVERLOADED, RETRY_UNAVAILABLE},
    gate::GateError,
    store::{StoreError, causes},
};

/// A row of the contract's table of errors.
struct ErrorRow {
    code: Code,
    reason: &'static str,
    detail: Detail,
}

/// What the details hold in addition to the reason.
enum Detail {
    Nothing,
    Field { field: String, problem: String },
    Retry(Duration),
    Precondition { subject: &'static str },
}

impl From<GateError> for Status {
    fn from(error: GateError) -> Self {
        log(&error);
        let message = message(&error);
        let ErrorRow { code, reason, detail } = row(error);
        let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new());
        match detail {
            Detail::Nothing => {}
            Detail::Field { field, problem } => {
                details.add_bad_request_violation(field, problem);
            }
            Detail::Retry(delay) => {
                details.set_retry_info(Some(delay));
            }
            Detail::Precondition { subject } => {
                details.add_precondition_failure_violation(reason, subject, message.as_str());
            }
        }
        Self::with_error_details(code, message, details)
    }
}

fn row(error: GateError) -> ErrorRow {
    let problem = error.to_string();
    let not_found = |reason| ErrorRow { code: Code::NotFound, reason, detail: Detail::Nothing };
    let invalid = |reason, field: String, problem| ErrorRow {
        code: Code::InvalidArgument,
        reason,
        detail: Detail::Field { field, problem },
    };
    let failed =
        |reason, subject| ErrorRow { code: Code::FailedPrecondition, reason, detail: Detail::Precondition { subject } };
    let unavailable = |reason| ErrorRow { code: Code::Unavailable, reason, detail: Detail::Retry(RETRY_UNAVAILABLE) };
    match error {
        GateError::InvalidField { field, problem } => invalid("INVALID_FIELD", field, problem),
        GateError::UnknownModel { .. } => invalid("UNKNOWN_MODEL", "model".to_owned(), problem),
        GateError::TeamNotFound => not_found("TEAM_NOT_FOUND"),
        GateError::ReservationNotFound => not_found("RESERVATION_NOT_FOUND"),
        GateError::RunNotFound => not_found("RUN_NOT_FOUND"),
        GateError::RateCardNotFound => not_found("RATE_CARD_NOT_FOUND"),
        GateError::IdReused { .. } => {
            ErrorRow { code: Code::AlreadyExists, reason: "ID_REUSED", detail: Detail::Nothing }
        }
        GateError::ReservationReleased => failed("RESERVATION_RELEASED", "reservation"),
        GateError::ReservationCommitted => failed("RESERVATION_COMMITTED", "reservation"),
        GateError::ReservationExpired => failed("RESERVATION_EXPIRED", "reservation"),
        GateError::RunEnded => failed("RUN_ENDED", "run"),
        GateError::OveragesUnavailable(_) => failed("OVERAGES_UNAVAILABLE", "team"),
        GateError::NoticeTooShort { .. } => failed("NOTICE_TOO_SHORT", "rate_card"),
        GateError::Draining => unavailable("DRAINING"),
        GateError::Unverified | GateError::Store(StoreError::Unavailable { .. }) => unavailable("STORE_UNAVAILABLE"),
        GateError::Store(StoreError::Overloaded) => {
            ErrorRow { code: Code::ResourceExhausted, reason: "OVERLOADED", detail: Detail::Retry(RETRY_OVERLOADED) }
        }
        GateError::Store(StoreError::Fault { .. }) | GateError::Damaged(_) => {
            ErrorRow { code: Code::Internal, reason: "STORE_FAULT", detail: Detail::Nothing }
        }
    }
}

fn message(error: &GateError) -> String {
    match error {
        GateError::Store(StoreError::Unavailable { .. }) => {
            "the store cannot be reached; repeat the call with the same id".to_owned()
        }
        GateError::Store(StoreError::Overloaded) => {
            "too many calls in flight; repeat the call with the same id".to_owned()
        }
        GateError::Store(StoreError::Fault { .. }) | GateError::Damaged(_) => {
            "unexpected data in the store; see the sidecar's log".to_owned()
        }
        other => other.to_string(),
    }
}

fn log(error: &GateError) {
    match error {
        GateError::Store(StoreError::Fault { .. }) | GateError::Damaged(_) => {
            tracing::error!(cause = causes(error), "a call failed on unexpected data in the store");
        }
        // The store logs once that it is unavailable. Each call that fails on that adds nothing.
        GateError::Store(StoreError::Unavailable { .. } | StoreError::Overloaded) | GateError::Unverified => {
            tracing::debug!(cause = causes(error), "a call got no answer from the store");
        }
        refused => tracing::debug!(decision = "refused", cause = %refused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Damaged, terms_change::OveragesUnavailable};

    /// The contract's table of errors.
    fn table() -> Vec<(GateError, Code, &'static str)> {
        let unknown_model = GateError::UnknownModel { model: "m".into(), rate_card: "c".into() };
        let short = GateError::NoticeTooShort { notice: "168h".into(), earliest: "2025-01-22T00:00:00Z".into() };
        let damaged = Damaged { record: "terms", what: "the key {t}:terms".into() };
        vec![
            (GateError::invalid("units", "must be at most 10000"), Code::InvalidArgument, "INVALID_FIELD"),
            (unknown_model, Code::InvalidArgument, "UNKNOWN_MODEL"),
            (GateError::TeamNotFound, Code::NotFound, "TEAM_NOT_FOUND"),
            (GateError::ReservationNotFound, Code::NotFound, "RESERVATION_NOT_FOUND"),
            (GateError::RunNotFound, Code::NotFound, "RUN_NOT_FOUND"),
            (GateError::RateCardNotFound, Code::NotFound, "RATE_CARD_NOT_FOUND"),
            (GateError::IdReused { what: "run_id" }, Code::AlreadyExists, "ID_REUSED"),
            (GateError::ReservationReleased, Code::FailedPrecondition, "RESERVATION_RELEASED"),
            (GateError::ReservationCommitted, Code::FailedPrecondition, "RESERVATION_COMMITTED"),
            (GateError::ReservationExpired, Code::FailedPrecondition, "RESERVATION_EXPIRED"),
            (GateError::RunEnded, Code::FailedPrecondition, "RUN_ENDED"),
            (OveragesUnavailable.into(), Code::FailedPrecondition, "OVERAGES_UNAVAILABLE"),
            (short, Code::FailedPrecondition, "NOTICE_TOO_SHORT"),
            (GateError::Draining, Code::Unavailable, "DRAINING"),
            (GateError::Unverified, Code::Unavailable, "STORE_UNAVAILABLE"),
            (
                StoreError::Unavailable { reason: "redis://secret", source: None }.into(),
                Code::Unavailable,
                "STORE_UNAVAILABLE",
            ),
            (StoreError::Overloaded.into(), Code::ResourceExhausted, "OVERLOADED"),
            (StoreError::Fault { reason: "{t}:terms".into() }.into(), Code::Internal, "STORE_FAULT"),
            (damaged.into(), Code::Internal, "STORE_FAULT"),
        ]
    }

    #[test]
    fn every_error_has_its_code_and_reason() {
        for (error, code, reason) in table() {
            let text = format!("{error:?}");
            let status = Status::from(error);
            assert_eq!(status.code(), code, "{text}");
            let info = status.get_details_error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "tollgate"), "{text}");
        }
    }

    #[test]
    fn each_code_has_its_detail() {
        for (error, code, reason) in table() {
            let status = Status::from(error);
            let details = status.get_error_details();
            assert_eq!(details.bad_request().is_some(), code == Code::InvalidArgument, "{reason}");
            assert_eq!(details.precondition_failure().is_some(), code == Code::FailedPrecondition, "{reason}");
            let is_transient = matches!(code, Code::Unavailable | Code::ResourceExhausted);
            assert_eq!(details.retry_info().is_some(), is_transient, "{reason}");
        }
    }

    #[test]
    fn a_violation_names_the_field_and_the_problem() {
        let status = Status::from(GateError::invalid("team.plan", "must name a plan"));
        assert_eq!(status.message(), "team.plan must name a plan");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(
            (violations[0].field.as_str(), violations[0].description.as_str()),
            ("team.plan", "must name a plan")
        );
    }

    #[test]
    fn clients_do_not_learn_what_the_store_holds() {
        let damaged = Damaged { record: "terms", what: "the key {t}:terms".into() };
        let status = Status::from(GateError::from(damaged));
        assert!(!status.message().contains("terms"), "{}", status.message());
    }
}
