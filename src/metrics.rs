//! Metrics for Prometheus: the typed counters, gauges and histograms of one sidecar, and the text that a scrape returns.
//!
//! Every caller that counts holds a handle to its own atomic number. Handles are resolved once, so counting never looks up a
//! label or takes a lock. This module knows no rule of the product and neither the gate nor the services. No label takes values
//! that callers can multiply; the `team` label has a fixed limit.

mod calls;
mod gate;
mod holdings;
mod store;
mod teams;

use std::sync::Arc;

use prometheus::{
    IntCounter, IntGauge, Registry, TextEncoder, register_int_gauge_vec_with_registry, register_int_gauge_with_registry,
};

pub use self::{
    calls::{CallMetrics, InFlight},
    gate::{Committed, GateMetrics, LeaseEvent},
    holdings::Holdings,
    store::StoreCall,
};
use crate::store::StoreLocation;

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The commit that this binary was built from, if the build set `TOLLGATE_REVISION`.
const REVISION: Option<&str> = option_env!("TOLLGATE_REVISION");

/// All metrics of one sidecar.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    calls: Arc<CallMetrics>,
    gate: Arc<GateMetrics>,
    ready: IntGauge,
    store_up: IntGauge,
}

impl Metrics {
    /// Creates the metrics of a sidecar that uses this store. At most `max_teams` teams get a `team` label of their own.
    ///
    /// # Errors
    /// Fails if two metrics have the same name, which no setting can cause.
    pub fn new(store: &StoreLocation, max_teams: u32) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build_info = register_int_gauge_vec_with_registry!(
            "tollgate_build_info",
            "Always 1. The labels are the version and revision of the binary, and the kind of store.",
            &["version", "revision", "store"],
            registry
        )?;
        let labels = [env!("CARGO_PKG_VERSION"), REVISION.unwrap_or("unknown"), store_kind(store)];
        build_info.get_metric_with_label_values(&labels)?.set(1);
        Ok(Self {
            calls: Arc::new(CallMetrics::new(&registry)?),
            gate: Arc::new(GateMetrics::new(&registry, max_teams)?),
            ready: register_int_gauge_with_registry!(
                "tollgate_ready",
                "1 if this sidecar can decide calls, as its readiness reports, otherwise 0.",
                registry
            )?,
            store_up: register_int_gauge_with_registry!(
                "tollgate_store_up",
                "1 if the store answers reads and writes, otherwise 0.",
                registry
            )?,
            registry,
        })
    }

    /// Returns the metrics of the calls that this sidecar answers.
    pub fn calls(&self) -> &Arc<CallMetrics> {
        &self.calls
    }

    /// Returns the metrics of the gate.
    pub fn gate(&self) -> &Arc<GateMetrics> {
        &self.gate
    }

    /// Sets whether the sidecar can decide calls.
    pub fn set_ready(&self, ready: bool) {
        self.ready.set(ready.into());
    }

    /// Sets whether the store answers reads and writes.
    pub fn set_store_up(&self, up: bool) {
        self.store_up.set(up.into());
    }

    /// Returns all metrics in the text format of Prometheus. Reads the gate's holdings first.
    ///
    /// # Errors
    /// Fails if a metric cannot be encoded, which means that its name or its labels are wrong.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        self.gate.read_holdings();
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Adds an amount to a counter. A negative amount adds nothing, because a counter must not decrease.
fn add(counter: &IntCounter, amount: i64) {
    counter.inc_by(u64::try_from(amount).unwrap_or_default());
}

fn store_kind(store: &StoreLocation) -> &'static str {
    match store {
        StoreLocation::Memory => "memory",
        StoreLocation::Embedded(_) => "embedded",
        StoreLocation::Redis(_) => "redis",
    }
}
