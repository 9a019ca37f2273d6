//! Errors of the operators' commands: the message for the user and the exit code for each kind of failure.

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
    /// The reader of stdout has gone, which is no failure.
    ReaderLeft,
    /// The command failed.
    Failed(CommandError),
}

impl CommandError {
    /// No sidecar answers at the address. `option` is the command-line option that names it.
    pub(super) fn unreachable(listener: &SidecarEndpoint, option: &str) -> Self {
        let name = option.trim_start_matches('-');
        let message =
            format!("no sidecar answers at {listener}; is it running? name its {name} listener with {option}");
        Self::new(exit_code::UNAVAILABLE, message)
    }

    /// The connection could not be established.
    pub(super) fn unconnected(error: &(dyn Error + 'static), listener: &SidecarEndpoint, option: &str) -> Self {
        match tls_error(error) {
            Some(cause) => Self::new(
                exit_code::NO_PERMISSION,
                format!(
                    "TLS with the sidecar at {listener} failed: {cause}; check --tls-ca, \
                         --tls-name and --tls-certificate"
                ),
            ),
            None => Self::unreachable(listener, option),
        }
    }

    /// The connection broke before the answer.
    fn broken(source: &(dyn Error + 'static), listener: &SidecarEndpoint, option: &str) -> Self {
        let error = Self::unconnected(source, listener, option);
        let hint = match listener.has_tls() {
            // In TLS 1.3 the client's handshake completes before the server verifies its certificate.
            true => "if it is, it may require another certificate: --tls-certificate",
            false => "if it uses TLS, name the trusted certificate authorities with --tls-ca",
        };
        match error.code {
            exit_code::UNAVAILABLE => Self::new(error.code, format!("{}; {hint}", error.message)),
            _ => error,
        }
    }

    /// The sidecar accepted the connection but did not answer in time.
    pub(super) fn timed_out(listener: &SidecarEndpoint, seconds: u64) -> Self {
        Self::new(
            exit_code::TEMPORARY_FAILURE,
            format!(
                "the sidecar at {listener} did not answer within {seconds} seconds; it is safe to repeat the command"
            ),
        )
    }

    /// The call failed with this status, from the sidecar or from the connection.
    pub(super) fn answered(status: &Status, listener: &SidecarEndpoint, option: &str) -> Self {
        // Only the client side attaches a source, when the connection broke.
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
        let mut message = message(status, listener);
        if status.code() == Code::Unauthenticated {
            message.push_str("; name the file that holds it with --token-file");
        }
        Self::new(code, message)
    }
}

/// Returns the status message with the invalid field, and the reason code, which scripts can look for.
fn message(status: &Status, listener: &SidecarEndpoint) -> String {
    let mut text = match status.message() {
        "" if status.code() == Code::Unimplemented => format!("the sidecar at {listener} does not know this call"),
        "" => format!("the sidecar at {listener} gave no reason"),
        message => message.to_owned(),
    };
    let violations = status.get_details_bad_request().map(|request| request.field_violations).unwrap_or_default();
    if let Some(violation) = violations.first().filter(|violation| !text.contains(&violation.field)) {
        text = format!("{}: {text}", violation.field);
    }
    let reason = status.get_details_error_info().map_or_else(|| format!("{:?}", status.code()), |info| info.reason);
    format!("{text} ({reason})")
}

/// Returns whether the sidecar closed the connection before the answer.
pub(super) fn is_closed_connection(status: &Status) -> bool {
    let mut next = status.source();
    while let Some(error) = next {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled) {
            return true;
        }
        next = error.source();
    }
    false
}

/// Returns the error of the TLS handshake, if that is why a connection failed.
fn tls_error(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Some(error.to_string());
        }
        // h2 passes on the text of the TLS error, but not its type.
        let text = error.to_string();
        if text.contains("received fatal alert") {
            return Some(text);
        }
        next = error.source();
    }
    None
}

impl From<CommandError> for Stop {
    fn from(error: CommandError) -> Self {
        Self::Failed(error)
    }
}

impl From<io::Error> for Stop {
    /// Only for errors of writing to stdout.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderLeft,
            _ => CommandError::new(exit_code::IO_ERROR, format!("cannot write the output: {error}")).into(),
        }
    }
}

impl From<serde_json::Error> for Stop {
    fn from(error: serde_json::Error) -> Self {
        CommandError::new(exit_code::SOFTWARE, format!("cannot write the output: {error}")).into()
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
    fn every_code_has_its_exit_code() {
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
            let error = CommandError::answered(&Status::new(code, "no"), &listener(), "--admin");
            assert_eq!(error, CommandError::new(exit, format!("no ({code:?})")));
        }
    }

    #[test]
    fn a_message_names_the_field_once_and_the_reason() {
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
    fn a_broken_connection_is_an_unavailable_sidecar() {
        let status = Status::from_error(Box::new(io::Error::from(io::ErrorKind::ConnectionReset)));
        let error = CommandError::answered(&status, &listener(), "--admin");
        assert!(error.message.starts_with(&CommandError::unreachable(&listener(), "--admin").message), "{error:?}");
        assert_eq!(error.code, 69);
    }

    #[test]
    fn a_tls_error_is_part_of_the_message() {
        let error = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::NoCertificatesPresented);
        let error = CommandError::answered(&Status::from_error(Box::new(error)), &listener(), "--admin");
        assert!(error.message.contains("peer sent no certificates"), "{error:?}");
        assert_eq!(error.code, 77);
    }

    #[test]
    fn a_missing_token_names_the_option() {
        let error = CommandError::answered(&Status::unauthenticated("no"), &listener(), "--admin");
        assert_eq!(error.message, "no (Unauthenticated); name the file that holds it with --token-file");
        assert_eq!(error.code, 77);
    }
}
