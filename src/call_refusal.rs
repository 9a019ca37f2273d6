//! Calls that are refused before they reach the gate, or given up before it answers, and the status that each refusal becomes.
//!
//! The listeners, the gRPC services and the metrics share [`CallRefusal`], so it stands below all of them and must not import any
//! of them.

use std::{collections::HashMap, error::Error, fmt, sync::Arc, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The `domain` of every ErrorInfo that a sidecar sends.
pub(crate) const ERROR_DOMAIN: &str = "tollgate";

/// RetryInfo delay of a call that found the store or the sidecar unavailable.
pub(crate) const RETRY_UNAVAILABLE: Duration = Duration::from_secs(1);

/// RetryInfo delay of a call that came while too many others were in flight.
pub(crate) const RETRY_OVERLOADED: Duration = Duration::from_millis(200);

/// Prefix of prost's error for a message that it cannot decode.
const UNDECODABLE: &str = "failed to decode Protobuf message: ";

/// Why a call was refused before it reached the gate, or was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallRefusal {
    /// The request is larger than this number of bytes.
    TooLarge(u32),
    /// The request is not a valid message of its method.
    Undecodable {
        /// The field, as the contract names it, or `request` if no single field is wrong.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Too many calls are in flight.
    Overloaded,
    /// No answer was ready shortly before the call's deadline.
    Unanswered,
    /// The request did not arrive before the call's deadline.
    Incomplete,
    /// The call has no token, but the listener requires one.
    NoToken,
    /// The call has a token that is not the listener's.
    WrongToken,
    /// The client must not ask for this team, whether the team exists or not.
    TeamNotAllowed,
}

impl CallRefusal {
    /// Returns the refusal for an error of tonic's own, or `None` if the contract has none for it.
    ///
    /// Every error of the contract has details. A status without them comes from tonic, which answers OUT_OF_RANGE to a request
    /// that is too large, and INTERNAL, although the client is to blame, to one that it cannot decode.
    pub fn from_bare(status: &Status, max_message_bytes: u32) -> Option<Self> {
        match status.code() {
            _ if !status.details().is_empty() => None,
            Code::OutOfRange => Some(Self::TooLarge(max_message_bytes)),
            Code::Internal => Some(Self::undecodable(status.message())),
            _ => None,
        }
    }

    /// Returns the refusal that a status was made from, if it was.
    pub fn of(status: &Status) -> Option<&Self> {
        status.source()?.downcast_ref()
    }

    /// Returns whether a status refuses a team. This works for a status that was read from response headers, where [`Self::of`]
    /// does not.
    pub fn is_of_team(status: &Status) -> bool {
        // No other error of the contract has this code.
        status.code() == Code::PermissionDenied
    }

    /// Returns the refusal for a decoding error of prost. prost names the field from the inside out:
    /// `Team.plan: PutTeamRequest.team: invalid string value` is about `team.plan`.
    pub(crate) fn undecodable(message: &str) -> Self {
        let mut rest = message.strip_prefix(UNDECODABLE).unwrap_or(message);
        let mut fields = Vec::new();
        while let Some((place, after)) = rest.split_once(": ")
            && let Some((_, field)) = place.split_once('.')
            && field.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        {
            fields.push(field);
            rest = after;
        }
        if fields.is_empty() {
            let problem = "is not a valid message of this method; check the version of the contract".to_owned();
            return Self::Undecodable { field: "request".to_owned(), problem };
        }
        fields.reverse();
        Self::Undecodable { field: fields.join("."), problem: format!("cannot be decoded: {rest}") }
    }
}

impl fmt::Display for CallRefusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self:?}")
    }
}

impl Error for CallRefusal {}

