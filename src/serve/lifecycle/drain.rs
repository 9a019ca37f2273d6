//! The shutdown of a sidecar. Each step has a time limit, so from the moment when new reservations are refused it takes less than
//! ten seconds, whatever clients and the store do.
//!
//! 1. The sidecar reports NOT_SERVING and keeps serving for `drain_delay`, new connections too, so that load balancers notice.
//! 2. New reservations and runs are refused. Commits and other settlements are still served.
//! 3. The listeners close, calls in flight finish, leases are given back, and the store closes.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::serve::Sidecar;

/// How long connected clients can still settle their reservations: as long as the retry delay in the RetryInfo of a refused
/// reservation.
const LAST_SETTLEMENTS: Duration = Duration::from_secs(1);

/// Time limit for calls in flight.
const CALLS: Duration = Duration::from_secs(4);

/// Time limit for the remaining connections to end after they are closed.
const CLOSE_CONNECTIONS: Duration = Duration::from_millis(500);

/// Time limit for commits whose clients have disconnected.
const COMMITS: Duration = Duration::from_secs(2);

/// Time limit for giving the held leases back.
const LEASES: Duration = Duration::from_secs(1);

/// Time limit for closing the store, and for sending the last spans to a collector.
const CLOSE_STORE: Duration = Duration::from_secs(1);

impl Sidecar {
    /// Reports NOT_SERVING, and keeps serving for `drain_delay`, or until the sidecar breaks.
    pub async fn withdraw(&mut self) {
        if self.drain_delay.is_zero() {
            return;
        }
        self.health.begin_shutdown().await;
        let delay = sleep(self.drain_delay);
        tokio::select! {
            () = delay => {}
            () = self.broken() => {}
        }
    }

    /// Refuses new reservations and runs from now on, and reports NOT_SERVING on all listeners. All other calls are served as
    /// before.
    pub async fn begin_drain(&self) {
        self.gate.begin_drain();
        self.health.begin_shutdown().await;
    }

    /// Drains, lets calls in flight finish, and closes the store. Takes less than ten seconds, even if clients keep streams open
    /// or the store does not answer.
    pub async fn shutdown(mut self) {
        self.begin_drain().await;
        self.connections.close();
        // Without connections, this ends at once.
        let _ = timeout(LAST_SETTLEMENTS, self.connections.wait()).await;
        self.accepting.cancel();
        self.health.end_watches().await;
        self.background.cancel();
        if timeout(CALLS, ended(&mut self.servers)).await.is_err() {
            tracing::warn!("some calls are not answered in time; closing their connections");
            self.everything.disarm().cancel();
            if timeout(CLOSE_CONNECTIONS, ended(&mut self.servers)).await.is_err() {
                tracing::warn!("some connections did not end in time");
            }
        }
        if timeout(COMMITS, self.gate.settled()).await.is_err() {
            tracing::warn!("some commits did not finish in time; their clients will repeat them");
        }
        if timeout(LEASES, self.gate.give_everything_back()).await.is_err() {
            tracing::warn!("some leases were not given back in time; their credits come back after their quarantine");
        }
        let last_spans = async {
            if let Some(traces) = &self.traces {
                // Spans that the collector does not accept in time are lost.
                let _ = timeout(CLOSE_STORE, traces.end()).await;
            }
        };
        let (closed, ()) = tokio::join!(timeout(CLOSE_STORE, self.store.close()), last_spans);
        if closed.is_err() {
            tracing::warn!("the store did not close in time");
        }
    }
}

/// Waits until all tasks have ended.
async fn ended(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}
