//! Why an attempt to use a server failed, at start or when the watcher probes it.

use redis::RedisError;
use tokio::time::error::Elapsed;

use super::{
    super::error::{OpenError, StoreError},
    capability_check::CheckError,
    requirements::ServerRequirements,
    server_failure::{self, ServerFailure},
    unfit_server::UnfitServer,
};

/// The server understands the script and refuses it.
const SCRIPT_REJECTED: ServerFailure = ServerFailure::ConnectionLost("its server rejects the script");

/// Why a server cannot be used yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    /// The server does not meet the requirements.
    #[error(transparent)]
    Unfit(#[from] UnfitServer),
    /// A call failed.
    #[error(transparent)]
    Call(#[from] RedisError),
    /// A transaction of the capability check failed.
    #[error(transparent)]
    Transaction(#[from] StoreError),
    /// A step took too long.
    #[error("it did not answer in time")]
    TimedOut(#[from] Elapsed),
}

impl From<CheckError> for ProbeError {
    fn from(failed: CheckError) -> Self {
        match failed {
            CheckError::Call(error) => Self::Call(error),
            CheckError::Transaction(error) => Self::Transaction(error),
        }
    }
}

impl ProbeError {
    /// Classifies the error.
    pub(super) fn failure(&self) -> ServerFailure {
        match self {
            Self::Unfit(unfit) => ServerFailure::ConnectionLost(unfit.reason()),
            Self::Call(error) => ServerFailure::from_error(error).unwrap_or(SCRIPT_REJECTED),
            Self::Transaction(error) => server_failure::behind(error).map_or(SCRIPT_REJECTED, |(failure, _)| failure),
            Self::TimedOut(_) => ServerFailure::ConnectionLost("it did not answer in time"),
        }
    }

    /// Returns what the operator has to do, if the error does not pass by itself.
    pub(super) fn advice(&self, requirements: &ServerRequirements) -> Option<String> {
        match self {
            Self::Unfit(UnfitServer::Misconfigured { advice, .. }) => Some(advice.clone()),
            Self::Unfit(UnfitServer::NoReport(error)) | Self::Call(error) => requirements.advice(error),
            Self::Transaction(error) => requirements.advice_for_transaction(error),
            Self::TimedOut(_) => None,
        }
    }

    /// Returns the error for the operator who starts the sidecar, after the capability check failed.
    pub(super) fn into_open_error(self, requirements: &ServerRequirements) -> OpenError {
        match self.advice(requirements) {
            Some(advice) => OpenError::unfit(advice),
            None => {
                let location = &requirements.location;
                let advice = format!("{location} was reached, but carries out no change: {self}.");
                // Of a fault of the server's state it may recover. That it rejects the script will not change.
                if self.failure() == SCRIPT_REJECTED {
                    OpenError::unfit_because(advice, self)
                } else {
                    OpenError::unreachable(advice, self)
                }
            }
        }
    }
}
