//! One call of the script to the server, with a timeout; and what its failure means for the connection.

use std::{sync::Arc, time::Duration};

use redis::RedisError;
use tokio::time::timeout;

use super::{
    super::error::{BatchReplies, StoreError},
    capability_check::CROSS_SLOT,
    script,
    server_failure::{self, ServerFailure},
    shared_connection::SharedConnection,
};
use crate::{clock::Clock, transaction::Transaction};

/// The reason that is given for a call without an answer.
pub(super) const TIMED_OUT: &str = "it did not answer in time";

/// Calls the script.
pub(super) struct ScriptCaller {
    /// The connection to use.
    pub(super) connection: Arc<SharedConnection>,
    /// The store's clock. With the system's clock, the script takes the server's time.
    pub(super) clock: Clock,
    /// How long a call waits for its answer.
    pub(super) timeout: Duration,
}

impl ScriptCaller {
    /// Carries out transactions in one call. Reports a failure of the server or of the connection, so that the watcher
    /// reconnects, and a late answer, so that the watcher examines its cause.
    pub(super) async fn call<'t>(&self, transactions: impl Iterator<Item = &'t Transaction> + Clone) -> BatchReplies {
        let now_ms = match &self.clock {
            Clock::System => None,
            Clock::Manual(clock) => Some(clock.now_ms()),
        };
        let (mut connection, generation) = self.connection.get()?;
        let calling = script::execute(&mut connection, transactions, now_ms);
        match timeout(self.timeout, calling).await {
            Ok(Ok(replies)) => {
                let errors = replies.iter().flatten().filter_map(|reply| reply.as_ref().err());
                if let Some((failure, cause)) = errors.filter_map(server_failure::behind).next() {
                    self.connection.report_failure(generation, failure, cause);
                }
                replies
            }
            Ok(Err(error)) => Err(self.failed(generation, error)),
            // Only this call fails. Its answer is dropped when it comes, because answers keep the order of the requests.
            // The watcher finds out whether the server or the connection hangs.
            Err(elapsed) => {
                self.connection.report_late_answer(generation);
                Err(StoreError::unavailable_because(TIMED_OUT, elapsed))
            }
        }
    }

    fn failed(&self, generation: u64, error: RedisError) -> StoreError {
        if error.code() == Some(CROSS_SLOT) {
            self.connection.set_accepts_several_scopes(false);
            return StoreError::unavailable_because("its server has become part of a cluster", error);
        }
        match ServerFailure::from_error(&error) {
            Some(failure) => {
                self.connection.report_failure(generation, failure, &error);
                StoreError::unavailable_because(failure.reason(), error)
            }
            None => StoreError::fault(format!("its server rejects the script: {error}")),
        }
    }
}
