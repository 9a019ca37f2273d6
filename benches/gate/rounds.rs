//! Rounds: two sides that take turns, so that what the machine does besides befalls both, and what came of all of them.

use serde::Serialize;

use super::{
    load_client::LoadClient,
    order::{Load, Measured},
};

/// One side's figures, round by round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side(pub(crate) Vec<Measured>);

/// The floor and what is held against it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rounds {
    pub(crate) floor: Side,
    pub(crate) gate: Side,
}

/// What came of all rounds of a side, or of its ratios to the other.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) per_second: Spread,
    pub(crate) p50_us: Spread,
    pub(crate) p99_us: Spread,
    pub(crate) p99_9_us: Spread,
    /// What the client took of the machine; no figure of the server.
    pub(crate) client_cores: Spread,
}

/// What came of all rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) floor: Figures,
    pub(crate) gate: Figures,
    /// The gate's figure divided by the floor's of the same round.
    pub(crate) ratio: Figures,
    /// Operations that were not answered as they should have been, and what one of them was answered.
    pub(crate) failed: u64,
    pub(crate) failure: Option<String>,
}

/// A figure over all rounds.
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
    /// Lets both sides take turns. Who begins a round changes, for the second finds the caches of the first.
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
