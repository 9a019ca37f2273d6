//! What an error says of the server: that the way to it is lost, or that it refuses changes for now; or nothing, if the call
//! itself is at fault.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::super::error::{Cause, StoreError};

/// What is wrong with a server, in words fit for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Another connection is needed, or the server has to become another.
    Lost(&'static str),
    /// It answers at once, and truly: reads are carried out, changes are not. There is nothing to be spared by not asking it.
    RefusesChanges(&'static str),
}

use Trouble::{Lost, RefusesChanges};

/// Codes by which a server says that it cannot serve now, rather than that something is wrong with a record. The script passes
/// them on. Each is raised by the first write at the latest, so nothing was written; but for what its user is not permitted, which
/// is why a server is tried with every command (`trial.rs`) before it is used.
const NOT_NOW: [(&str, Trouble); 11] = [
    ("READONLY", Lost("its server is a replica")),
    ("MASTERDOWN", Lost("its server is a replica")),
    ("LOADING", Lost("its server is loading its records")),
    ("BUSY", Lost("its server is busy with a script")),
    ("CLUSTERDOWN", Lost("its cluster is down")),
    ("NOAUTH", Lost("its server wants a password, or another one")),
    ("WRONGPASS", Lost("its server wants a password, or another one")),
    ("NOPERM", Lost("its server does not permit the call")),
    ("OOM", RefusesChanges("its server's memory is full")),
    ("MISCONF", RefusesChanges("its server cannot write to its disk")),
    ("NOREPLICAS", RefusesChanges("its server has too few replicas")),
];

impl Trouble {
    /// What was noticed.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Lost(reason) | RefusesChanges(reason) => reason,
        }
    }

    /// What a server's own words say of its state; nothing, if they are about something else.
    pub(super) fn told_by(message: &str) -> Option<Self> {
        if is_forbidden(message) {
            return Some(Lost("its server does not permit the call"));
        }
        let code = message.trim_start_matches('-').split_whitespace().next()?;
        NOT_NOW.iter().find(|(known, _)| *known == code).map(|(_, trouble)| *trouble)
    }

    /// What is to be done about a call that ended by this error; nothing, if no other connection and no repetition will help.
    pub(super) fn behind(error: &RedisError) -> Option<Self> {
        if let Some(known) = error.code().and_then(Self::told_by) {
            return Some(known);
        }
        // A server without room for a connection says so with the code of every other complaint.
        let no_room = || error.detail().unwrap_or_default().starts_with("max number of clients");
        match error.kind() {
            ErrorKind::AuthenticationFailed => Some(Lost("its server wants a password, or another one")),
            ErrorKind::Server(ServerErrorKind::ResponseError) if no_room() => {
                Some(Lost("its server has no room for another connection"))
            }
            // The server understood the call and rejects it.
            ErrorKind::Server(ServerErrorKind::CrossSlot | ServerErrorKind::ResponseError)
            | ErrorKind::UnexpectedReturnType => None,
            ErrorKind::Server(_) | ErrorKind::Extension => Some(Lost("its server cannot serve now")),
            _ if error.is_timeout() => Some(Lost("it did not answer in time")),
            _ => Some(Lost("the connection to it failed")),
        }
    }
}

/// Whether a server says that its user may not do something; to a script Redis and Valkey say so each in its own way, without a
/// code.
pub(super) fn is_forbidden(message: &str) -> bool {
    ["user executing the script can't", "ACL failure in script"].iter().any(|words| message.contains(words))
}

/// Why a server cannot serve now, in its own words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct ServerState(pub(super) String);

/// The trouble that an error of one transaction comes from, if it is the server's, and its cause.
pub(super) fn of_server(error: &StoreError) -> Option<(Trouble, &Cause)> {
    let StoreError::Unavailable { source: Some(cause), .. } = error else { return None };
    let ServerState(message) = cause.downcast_ref()?;
    Some((Trouble::told_by(message)?, cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_own_words_say_whether_it_is_lost_or_full() {
        let table = [
            ("READONLY You can't write against a read only replica.", Some(Lost("its server is a replica"))),
            (
                "-OOM command not allowed when used memory > 'maxmemory'.",
                Some(RefusesChanges("its server's memory is full")),
            ),
            ("-MISCONF Errors writing to the AOF file", Some(RefusesChanges("its server cannot write to its disk"))),
            ("BUSYGROUP exists", None),
            ("WRONGTYPE Operation against a key", None),
            ("", None),
        ];
        for (message, trouble) in table {
            assert_eq!(Trouble::told_by(message), trouble, "{message}");
        }
    }
}
