//! The gate's calls to its store: each is timed, and its reply tells the store's time.

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

/// A store, as the gate asks it.
pub(crate) struct StoreCalls {
    store: Store,
    time: Arc<StoreTime>,
    clock: Clock,
    metrics: Arc<GateMetrics>,
    traces: Option<Arc<Traces>>,
}

impl StoreCalls {
    pub(crate) fn new(
        store: Store,
        time: Arc<StoreTime>,
        clock: Clock,
        metrics: Arc<GateMetrics>,
        traces: Option<Arc<Traces>>,
    ) -> Self {
        Self { store, time, clock, metrics, traces }
    }

    /// Carries out a transaction.
    pub(crate) async fn transact(&self, transaction: Transaction) -> Result<Reply, StoreError> {
        let (call, asked_ns) = (StoreCall::of(&transaction), self.clock.monotonic_ns());
        let span = self.span(call);
        let reply = self.store.transact(transaction).await;
        self.answered(call, asked_ns, reply.as_ref());
        end(span, reply.as_ref().err());
        reply
    }

    /// The same for several transactions of one team, in one call.
    pub(crate) async fn transact_all(
        &self,
        transactions: Vec<Transaction>,
    ) -> Result<Vec<Result<Reply, StoreError>>, StoreError> {
        let asked_ns = self.clock.monotonic_ns();
        let span = self.span(StoreCall::Several);
        let replies = self.store.transact_all(transactions).await;
        end(span, replies.as_ref().err());
        match &replies {
            Ok(replies) => {
                let Some((first, others)) = replies.split_first() else { return Ok(Vec::new()) };
                self.answered(StoreCall::Several, asked_ns, first.as_ref());
                others
                    .iter()
                    .filter_map(|reply| reply.as_ref().err())
                    .for_each(|error| self.metrics.store_failed(error));
            }
            Err(error) => self.answered(StoreCall::Several, asked_ns, Err(error)),
        }
        replies
    }

    /// Whether it serves, now and whenever that changes.
    pub(crate) fn health(&self) -> watch::Receiver<StoreHealth> {
        self.store.health()
    }

    /// Whether a text has the form of the store's cursors.
    pub(crate) fn is_cursor(&self, text: &str) -> bool {
        self.store.is_cursor(text)
    }

    fn span(&self, call: StoreCall) -> Option<StoreSpan> {
        self.traces.as_ref()?.store_call(call.name())
    }

    fn answered(&self, call: StoreCall, asked_ns: i64, reply: Result<&Reply, &StoreError>) {
        let answered_ns = self.clock.monotonic_ns();
        self.metrics.store_asked(call, answered_ns - asked_ns);
        match reply {
            Ok(reply) => {
                if self.time.learn(asked_ns / 1_000_000, answered_ns / 1_000_000, reply.now_ms) {
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
