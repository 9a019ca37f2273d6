//! What a store can answer besides a reply. No message names an address, a key's content or a password: the cause behind it
//! may, and belongs in the log.

use std::{error::Error, sync::Arc};

use crate::transaction::Reply;

/// The answer to a call that carries several transactions: one result for each transaction, or one error for all of them.
pub type BatchReplies = Result<Vec<Result<Reply, StoreError>>, StoreError>;

/// The cause of an error, shared by all callers that it hits at once.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why a transaction has no reply.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, or the connection broke, or it did not answer in time. Whether the transaction was
    /// carried out is unknown; repeating it has to be safe.
    #[error("the store is unavailable: {reason}")]
    Unavailable {
        /// What was noticed, fit for a client.
        reason: &'static str,
        /// The cause, for the log.
        #[source]
        source: Option<Cause>,
    },
    /// As many transactions wait as may wait. Nothing was carried out.
    #[error("the store is overloaded")]
    Overloaded,
    /// A record is not what it has to be, or the transaction is not well formed. It changed nothing.
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

/// An error and everything behind it, for the log.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// Why a store could not be opened: a sentence for whoever starts the sidecar.
#[derive(Debug, thiserror::Error)]
#[error("{advice}")]
pub struct OpenError {
    advice: String,
    unfit: bool,
    #[source]
    source: Option<Cause>,
}

impl OpenError {
    pub(super) fn new(advice: impl Into<String>) -> Self {
        Self { advice: advice.into(), unfit: false, source: None }
    }

    /// It is there, and set up so that credits would be lost.
    pub(super) fn unfit(advice: impl Into<String>) -> Self {
        Self { unfit: true, ..Self::new(advice) }
    }

    /// Whether the store is there and has to be set up otherwise: trying again will not help.
    pub fn is_unfit(&self) -> bool {
        self.unfit
    }

    pub(super) fn because(advice: impl Into<String>, cause: impl Error + Send + Sync + 'static) -> Self {
        Self { advice: advice.into(), unfit: false, source: Some(Arc::new(cause)) }
    }
}
