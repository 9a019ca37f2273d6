//! Why a command could not do what it was asked: a sentence for whoever asked, and an exit code of sysexits.h for scripts.

use std::{error::Error, io};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    client::SidecarEndpoint,
    exit_code::{self, CommandError},
};

/// What ends a command early.
#[derive(Debug)]
pub(super) enum Stop {
    /// Nobody reads standard output any more, which is no failure.
    ReaderLeft,
    /// It failed.
    Failed(CommandError),
}

impl CommandError {
    /// Nobody answers at an address that an option names.
    pub(super) fn unreachable(listener: &SidecarEndpoint, option: &str) -> Self {
        let name = option.trim_start_matches('-');
        let sentence =
            format!("no sidecar answers at {listener}; is it running? name its {name} listener with {option}");
        Self::new(exit_code::UNAVAILABLE, sentence)
    }

    /// No connection came about.
    pub(super) fn unconnected(error: &(dyn Error + 'static), listener: &SidecarEndpoint, option: &str) -> Self {
        match trouble_with_tls(error) {
            Some(cause) => Self::new(
                exit_code::NO_PERMISSION,
                format!(
                    "the sidecar at {listener} and this command do not trust each other: {cause}; see --tls-ca, \
                         --tls-name and --tls-certificate"
                ),
            ),
            None => Self::unreachable(listener, option),
        }
    }

    /// A connection broke before there was an answer.
    fn broken(error: &(dyn Error + 'static), listener: &SidecarEndpoint, option: &str) -> Self {
        let failure = Self::unconnected(error, listener, option);
        let hint = match listener.has_tls() {
            // In TLS 1.3 a client counts itself let in before its certificate was looked at.
            true => "if it is, it may want another certificate: --tls-certificate",
            false => "if it speaks TLS, name the authorities to trust with --tls-ca",
        };
        match failure.code {
            exit_code::UNAVAILABLE => Self::new(failure.code, format!("{}; {hint}", failure.message)),
            _ => failure,
        }
    }

    /// A sidecar that was connected to did not answer in time.
    pub(super) fn silent(listener: &SidecarEndpoint, seconds: u64) -> Self {
        Self::new(
            exit_code::TEMPORARY_FAILURE,
            format!(
                "the sidecar at {listener} did not answer within {seconds} seconds; the same command again does no harm"
            ),
        )
    }

    /// What a sidecar, or the connection to it, answered instead of what was asked.
    pub(super) fn answered(status: &Status, listener: &SidecarEndpoint, option: &str) -> Self {
        // Only this side of the connection attaches a source: it broke.
        if let Some(source) = status.source() {
            return Self::broken(source, listener, option);
        }
        let code = match status.code() {
            Code::InvalidArgument | Code::OutOfRange | Code::AlreadyExists | Code::FailedPrecondition => {
                exit_code::DATA_ERROR
            }
            Code::NotFound => exit_code::NO_INPUT,
            Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted => {
                exit_code::TEMPORARY_FAILURE
            }
            Code::Unimplemented => exit_code::PROTOCOL,
            Code::PermissionDenied | Code::Unauthenticated => exit_code::NO_PERMISSION,
            _ => exit_code::SOFTWARE,
        };
        let mut sentence = sentence(status, listener);
        if status.code() == Code::Unauthenticated {
            sentence.push_str("; name the file that holds it with --token-file");
        }
        Self::new(code, sentence)
    }
}

/// The message of an answer, with the field that is wrong and the reason that a script may look for.
fn sentence(status: &Status, listener: &SidecarEndpoint) -> String {
    let mut sentence = match status.message() {
        "" if status.code() == Code::Unimplemented => format!("the sidecar at {listener} does not know this call"),
        "" => format!("the sidecar at {listener} gave no reason"),
        message => message.to_owned(),
    };
    let violations = status.get_details_bad_request().map(|request| request.field_violations).unwrap_or_default();
    if let Some(violation) = violations.first().filter(|violation| !sentence.contains(&violation.field)) {
        sentence = format!("{}: {sentence}", violation.field);
    }
    let reason = status.get_details_error_info().map_or_else(|| format!("{:?}", status.code()), |info| info.reason);
    format!("{sentence} ({reason})")
}

/// Whether the other end closed the connection before there was an answer.
pub(super) fn is_of_closed_connection(status: &Status) -> bool {
    let mut next = status.source();
    while let Some(error) = next {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled) {
            return true;
        }
        next = error.source();
    }
    false
}

/// What TLS had against a connection, if it was that.
fn trouble_with_tls(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(trouble) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Some(trouble.to_string());
        }
        // h2 passes on what was said, and not what said it.
        let said = error.to_string();
        if said.contains("received fatal alert") {
            return Some(said);
        }
        next = error.source();
    }
    None
}

impl From<CommandError> for Stop {
    fn from(failure: CommandError) -> Self {
        Self::Failed(failure)
    }
}

impl From<io::Error> for Stop {
    /// For errors of writing to standard output only.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderLeft,
            _ => CommandError::new(exit_code::IO_ERROR, format!("cannot print: {error}")).into(),
        }
    }
}

impl From<serde_json::Error> for Stop {
    fn from(error: serde_json::Error) -> Self {
        CommandError::new(exit_code::SOFTWARE, format!("cannot print: {error}")).into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;
    use crate::client::{Security, SidecarAddress};

    fn listener() -> SidecarEndpoint {
        "127.0.0.1:1".parse::<SidecarAddress>().unwrap().with(Security::default()).unwrap()
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
        ];
        for (code, exit) in table {
            let failure = CommandError::answered(&Status::new(code, "no"), &listener(), "--admin");
            assert_eq!(failure, CommandError::new(exit, format!("no ({code:?})")));
        }
    }

    #[test]
    fn the_field_and_the_reason_are_told_unless_the_message_has_the_field() {
        let refused = |message: &str| {
            let mut details = ErrorDetails::with_error_info("UNKNOWN_MODEL", "tollgate", HashMap::new());
            details.add_bad_request_violation("rate_card.version", "is wrong");
            let status = Status::with_error_details(Code::InvalidArgument, message, details);
            CommandError::answered(&status, &listener(), "--admin").message
        };
        assert_eq!(refused("no good"), "rate_card.version: no good (UNKNOWN_MODEL)");
        assert_eq!(refused("rate_card.version is no good"), "rate_card.version is no good (UNKNOWN_MODEL)");
    }

    #[test]
    fn a_connection_that_broke_is_a_sidecar_that_does_not_answer() {
        let status = Status::from_error(Box::new(io::Error::from(io::ErrorKind::ConnectionReset)));
        let failure = CommandError::answered(&status, &listener(), "--admin");
        assert!(failure.message.starts_with(&CommandError::unreachable(&listener(), "--admin").message), "{failure:?}");
        assert_eq!(failure.code, 69);
    }

    #[test]
    fn what_tls_has_against_a_connection_is_told() {
        let error = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::NoCertificatesPresented);
        let failure = CommandError::answered(&Status::from_error(Box::new(error)), &listener(), "--admin");
        assert!(failure.message.contains("peer sent no certificates"), "{failure:?}");
        assert_eq!(failure.code, 77);
    }

    #[test]
    fn whoever_lacks_a_token_is_told_how_to_bring_one() {
        let failure = CommandError::answered(&Status::unauthenticated("no"), &listener(), "--admin");
        assert_eq!(failure.message, "no (Unauthenticated); name the file that holds it with --token-file");
        assert_eq!(failure.code, 77);
    }
}
