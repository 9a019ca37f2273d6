//! The errors of a store. No message contains an address, the content of a key, or a password. The cause behind it may;
//! it belongs in the log, not in an answer to a client.

use std::{error::Error, sync::Arc};

use crate::transaction::Reply;

/// The answer to a call that carries several transactions: one result for each transaction, or one error for all of
/// them.
pub type BatchReplies = Result<Vec<Result<Reply, StoreError>>, StoreError>;

/// The cause of an error. All callers that the same failure affects share it.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why a transaction has no reply.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, the connection failed, or the answer is late. Whether the transaction was carried
    /// out is unknown, so it must be safe to repeat.
    #[error("the store is unavailable: {reason}")]
    Unavailable {
        /// What happened, fit for a client.
        reason: &'static str,
        /// The cause, for the log.
        #[source]
        source: Option<Cause>,
    },
    /// The maximum number of transactions is waiting. Nothing was carried out.
    #[error("the store is overloaded")]
    Overloaded,
    /// A record has unexpected content, or the transaction is malformed. Nothing was changed.
    #[error("the store found a fault: {reason}")]
    Fault {
        /// What is wrong, for the log.
        reason: String,
    },
}

impl StoreError {
    pub(super) fn unavailable(reason: &'static str) -> Self {
        Self::Unavailable { reason, source: None }
    }

    pub(super) fn unavailable_because(reason: &'static str, cause: impl Error + Send + Sync + 'static) -> Self {
        Self::Unavailable { reason, source: Some(Arc::new(cause)) }
    }

    pub(super) fn fault(reason: impl Into<String>) -> Self {
        Self::Fault { reason: reason.into() }
    }
}

/// Returns an error and all its causes, for the log.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// Why a store could not be opened. The message tells the operator what to do.
#[derive(Debug, thiserror::Error)]
#[error("{advice}")]
pub struct OpenError {
    advice: String,
    fault: OpenFault,
    #[source]
    source: Option<Cause>,
}

/// What would help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OpenFault {
    /// Another server, another URL, or another configuration. Waiting does not help.
    Unfit,
    /// A server that is up. It may be soon.
    Unreachable,
    /// Anything else. Waiting does not help.
    Other,
}

impl OpenError {
    pub(super) fn new(advice: impl Into<String>) -> Self {
        Self { advice: advice.into(), fault: OpenFault::Other, source: None }
    }

    /// The store must be configured differently, or is another kind of server than the store needs.
    pub(super) fn unfit(advice: impl Into<String>) -> Self {
        Self { fault: OpenFault::Unfit, ..Self::new(advice) }
    }

    /// The same, with the server's own error.
    pub(super) fn unfit_because(advice: impl Into<String>, cause: impl Error + Send + Sync + 'static) -> Self {
        Self { fault: OpenFault::Unfit, ..Self::because(advice, cause) }
    }

    /// The server cannot be reached, or cannot serve yet.
    pub(super) fn unreachable(advice: impl Into<String>, cause: impl Error + Send + Sync + 'static) -> Self {
        Self { fault: OpenFault::Unreachable, ..Self::because(advice, cause) }
    }

    pub(super) fn because(advice: impl Into<String>, cause: impl Error + Send + Sync + 'static) -> Self {
        Self { advice: advice.into(), fault: OpenFault::Other, source: Some(Arc::new(cause)) }
    }

    /// Returns whether the configuration of the store or its URL must be changed, so that retrying does not help.
    pub fn is_unfit(&self) -> bool {
        self.fault == OpenFault::Unfit
    }

    /// Returns whether the server of the store cannot be reached or cannot serve yet, so that retrying can help.
    pub fn is_unreachable(&self) -> bool {
        self.fault == OpenFault::Unreachable
    }
}
