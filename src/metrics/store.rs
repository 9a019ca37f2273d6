//! Metrics of the calls to the store: how long they take, and why they fail.

use prometheus::{
    Histogram, IntCounter, Registry, register_histogram_vec_with_registry, register_int_counter_vec_with_registry,
};

use crate::{store::StoreError, transaction::Transaction};

/// Upper bounds of the buckets, in seconds, from an in-memory store to the longest wait for a store.
const BUCKETS: [f64; 14] =
    [0.000_01, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

/// The kind of one call to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreCall {
    /// One transaction that only reads.
    Read,
    /// One transaction that may write.
    Write,
    /// Several transactions of one team in one call.
    Several,
}

/// Counters and durations of the calls to the store.
#[derive(Debug)]
pub(super) struct StoreMetrics {
    read: Histogram,
    write: Histogram,
    several: Histogram,
    unavailable: IntCounter,
    overloaded: IntCounter,
    fault: IntCounter,
}

impl StoreMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let durations = register_histogram_vec_with_registry!(
            "tollgate_store_duration_seconds",
            "How long calls to the store took.",
            &["call"],
            BUCKETS.to_vec(),
            registry
        )?;
        let errors = register_int_counter_vec_with_registry!(
            "tollgate_store_errors_total",
            "Transactions that the store did not answer.",
            &["kind"],
            registry
        )?;
        let duration = |call: StoreCall| durations.get_metric_with_label_values(&[call.name()]);
        let error = |kind: &str| errors.get_metric_with_label_values(&[kind]);
        Ok(Self {
            read: duration(StoreCall::Read)?,
            write: duration(StoreCall::Write)?,
            several: duration(StoreCall::Several)?,
            unavailable: error("unavailable")?,
            overloaded: error("overloaded")?,
            fault: error("fault")?,
        })
    }

    /// Counts a call that took this long. A negative duration counts as zero.
    pub(super) fn observe(&self, call: StoreCall, duration_ns: i64) {
        let durations = match call {
            StoreCall::Read => &self.read,
            StoreCall::Write => &self.write,
            StoreCall::Several => &self.several,
        };
        #[allow(clippy::cast_precision_loss, reason = "a duration of days is still exact to the microsecond")]
        durations.observe(duration_ns.max(0) as f64 / 1e9);
    }

    /// Counts a transaction that the store did not answer.
    pub(super) fn failed(&self, error: &StoreError) {
        match error {
            StoreError::Unavailable { .. } => self.unavailable.inc(),
            StoreError::Overloaded => self.overloaded.inc(),
            StoreError::Fault { .. } => self.fault.inc(),
        }
    }
}

impl StoreCall {
    /// Returns its name in metrics and traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Several => "several",
        }
    }

    /// Returns the kind of call that runs this transaction.
    pub fn of(transaction: &Transaction) -> Self {
        if transaction.options.is_empty() { Self::Read } else { Self::Write }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn a_bucket_includes_its_upper_bound() {
        let registry = Registry::new();
        let store = StoreMetrics::new(&registry).unwrap();
        for duration_ns in [-1, 0, 10_000, 10_001, 1_000_000_000, 1_000_000_001, i64::MAX] {
            store.observe(StoreCall::Read, duration_ns);
        }
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for (bound, up_to) in [("0.00001", 3), ("0.00005", 4), ("0.25", 4), ("1", 5), ("+Inf", 7)] {
            let line = format!("tollgate_store_duration_seconds_bucket{{call=\"read\",le=\"{bound}\"}} {up_to}\n");
            assert!(text.contains(&line), "{line}{text}");
        }
    }
}
