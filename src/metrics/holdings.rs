//! Gauges of what a gate holds: its leases, their credits, and the reservations opened from them.
//!
//! A gate does not maintain these numbers. Each scrape reads them from the gate through a function that the gate's owner
//! provides.

use std::{fmt, sync::OnceLock};

use prometheus::{IntGauge, Registry, register_int_gauge_vec_with_registry, register_int_gauge_with_registry};

/// What a gate holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Number of leases that calls can draw from.
    pub leases: u64,
    /// Number of leases that are closed but not yet given back to the store.
    pub returning: u64,
    /// Credits left in the leases that calls can draw from.
    pub leased_credits: u64,
    /// Number of reservations that were opened from leases and are not settled.
    pub open_reservations: u64,
}

/// The gauges, and the function that reads their values.
#[derive(Debug)]
pub(super) struct HoldingsGauges {
    leases: IntGauge,
    returning: IntGauge,
    leased_credits: IntGauge,
    open_reservations: IntGauge,
    source: OnceLock<Source>,
}

/// Reads the holdings of a gate.
struct Source(Box<dyn Fn() -> Holdings + Send + Sync>);

impl HoldingsGauges {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let leases = register_int_gauge_vec_with_registry!(
            "tollgate_leases",
            "Leases by state: in_hand can be drawn from, returning is closed and not yet given back.",
            &["state"],
            registry
        )?;
        Ok(Self {
            leases: leases.get_metric_with_label_values(&["in_hand"])?,
            returning: leases.get_metric_with_label_values(&["returning"])?,
            leased_credits: register_int_gauge_with_registry!(
                "tollgate_leased_credits",
                "Credits left in the leases that this sidecar holds.",
                registry
            )?,
            open_reservations: register_int_gauge_with_registry!(
                "tollgate_open_reservations",
                "Reservations that this sidecar opened from leases and that are not settled.",
                registry
            )?,
            source: OnceLock::new(),
        })
    }

    /// Sets the function that reads the holdings. Only the first call has an effect, because a sidecar has one gate.
    pub(super) fn set_source(&self, source: impl Fn() -> Holdings + Send + Sync + 'static) {
        let _ = self.source.set(Source(Box::new(source)));
    }

    /// Sets the gauges to what the gate holds now. Without a source they are 0.
    pub(super) fn read(&self) {
        let holdings = self.source.get().map(|Source(read)| read()).unwrap_or_default();
        let set = |gauge: &IntGauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.leases, holdings.leases);
        set(&self.returning, holdings.returning);
        set(&self.leased_credits, holdings.leased_credits);
        set(&self.open_reservations, holdings.open_reservations);
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Source")
    }
}
