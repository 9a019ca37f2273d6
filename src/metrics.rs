//! What Prometheus is told: counters, gauges and histograms, held by whoever changes them, and one text of all of them.
//!
//! Whoever counts has a handle that is an atomic number, found once: no call looks one up by its labels, or locks anything. It must
//! know no rule of the product. No label has values that users can multiply, such as a team.

mod calls;
mod count;
mod family;
mod gate;
mod teams;

use std::sync::Arc;

use prometheus::{IntGauge, IntGaugeVec, Opts, Registry, TextEncoder, core::Collector};

use self::gate::GateCollector;
pub use self::{
    calls::{CallMetrics, InFlight},
    gate::{Committed, GateMetrics, Holdings, LeaseEvent, StoreCall},
};
use crate::store::StoreLocation;

/// The format of [`Metrics::text`], as its header names it.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The commit that was built, if whoever built it said so.
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
    /// The metrics of a sidecar that keeps its credits there. At most so many teams are told apart.
    ///
    /// # Errors
    /// If two metrics have one name, which no setting can lead to.
    pub fn new(store: &StoreLocation, teams_apart: u32) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build_info = IntGaugeVec::new(
            Opts::new("tollgate_build_info", "Always 1; its labels say what was built, and where credits are kept."),
            &["version", "revision", "store"],
        )?;
        let labels = [env!("CARGO_PKG_VERSION"), REVISION.unwrap_or("unknown"), kind_of(store)];
        build_info.get_metric_with_label_values(&labels)?.set(1);
        let ready = IntGauge::new("tollgate_ready", "Whether this sidecar can decide: 1 or 0, as its readiness says.")?;
        let store_up =
            IntGauge::new("tollgate_store_up", "Whether the store serves all that it is there for: 1 or 0.")?;
        let calls = Arc::new(CallMetrics::new()?);
        let gate = Arc::new(GateMetrics::new(teams_apart));
        let metrics = Self { registry, calls, gate, ready, store_up };
        metrics.register(build_info)?;
        metrics.register(metrics.ready.clone())?;
        metrics.register(metrics.store_up.clone())?;
        metrics.register(metrics.calls.durations())?;
        metrics.register(metrics.calls.refusals())?;
        metrics.register(GateCollector(Arc::clone(&metrics.gate)))?;
        Ok(metrics)
    }

    /// Takes one more metric, or a family of them, into the text.
    ///
    /// # Errors
    /// If there is one of its name.
    pub fn register(&self, collector: impl Collector + 'static) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(collector))
    }

    /// How calls were answered, and how long that took.
    pub fn calls(&self) -> &Arc<CallMetrics> {
        &self.calls
    }

    /// What its gate counts.
    pub fn gate(&self) -> &Arc<GateMetrics> {
        &self.gate
    }

    /// Whether the sidecar can decide.
    pub fn set_ready(&self, ready: bool) {
        self.ready.set(ready.into());
    }

    /// Whether the store serves.
    pub fn set_store_up(&self, up: bool) {
        self.store_up.set(up.into());
    }

    /// All of them, as Prometheus reads them.
    ///
    /// # Errors
    /// If a metric cannot be written as text, which is a fault of whoever named it.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn kind_of(store: &StoreLocation) -> &'static str {
    match store {
        StoreLocation::Memory => "memory",
        StoreLocation::Embedded(_) => "embedded",
        StoreLocation::Redis(_) => "redis",
    }
}
