//! The orderly end of a sidecar, each step of it bounded: in all it takes less than ten seconds, whoever holds on to it.

use std::time::Duration;

use tokio::{task::JoinSet, time::timeout};
use tonic_health::ServingStatus;

use super::Sidecar;

/// How long calls in flight have to be answered.
const CALLS: Duration = Duration::from_secs(4);

/// How long the connections that are left have to end once they are cut.
const CUT: Duration = Duration::from_secs(1);

/// How long commits have to be carried out whose clients went away.
const COMMITS: Duration = Duration::from_secs(2);

/// How long the leases in hand have to be given back.
const LEASES: Duration = Duration::from_secs(1);

/// How long the store has to close.
const CLOSE: Duration = Duration::from_secs(1);

impl Sidecar {
    /// From now on new reservations and runs are refused and both listeners tell that they are not serving; everything else
    /// is answered as before.
    pub async fn begin_drain(&self) {
        self.gate.begin_drain();
        self.report_health(ServingStatus::NotServing).await;
    }

    /// Drains, lets calls in flight finish, and closes the store: in less than ten seconds, even if clients hold streams open
    /// or the store does not answer.
    pub async fn shutdown(mut self) {
        self.begin_drain().await;
        self.accepting.cancel();
        self.end_watches().await;
        self.background.cancel();
        if timeout(CALLS, ended(&mut self.servers)).await.is_err() {
            tracing::warn!("some calls are still not answered; their connections are cut");
            self.everything.disarm().cancel();
            if timeout(CUT, ended(&mut self.servers)).await.is_err() {
                tracing::warn!("some connections did not end");
            }
        }
        if timeout(COMMITS, self.gate.settled()).await.is_err() {
            tracing::warn!("some commits were not carried out in time; their clients will repeat them");
        }
        if timeout(LEASES, self.gate.give_everything_back()).await.is_err() {
            tracing::warn!("not all leases were given back in time; their credits come back by themselves");
        }
        if timeout(CLOSE, self.store.close()).await.is_err() {
            tracing::warn!("the store did not close in time");
        }
    }

    /// A client that watches the health gets its last news, and the end: it would hold its connection open for ever.
    async fn end_watches(&mut self) {
        for (reporter, services) in &mut self.health {
            for service in std::iter::once(&"").chain(*services) {
                reporter.clear_service_status(service).await;
            }
        }
    }
}

/// Waits until none of these is left.
async fn ended(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}
