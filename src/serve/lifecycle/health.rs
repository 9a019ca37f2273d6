//! What every listener tells of the sidecar's health, by the names that Kubernetes and clients ask for.
//!
//! Two questions, each with one answer on all listeners: is the process alive (`liveness`), and can it decide (`readiness`, which
//! is also the health of QuotaService and of a listener as a whole). The services of the admin listener serve until the end begins.

use std::sync::Arc;

use tokio::sync::Mutex;
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

use crate::{gate::Gate, metrics::Metrics, serve::listeners::services, store::Store};

/// Whether the process answers. The store is never asked for it.
const LIVENESS: &str = "liveness";

/// Whether it can decide, by the three names that this has.
const DECIDING: [&str; 3] = ["", "readiness", services::QUOTA];

/// While the store is away, leases may run out at any time; so often it is looked whether any is left.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(100);

/// The health of a sidecar, as all its listeners tell it.
pub(in crate::serve) struct Health {
    pub(in crate::serve) data: ListenerHealth,
    pub(in crate::serve) admin: ListenerHealth,
    pub(in crate::serve) probe: ListenerHealth,
    metrics: Arc<Metrics>,
    state: Mutex<HealthState>,
}

/// What one listener tells.
pub(in crate::serve) struct ListenerHealth {
    reporter: HealthReporter,
    deciding: &'static [&'static str],
    until_the_end: &'static [&'static str],
}

#[derive(Debug, Default)]
struct HealthState {
    is_ready: bool,
    is_ending: bool,
}

impl Health {
    /// It lives, and cannot decide yet.
    pub(in crate::serve) async fn begin(metrics: Arc<Metrics>) -> Self {
        Self {
            data: ListenerHealth::begin(&DECIDING, &[]).await,
            // QuotaService is not there, so its health is not.
            admin: ListenerHealth::begin(&DECIDING[..2], services::ON_ADMIN).await,
            probe: ListenerHealth::begin(&DECIDING, &[]).await,
            metrics,
            state: Mutex::default(),
        }
    }

    /// Follows what a gate can do on its store, for ever.
    pub(in crate::serve) async fn follow(&self, gate: &Gate, store: &Store) {
        let mut store_health = store.health();
        loop {
            let is_up = store_health.borrow_and_update().is_up();
            self.metrics.set_store_up(is_up);
            self.can_decide(gate.can_decide()).await;
            let changed = store_health.changed();
            if is_up {
                if changed.await.is_err() {
                    // It never changes.
                    std::future::pending::<()>().await;
                }
            } else {
                // Changed or not, it is looked again.
                let _ = tokio::time::timeout(LOOK_EVERY, changed).await;
            }
        }
    }

    /// Whether calls can be decided now. Once the end has begun nobody is told that they can.
    pub(in crate::serve) async fn can_decide(&self, can: bool) {
        let mut state = self.state.lock().await;
        if !state.is_ending && state.is_ready != can {
            state.is_ready = can;
            self.tell_ready(can).await;
        }
    }

    /// The end begins: nobody should come here any more.
    pub(in crate::serve) async fn end(&self) {
        let mut state = self.state.lock().await;
        if !std::mem::replace(&mut state.is_ending, true) {
            self.tell_ready(false).await;
            for told in self.everywhere() {
                told.set(told.until_the_end, ServingStatus::NotServing).await;
            }
        }
    }

    /// A client that watches the health of a listener that is about to close gets its last news, and the end: it would hold its
    /// connection open for ever. The probe's listener closes with the process.
    pub(in crate::serve) async fn end_watches(&self) {
        for told in [&self.data, &self.admin] {
            let mut reporter = told.reporter.clone();
            for name in std::iter::once(&LIVENESS).chain(told.deciding).chain(told.until_the_end) {
                reporter.clear_service_status(name).await;
            }
        }
    }

    async fn tell_ready(&self, ready: bool) {
        self.metrics.set_ready(ready);
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for told in self.everywhere() {
            told.set(told.deciding, status).await;
        }
    }

    fn everywhere(&self) -> [&ListenerHealth; 3] {
        [&self.data, &self.admin, &self.probe]
    }
}

impl ListenerHealth {
    async fn begin(deciding: &'static [&'static str], until_the_end: &'static [&'static str]) -> Self {
        let told = Self { reporter: HealthReporter::new(), deciding, until_the_end };
        told.set(&[LIVENESS], ServingStatus::Serving).await;
        told.set(until_the_end, ServingStatus::Serving).await;
        told.set(deciding, ServingStatus::NotServing).await;
        told
    }

    /// What tells it to clients.
    pub(in crate::serve) fn server(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }

    async fn set(&self, names: &[&str], status: ServingStatus) {
        for name in names {
            self.reporter.set_service_status(name, status).await;
        }
    }
}
