//! Why a server that answers cannot be used, in sentences for clients and for the operator.

use redis::{ErrorKind, RedisError};

use super::{
    super::{error::OpenError, location::StoreLocation},
    server_failure::ServerFailure,
};

/// Why a server cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnfitServer {
    /// Its configuration has to be changed.
    #[error("{advice}")]
    Misconfigured {
        /// What is wrong, fit for a client.
        reason: &'static str,
        /// What is wrong and what to do, for the operator.
        advice: String,
    },
    /// It did not report its configuration.
    #[error(transparent)]
    NoReport(#[from] RedisError),
}

impl UnfitServer {
    /// Returns what is wrong, fit for a client.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Misconfigured { reason, .. } => reason,
            Self::NoReport(error) => ServerFailure::from_error(error)
                .map_or("its server does not report its configuration", ServerFailure::reason),
        }
    }

    /// Returns the error for the operator who starts the sidecar.
    pub(super) fn into_open_error(self, location: &StoreLocation) -> OpenError {
        match self {
            Self::Misconfigured { advice, .. } => OpenError::unfit(advice),
            Self::NoReport(error) => login_error(&error, location).unwrap_or_else(|| {
                let advice = format!("{location} was reached, but does not report its configuration: {error}.");
                OpenError::unreachable(advice, error)
            }),
        }
    }
}

/// Returns the error for the operator if the server rejected the password, or requires one; else `None`.
pub(super) fn login_error(error: &RedisError, location: &StoreLocation) -> Option<OpenError> {
    let is_login_error =
        error.kind() == ErrorKind::AuthenticationFailed || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"));
    is_login_error.then(|| {
        OpenError::unfit_because(
            format!(
                "{location} cannot be used: authentication failed. It rejects the password, or requires one. Put it into \
                 TOLLGATE_STORE, as in redis://USER:PASSWORD@HOST (without USER, redis://:PASSWORD@HOST)."
            ),
            error.clone(),
        )
    })
}
