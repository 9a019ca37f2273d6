//! The orderly end of a sidecar, each step of it bounded: once new reservations are refused it takes less than ten seconds, whoever
//! holds on to it.
//!
//! First it only says that it is not ready, and serves everything, also to whoever connects: for `drain_delay`, so that those who choose
//! among sidecars learn of it. Then new reservations and runs are refused, and what settles them is served. Then the listeners close.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::serve::Sidecar;

/// How long those who are connected can still settle what they reserved here, while they look for another sidecar for the rest: as long
/// as they are told to wait before they come again.
const LAST_CALLS: Duration = Duration::from_secs(1);

/// How long calls in flight have to be answered.
const CALLS: Duration = Duration::from_secs(4);

/// How long the connections that are left have to end once they are cut.
const CUT: Duration = Duration::from_millis(500);

/// How long commits have to be carried out whose clients went away.
const COMMITS: Duration = Duration::from_secs(2);

/// How long the leases in hand have to be given back.
const LEASES: Duration = Duration::from_secs(1);

/// How long the store has to close, and a collector to take the last spans.
const CLOSE: Duration = Duration::from_secs(1);

impl Sidecar {
    /// Says that it is not ready, and serves everything for `drain_delay`, unless it breaks meanwhile.
    pub async fn withdraw(&mut self) {
        if self.drain_delay.is_zero() {
            return;
        }
        self.health.end().await;
        let delay = sleep(self.drain_delay);
        tokio::select! {
            () = delay => {}
            () = self.broken() => {}
        }
    }

    /// From now on new reservations and runs are refused and all listeners tell that they are not ready; everything else is
    /// answered as before.
    pub async fn begin_drain(&self) {
        self.gate.begin_drain();
        self.health.end().await;
    }

    /// Drains, lets calls in flight finish, and closes the store: in less than ten seconds, even if clients hold streams open
    /// or the store does not answer.
    pub async fn shutdown(mut self) {
        self.begin_drain().await;
        self.connections.close();
        // Where nobody is connected nobody is waited for.
        let _ = timeout(LAST_CALLS, self.connections.wait()).await;
        self.accepting.cancel();
        self.health.end_watches().await;
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
        let last_spans = async {
            if let Some(traces) = &self.traces {
                // What the collector does not take in time is lost.
                let _ = timeout(CLOSE, traces.end()).await;
            }
        };
        let (closed, ()) = tokio::join!(timeout(CLOSE, self.store.close()), last_spans);
        if closed.is_err() {
            tracing::warn!("the store did not close in time");
        }
    }
}

/// Waits until none of these is left.
async fn ended(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}