impl From<CallRefusal> for Status {
    fn from(refusal: CallRefusal) -> Self {
        let with = |reason: &str| ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new());
        let invalid = |field: &str, problem: String| {
            let mut details = with("INVALID_FIELD");
            let message = format!("{field} {problem}");
            details.add_bad_request_violation(field, problem);
            Self::with_error_details(Code::InvalidArgument, message, details)
        };
        let retry = |code, reason: &str, delay: Duration, message: &str| {
            let mut details = with(reason);
            details.set_retry_info(Some(delay));
            Self::with_error_details(code, message, details)
        };
        let denied = |code, reason: &str, message: &str| Self::with_error_details(code, message, with(reason));
        let source = Arc::new(refusal.clone());
        let mut status = match refusal {
            CallRefusal::TooLarge(limit) => invalid(
                "request",
                format!("is larger than {limit} bytes; send a smaller one, or raise max_message_bytes"),
            ),
            CallRefusal::Undecodable { field, problem } => invalid(&field, problem),
            CallRefusal::Overloaded => retry(
                Code::ResourceExhausted,
                "OVERLOADED",
                RETRY_OVERLOADED,
                "too many calls in flight; repeat the call with the same id",
            ),
            CallRefusal::Unanswered => retry(
                Code::Unavailable,
                "STORE_UNAVAILABLE",
                RETRY_UNAVAILABLE,
                "no answer was ready before the call's deadline; repeat the call with the same id",
            ),
            CallRefusal::Incomplete => retry(
                Code::DeadlineExceeded,
                "REQUEST_INCOMPLETE",
                RETRY_UNAVAILABLE,
                "the request did not arrive before its deadline; repeat the call with the same id",
            ),
            CallRefusal::NoToken => denied(
                Code::Unauthenticated,
                "TOKEN_MISSING",
                "this listener requires a token, as in `authorization: Bearer TOKEN`",
            ),
            CallRefusal::WrongToken => {
                denied(Code::Unauthenticated, "TOKEN_WRONG", "the token is not valid for this listener")
            }
            CallRefusal::TeamNotAllowed => denied(
                Code::PermissionDenied,
                "TEAM_NOT_ALLOWED",
                "the certificate of this client does not allow it to ask for this team; see [clients] in the sidecar's configuration",
            ),
        };
        // So that the metrics can count the refusal.
        status.set_source(source);
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field_of(message: &str) -> String {
        match CallRefusal::from_bare(&Status::internal(message), 1) {
            Some(CallRefusal::Undecodable { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_field_that_cannot_be_decoded_is_named() {
        use crate::proto::v1::{CommitRequest, PutTeamRequest};
        use prost::Message as _;
        // Field 1 with one byte that is not UTF-8, and then the same inside a message.
        let error = CommitRequest::decode(&b"\x0a\x01\xff"[..]).unwrap_err();
        assert_eq!(field_of(&error.to_string()), "team_id");
        let error = PutTeamRequest::decode(&b"\x0a\x03\x12\x01\xff"[..]).unwrap_err();
        assert_eq!(field_of(&error.to_string()), "team.plan");
        for message in ["Unexpected EOF decoding stream.", "protocol error: received message with a. b: c", ""] {
            assert_eq!(field_of(message), "request", "{message}");
        }
    }

    #[test]
    fn only_a_status_without_details_is_tonics() {
        let ours = Status::from(CallRefusal::Unanswered);
        assert_eq!(CallRefusal::from_bare(&ours, 1), None);
        assert_eq!(CallRefusal::from_bare(&Status::not_found("unknown service"), 1), None);
        assert_eq!(CallRefusal::from_bare(&Status::out_of_range("too large"), 7), Some(CallRefusal::TooLarge(7)));
    }

    #[test]
    fn every_refusal_has_its_code_and_reason() {
        let undecodable = CallRefusal::Undecodable { field: "f".to_owned(), problem: "p".to_owned() };
        for (refusal, code, reason) in [
            (CallRefusal::TooLarge(1), Code::InvalidArgument, "INVALID_FIELD"),
            (undecodable, Code::InvalidArgument, "INVALID_FIELD"),
            (CallRefusal::Overloaded, Code::ResourceExhausted, "OVERLOADED"),
            (CallRefusal::Unanswered, Code::Unavailable, "STORE_UNAVAILABLE"),
            (CallRefusal::Incomplete, Code::DeadlineExceeded, "REQUEST_INCOMPLETE"),
            (CallRefusal::NoToken, Code::Unauthenticated, "TOKEN_MISSING"),
            (CallRefusal::WrongToken, Code::Unauthenticated, "TOKEN_WRONG"),
            (CallRefusal::TeamNotAllowed, Code::PermissionDenied, "TEAM_NOT_ALLOWED"),
        ] {
            let status = Status::from(refusal);
            let details = status.get_error_details();
            let info = details.error_info().unwrap();
            assert_eq!((status.code(), info.reason.as_str(), info.domain.as_str()), (code, reason, "tollgate"));
            assert_eq!(details.bad_request().is_some(), code == Code::InvalidArgument, "{reason}");
            let is_transient = matches!(code, Code::ResourceExhausted | Code::Unavailable | Code::DeadlineExceeded);
            assert_eq!(details.retry_info().is_some(), is_transient, "{reason}");
        }
    }
}
