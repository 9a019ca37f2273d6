//! Classifies the errors of a Redis server: must the connection be replaced, does the server refuse writes for now, or
//! is only the call itself at fault?

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::super::error::{Cause, StoreError};

/// A condition of the server or of the connection to it. The texts are shown to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerFailure {
    /// The connection failed, or the server must not be used in its present state. All calls fail until the watcher has
    /// put a new connection in place.
    ConnectionLost(&'static str),
    /// The server answers and carries out reads, but refuses writes. The connection stays in use.
    WritesRefused(&'static str),
}

use ServerFailure::{ConnectionLost, WritesRefused};

/// Error codes by which a server says that it cannot serve now. The script passes them on.
///
/// The server raises each of them no later than at the script's first write, so nothing was written. The exception is
/// `NOPERM`, which it raises for each command separately; `capability_check.rs` therefore tries all commands before a
/// server is used.
const FAILURE_CODES: [(&str, ServerFailure); 11] = [
    ("READONLY", ConnectionLost("its server is a replica")),
    ("MASTERDOWN", ConnectionLost("its server is a replica")),
    ("LOADING", ConnectionLost("its server is loading its records")),
    ("BUSY", ConnectionLost("its server is busy with a script")),
    ("CLUSTERDOWN", ConnectionLost("its cluster is down")),
    ("NOAUTH", ConnectionLost("its server rejects the password, or requires one")),
    ("WRONGPASS", ConnectionLost("its server rejects the password, or requires one")),
    ("NOPERM", ConnectionLost("its server does not permit the call")),
    ("OOM", WritesRefused("its server's memory is full")),
    ("MISCONF", WritesRefused("its server cannot write to its disk")),
    ("NOREPLICAS", WritesRefused("its server has too few replicas")),
];

impl ServerFailure {
    /// Returns the description, which is fit for a client.
    pub(super) fn reason(self) -> &'static str {
        match self {
            ConnectionLost(reason) | WritesRefused(reason) => reason,
        }
    }

    /// Classifies a server's error message. Returns `None` if the message is not about the server's state.
    pub(super) fn from_message(message: &str) -> Option<Self> {
        if is_permission_denied(message) {
            return Some(ConnectionLost("its server does not permit the call"));
        }
        let code = message.trim_start_matches('-').split_whitespace().next()?;
        FAILURE_CODES.iter().find(|(known, _)| *known == code).map(|(_, failure)| *failure)
    }

    /// Classifies the error of a call. Returns `None` if the call itself is at fault, so that neither another
    /// connection nor a retry would help.
    pub(super) fn from_error(error: &RedisError) -> Option<Self> {
        if let Some(known) = error.code().and_then(Self::from_message) {
            return Some(known);
        }
        // A server that has reached `maxclients` reports it with the general code ERR.
        let is_full = || error.detail().unwrap_or_default().starts_with("max number of clients");
        match error.kind() {
            ErrorKind::AuthenticationFailed => Some(ConnectionLost("its server rejects the password, or requires one")),
            ErrorKind::Server(ServerErrorKind::ResponseError) if is_full() => {
                Some(ConnectionLost("its server has no room for another connection"))
            }
            // The server understood the call and rejects it.
            ErrorKind::Server(ServerErrorKind::CrossSlot | ServerErrorKind::ResponseError)
            | ErrorKind::UnexpectedReturnType => None,
            ErrorKind::Server(_) | ErrorKind::Extension => Some(ConnectionLost("its server cannot serve now")),
            _ if error.is_timeout() => Some(ConnectionLost("it did not answer in time")),
            _ => Some(ConnectionLost("the connection to it failed")),
        }
    }
}

/// Returns whether the message says that the user lacks a permission. For a command within a script, Redis and Valkey
/// each have a wording of their own, without an error code.
pub(super) fn is_permission_denied(message: &str) -> bool {
    ["user executing the script can't", "ACL failure in script"].iter().any(|words| message.contains(words))
}

/// A server's error message, as the cause of a [`StoreError`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct ServerMessage(pub(super) String);

/// Returns the server failure behind the error of one transaction, and its cause. Returns `None` if there is none.
pub(super) fn behind(error: &StoreError) -> Option<(ServerFailure, &Cause)> {
    let StoreError::Unavailable { source: Some(cause), .. } = error else { return None };
    let ServerMessage(message) = cause.downcast_ref()?;
    Some((ServerFailure::from_message(message)?, cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_message_is_classified() {
        let table = [
            ("READONLY You can't write against a read only replica.", Some(ConnectionLost("its server is a replica"))),
            (
                "-OOM command not allowed when used memory > 'maxmemory'.",
                Some(WritesRefused("its server's memory is full")),
            ),
            ("-MISCONF Errors writing to the AOF file", Some(WritesRefused("its server cannot write to its disk"))),
            ("BUSYGROUP exists", None),
            ("WRONGTYPE Operation against a key", None),
            ("", None),
        ];
        for (message, failure) in table {
            assert_eq!(ServerFailure::from_message(message), failure, "{message}");
        }
    }
}
