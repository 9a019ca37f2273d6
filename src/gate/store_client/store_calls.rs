//! The calls to the store. Each is timed and traced, and its reply shows the store's time.

use std::sync::Arc;

use tokio::sync::watch;

use super::store_time::StoreTime;
use crate::{
    clock::Clock,
    metrics::{GateMetrics, StoreCall},
    store::{Store, StoreError, StoreHealth},
    traces::{StoreSpan, Traces},
    transaction::{Reply, Transaction},
};

/// A store whose calls are timed and traced.
pub(crate) struct StoreCalls {
    store: Store,
    time: Arc<StoreTime>,
    clock: Clock,
    metrics: Arc<GateMetrics>,
    traces: Option<Arc<Traces>>,
}

impl StoreCalls {
    /// Wraps a store.
    pub(crate) fn new(
        store: Store,
        time: Arc<StoreTime>,
        clock: Clock,
        metrics: Arc<GateMetrics>,
        traces: Option<Arc<Traces>>,
    ) -> Self {
        Self { store, time, clock, metrics, traces }
    }

    /// Sends a transaction.
    pub(crate) async fn transact(&self, transaction: Transaction) -> Result<Reply, StoreError> {
        let (call, sent_ns) = (StoreCall::of(&transaction), self.clock.monotonic_ns());
        let span = self.span(call);
        let reply = self.store.transact(transaction).await;
        self.answered(call, sent_ns, reply.as_ref());
        end(span, reply.as_ref().err());
        reply
    }

    /// Sends several transactions of one team in one call.
    pub(crate) async fn transact_all(
        &self,
        transactions: Vec<Transaction>,
    ) -> Result<Vec<Result<Reply, StoreError>>, StoreError> {
        let sent_ns = self.clock.monotonic_ns();
        let span = self.span(StoreCall::Several);
        let replies = self.store.transact_all(transactions).await;
        end(span, replies.as_ref().err());
        match &replies {
            Ok(replies) => {
                let Some((first, others)) = replies.split_first() else {
                    return Ok(Vec::new());
                };
                self.answered(StoreCall::Several, sent_ns, first.as_ref());
                others
                    .iter()
                    .filter_map(|reply| reply.as_ref().err())
                    .for_each(|error| self.metrics.store_failed(error));
            }
            Err(error) => self.answered(StoreCall::Several, sent_ns, Err(error)),
        }
        replies
    }

    /// Watches whether the store serves.
    pub(crate) fn health(&self) -> watch::Receiver<StoreHealth> {
        self.store.health()
    }

    /// Returns whether a text has the form of one of the store's cursors.
    pub(crate) fn is_cursor(&self, text: &str) -> bool {
        self.store.is_cursor(text)
    }

    fn span(&self, call: StoreCall) -> Option<StoreSpan> {
        self.traces.as_ref()?.store_call(call.name())
    }

    fn answered(&self, call: StoreCall, sent_ns: i64, reply: Result<&Reply, &StoreError>) {
        let received_ns = self.clock.monotonic_ns();
        self.metrics.store_called(call, received_ns - sent_ns);
        match reply {
            Ok(reply) => {
                if self.time.learn(sent_ns / 1_000_000, received_ns / 1_000_000, reply.now_ms) {
                    self.metrics.time_jumped();
                }
            }
            Err(error) => self.metrics.store_failed(error),
        }
    }
}

fn end(span: Option<StoreSpan>, error: Option<&StoreError>) {
    if let (Some(mut span), Some(error)) = (span, error) {
        span.failed(error);
    }
}
