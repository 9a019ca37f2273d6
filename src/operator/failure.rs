//! Why a command could not do what it was asked: a sentence for whoever asked, and an exit code of sysexits.h for scripts.

use std::{error::Error as _, io};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::client::Address;

/// The command was used wrongly.
pub(super) const EXIT_USAGE: u8 = 64;

/// What was given is refused.
pub(super) const EXIT_DATA: u8 = 65;

/// What was named is not there.
pub(super) const EXIT_NOT_FOUND: u8 = 66;

/// No sidecar answers.
const EXIT_UNAVAILABLE: u8 = 69;

/// Something broke that should not.
pub(super) const EXIT_SOFTWARE: u8 = 70;

/// The output could not be written.
const EXIT_IO: u8 = 74;

/// It may work later.
const EXIT_LATER: u8 = 75;

/// The other end does not know the call.
const EXIT_PROTOCOL: u8 = 76;

/// The other end does not let this caller do it.
const EXIT_NOT_ALLOWED: u8 = 77;

/// Where the sidecar is was said in a way that is of no use.
pub(super) const EXIT_CONFIG: u8 = 78;

/// Why a command came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What to tell whoever asked.
    pub sentence: String,
    /// The exit code.
    pub code: u8,
}

/// What ends a command early.
#[derive(Debug)]
pub(super) enum Stop {
    /// Nobody reads standard output any more, which is no failure.
    ReaderLeft,
    /// It failed.
    Failed(Failure),
}

impl Failure {
    pub(super) fn new(code: u8, sentence: impl Into<String>) -> Self {
        Self { code, sentence: sentence.into() }
    }

    /// Nobody answers at an address that an option names.
    pub(super) fn unreachable(address: &Address, option: &str) -> Self {
        let listener = option.trim_start_matches('-');
        let sentence =
            format!("no sidecar answers at {address}; is it running? name its {listener} listener with {option}");
        Self::new(EXIT_UNAVAILABLE, sentence)
    }

    /// A sidecar that was connected to did not answer in time.
    pub(super) fn silent(address: &Address, seconds: u64) -> Self {
        Self::new(
            EXIT_LATER,
            format!(
                "the sidecar at {address} did not answer within {seconds} seconds; the same command again does no harm"
            ),
        )
    }

    /// What a sidecar, or the connection to it, answered instead of what was asked.
    pub(super) fn answered(status: &Status, address: &Address, option: &str) -> Self {
        // Only this side of the connection attaches a source: it broke.
        if status.source().is_some() {
            return Self::unreachable(address, option);
        }
        let code = match status.code() {
            Code::InvalidArgument | Code::OutOfRange | Code::AlreadyExists | Code::FailedPrecondition => EXIT_DATA,
            Code::NotFound => EXIT_NOT_FOUND,
            Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted => {
                EXIT_LATER
            }
            Code::Unimplemented => EXIT_PROTOCOL,
            Code::PermissionDenied | Code::Unauthenticated => EXIT_NOT_ALLOWED,
            _ => EXIT_SOFTWARE,
        };
        Self::new(code, sentence(status, address))
    }
}

/// The message of an answer, with the field that is wrong and the reason that a script may look for.
fn sentence(status: &Status, address: &Address) -> String {
    let mut sentence = match status.message() {
        "" if status.code() == Code::Unimplemented => format!("the sidecar at {address} does not know this call"),
        "" => format!("the sidecar at {address} gave no reason"),
        message => message.to_owned(),
    };
    let violations = status.get_details_bad_request().map(|request| request.field_violations).unwrap_or_default();
    if let Some(violation) = violations.first().filter(|violation| !sentence.contains(&violation.field)) {
        sentence = format!("{}: {sentence}", violation.field);
    }
    let reason = status.get_details_error_info().map_or_else(|| format!("{:?}", status.code()), |info| info.reason);
    format!("{sentence} ({reason})")
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<io::Error> for Stop {
    /// For errors of writing to standard output only.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderLeft,
            _ => Failure::new(EXIT_IO, format!("cannot print: {error}")).into(),
        }
    }
}

impl From<serde_json::Error> for Stop {
    fn from(error: serde_json::Error) -> Self {
        Failure::new(EXIT_SOFTWARE, format!("cannot print: {error}")).into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    fn address() -> Address {
        "127.0.0.1:1".parse().unwrap()
    }

    #[test]
    fn an_exit_code_says_who_has_to_do_something() {
        let table = [
            (Code::InvalidArgument, 65),
            (Code::AlreadyExists, 65),
            (Code::FailedPrecondition, 65),
            (Code::NotFound, 66),
            (Code::Internal, 70),
            (Code::Unknown, 70),
            (Code::Unavailable, 75),
            (Code::ResourceExhausted, 75),
            (Code::DeadlineExceeded, 75),
            (Code::Cancelled, 75),
            (Code::Unimplemented, 76),
            (Code::PermissionDenied, 77),
            (Code::Unauthenticated, 77),
        ];
        for (code, exit) in table {
            let failure = Failure::answered(&Status::new(code, "no"), &address(), "--admin");
            assert_eq!(failure, Failure::new(exit, format!("no ({code:?})")));
        }
    }

    #[test]
    fn the_field_and_the_reason_are_told_unless_the_message_has_the_field() {
        let refused = |message: &str| {
            let mut details = ErrorDetails::with_error_info("UNKNOWN_MODEL", "tollgate", HashMap::new());
            details.add_bad_request_violation("rate_card.version", "is wrong");
            let status = Status::with_error_details(Code::InvalidArgument, message, details);
            Failure::answered(&status, &address(), "--admin").sentence
        };
        assert_eq!(refused("no good"), "rate_card.version: no good (UNKNOWN_MODEL)");
        assert_eq!(refused("rate_card.version is no good"), "rate_card.version is no good (UNKNOWN_MODEL)");
    }

    #[test]
    fn a_connection_that_broke_is_a_sidecar_that_does_not_answer() {
        let status = Status::from_error(Box::new(io::Error::from(io::ErrorKind::ConnectionReset)));
        let failure = Failure::answered(&status, &address(), "--admin");
        assert_eq!(failure, Failure::unreachable(&address(), "--admin"));
        assert_eq!(failure.code, 69);
    }
}
