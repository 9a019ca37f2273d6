//! The health of a sidecar, by the service names that Kubernetes and clients ask for.
//!
//! There are two questions, and all listeners give the same answer: whether the process is alive (`liveness`), and whether it can
//! decide (`readiness`, which is also the health of QuotaService and of the whole listener). The services of the admin listener
//! are SERVING until shutdown begins.

use std::sync::Arc;

use tokio::sync::Mutex;
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

use crate::{gate::Gate, metrics::Metrics, serve::listeners::services, store::Store};

/// Name of the liveness check: whether the process answers. It never depends on the store.
const LIVENESS: &str = "liveness";

/// Names of the readiness check: whether the sidecar can decide.
const READINESS: [&str; 3] = ["", "readiness", services::QUOTA];

/// Interval of the readiness check while the store is unavailable: the last usable lease may end at any time.
const CHECK_INTERVAL: std::time::Duration = std::time::Duration::from_millis(100);

/// The health of a sidecar, as all its listeners report it.
pub(in crate::serve) struct Health {
    pub(in crate::serve) data: ListenerHealth,
    pub(in crate::serve) admin: ListenerHealth,
    pub(in crate::serve) probe: ListenerHealth,
    metrics: Arc<Metrics>,
    state: Mutex<HealthState>,
}

/// The health that one listener reports.
pub(in crate::serve) struct ListenerHealth {
    reporter: HealthReporter,
    /// Names that are SERVING while the sidecar is ready.
    readiness: &'static [&'static str],
    /// Names that are SERVING until shutdown begins.
    until_shutdown: &'static [&'static str],
}

#[derive(Debug, Default)]
struct HealthState {
    is_ready: bool,
    is_shutting_down: bool,
}

impl Health {
    /// Starts alive and not ready.
    pub(in crate::serve) async fn begin(metrics: Arc<Metrics>) -> Self {
        Self {
            data: ListenerHealth::begin(&READINESS, &[]).await,
            // The admin listener does not have QuotaService, so it does not report that service's health.
            admin: ListenerHealth::begin(&READINESS[..2], services::ON_ADMIN).await,
            probe: ListenerHealth::begin(&READINESS, &[]).await,
            metrics,
            state: Mutex::default(),
        }
    }

    /// Follows the gate and its store. Never returns.
    pub(in crate::serve) async fn follow(&self, gate: &Gate, store: &Store) {
        let mut store_health = store.health();
        loop {
            let is_up = store_health.borrow_and_update().is_up();
            self.metrics.set_store_up(is_up);
            self.set_ready(gate.can_decide()).await;
            let changed = store_health.changed();
            if is_up {
                if changed.await.is_err() {
                    // The store is in this process, and its health never changes.
                    std::future::pending::<()>().await;
                }
            } else {
                // Changed or not, readiness is checked again.
                let _ = tokio::time::timeout(CHECK_INTERVAL, changed).await;
            }
        }
    }

    /// Sets whether the sidecar can decide. After shutdown has begun, it is never reported as ready again.
    pub(in crate::serve) async fn set_ready(&self, is_ready: bool) {
        let mut state = self.state.lock().await;
        if !state.is_shutting_down && state.is_ready != is_ready {
            state.is_ready = is_ready;
            self.report_ready(is_ready).await;
        }
    }

    /// Begins the shutdown: reports NOT_SERVING everywhere, except for liveness.
    pub(in crate::serve) async fn begin_shutdown(&self) {
        let mut state = self.state.lock().await;
        if !std::mem::replace(&mut state.is_shutting_down, true) {
            self.report_ready(false).await;
            for listener in self.listeners() {
                listener.set(listener.until_shutdown, ServingStatus::NotServing).await;
            }
        }
    }

    /// Ends all watches of the data and admin listeners, which are about to close: a watch would keep its connection
    /// open forever. The probe listener closes with the process.
    pub(in crate::serve) async fn end_watches(&self) {
        for listener in [&self.data, &self.admin] {
            let mut reporter = listener.reporter.clone();
            for name in std::iter::once(&LIVENESS).chain(listener.readiness).chain(listener.until_shutdown) {
                reporter.clear_service_status(name).await;
            }
        }
    }

    async fn report_ready(&self, ready: bool) {
        self.metrics.set_ready(ready);
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for listener in self.listeners() {
            listener.set(listener.readiness, status).await;
        }
    }

    fn listeners(&self) -> [&ListenerHealth; 3] {
        [&self.data, &self.admin, &self.probe]
    }
}

impl ListenerHealth {
    async fn begin(readiness: &'static [&'static str], until_shutdown: &'static [&'static str]) -> Self {
        let health = Self { reporter: HealthReporter::new(), readiness, until_shutdown };
        health.set(&[LIVENESS], ServingStatus::Serving).await;
        health.set(until_shutdown, ServingStatus::Serving).await;
        health.set(readiness, ServingStatus::NotServing).await;
        health
    }

    /// Returns the health service for clients of this listener.
    pub(in crate::serve) fn server(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }

    async fn set(&self, names: &[&str], status: ServingStatus) {
        for name in names {
            self.reporter.set_service_status(name, status).await;
        }
    }
}
