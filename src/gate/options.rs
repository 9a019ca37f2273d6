//! What a gate is opened with.

use std::sync::Arc;

use crate::{
    clock::Clock,
    domain::{policy::Policy, seed::Seed},
    escrow::EscrowOptions,
    metrics::GateMetrics,
    traces::Traces,
};

/// Options of a gate. The defaults are those of production, without metrics and traces that anything reads.
#[derive(Clone, Debug, Default)]
pub struct GateOptions {
    /// Settings of the rules.
    pub policy: Policy,
    /// The clock that measures the age of what the gate remembers.
    pub clock: Clock,
    /// Teams, plans and rate cards that are written to a store that lacks them.
    pub seed: Seed,
    /// Whether, and how, calls are answered from leases.
    pub escrow: EscrowOptions,
    /// Counters of what the gate does.
    pub metrics: Arc<GateMetrics>,
    /// Maker of trace spans, if traces are exported.
    pub traces: Option<Arc<Traces>>,
}
