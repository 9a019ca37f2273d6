//! Rounds: two sides are measured in turns, so that other work of the machine affects both, and their results are combined.

use serde::Serialize;

use super::{
    load_client::LoadClient,
    order::{Load, Measured},
};

/// Results of one side, round by round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side(pub(crate) Vec<Measured>);

/// Results of the floor, and of the gate that is compared with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rounds {
    pub(crate) floor: Side,
    pub(crate) gate: Side,
}

/// Figures of one side over all rounds, or of the ratios between the sides.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) per_second: Spread,
    pub(crate) p50_us: Spread,
    pub(crate) p99_us: Spread,
    pub(crate) p99_9_us: Spread,
    /// Processor time of the load client, in cores.
    pub(crate) client_cores: Spread,
}

/// Combined results of all rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) floor: Figures,
    pub(crate) gate: Figures,
    /// Figure of the gate divided by that of the floor in the same round.
    pub(crate) ratio: Figures,
    /// Number of operations with an unexpected answer, and the answer of one of them.
    pub(crate) failed: u64,
    pub(crate) failure: Option<String>,
}

/// Median, minimum and maximum of a figure over all rounds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
        let last = values.len().saturating_sub(1);
        Self { median: f64::midpoint(at(last / 2), at(last.div_ceil(2))), least: at(0), most: at(last) }
    }
}

impl Figures {
    fn of(figure: impl Fn(fn(&Measured) -> f64) -> Spread) -> Self {
        Self {
            per_second: figure(|round| round.per_second),
            p50_us: figure(|round| round.p50_us),
            p99_us: figure(|round| round.p99_us),
            p99_9_us: figure(|round| round.p99_9_us),
            client_cores: figure(|round| round.client_cores),
        }
    }
}

impl Side {
    pub(crate) fn figures(&self) -> Figures {
        Figures::of(|figure| Spread::of(self.0.iter().map(figure)))
    }
}

impl Rounds {
    /// Measures both sides in turns. The order alternates, because the second side benefits from warm caches.
    pub(crate) fn alternate(client: &mut LoadClient, rounds: usize, floor: &Load, gate: &Load) -> anyhow::Result<Self> {
        let mut all = Self::default();
        for round in 0..rounds {
            if round % 2 == 0 {
                all.floor.0.push(client.measure(floor)?);
                all.gate.0.push(client.measure(gate)?);
            } else {
                all.gate.0.push(client.measure(gate)?);
                all.floor.0.push(client.measure(floor)?);
            }
        }
        Ok(all)
    }

    pub(crate) fn outcome(&self) -> Outcome {
        let both = || self.floor.0.iter().chain(&self.gate.0);
        let pairs = || self.gate.0.iter().zip(&self.floor.0);
        Outcome {
            floor: self.floor.figures(),
            gate: self.gate.figures(),
            ratio: Figures::of(|figure| Spread::of(pairs().map(|(gate, floor)| figure(gate) / figure(floor)))),
            failed: both().map(|round| round.failed).sum(),
            failure: both().find_map(|round| round.failure.clone()),
        }
    }
}
