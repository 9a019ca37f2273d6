//! The matrix: each store and workload over each transport, compared with the floor.

use serde::Serialize;

use super::{
    arguments::Settings,
    effort::Effort,
    order::Teams,
    rounds::Outcome,
    row::{StoreKind, Transport, Workload},
    stage::Stage,
};

/// A row of the matrix, with its results.
#[derive(Debug, Serialize)]
pub(crate) struct Cell {
    #[serde(flatten)]
    pub(crate) place: Place,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

/// Name of a row in the matrix.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Place {
    pub(crate) store: StoreKind,
    pub(crate) workload: Workload,
    pub(crate) transport: Transport,
    pub(crate) at_once: u32,
}

impl Place {
    pub(crate) fn name(&self) -> String {
        let Self { store, workload, transport, at_once } = self;
        format!("{store}/{workload}/{transport}/{at_once}")
    }
}

/// Returns all rows, in groups that share one sidecar.
pub(crate) fn places(effort: &Effort) -> Vec<Vec<Place>> {
    let mut places = Vec::new();
    for store in StoreKind::ALL {
        for workload in Workload::ALL {
            for transport in Transport::ALL {
                if transport == Transport::Unix && workload != Workload::Hot && !effort.all_by_unix {
                    continue;
                }
                let at = |&at_once| Place { store, workload, transport, at_once };
                places.push(effort.at_once.iter().map(at).collect());
            }
        }
    }
    places
}

/// Measures the selected rows.
pub(crate) fn measure(stage: &mut Stage, settings: &Settings) -> anyhow::Result<Vec<Cell>> {
    let mut cells = Vec::new();
    for mut places in places(&stage.effort) {
        places.retain(|place| settings.selects(&place.name()));
        let Some(&Place { store, workload, transport, .. }) = places.first() else { continue };
        let teams = workload.teams(stage.effort.many_teams);
        let count = teams.count();
        let gate = stage.gate(store, transport, 0..count)?;
        if count > 1 {
            // Every team has called once before the measurement, and the busy teams often enough for leases.
            stage.make_calls(&gate, workload.work(), Teams::InTurn(count), count)?;
            stage.make_calls(&gate, workload.work(), teams, count.saturating_mul(2))?;
        }
        for place in places {
            eprintln!("{}", place.name());
            let outcome = stage.compare(&gate, workload.work(), teams, place.at_once)?.outcome();
            cells.push(Cell { place, outcome });
        }
    }
    Ok(cells)
}
