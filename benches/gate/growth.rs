//! Growth: how more teams and more open reservations affect the latency of a call and the use of memory.

use std::fmt;

use serde::Serialize;
use tollgate::clock::Clock;

use super::{
    arguments::Settings,
    effort::Effort,
    order::{Teams, Work},
    rounds::Outcome,
    row::{StoreKind, Transport},
    stage::{Gate, Stage},
};

/// Stores in which growth is measured. The embedded store grows in its file, and filling it would take longer than everything
/// else.
const STORES: [StoreKind; 3] = [StoreKind::Memory, StoreKind::Redis, StoreKind::Escrow];

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Grown {
    Teams,
    OpenReservations,
}

/// Measurement at one size.
#[derive(Debug, Serialize)]
pub(crate) struct Point {
    pub(crate) store: StoreKind,
    pub(crate) grown: Grown,
    pub(crate) count: u32,
    /// Resident memory of the sidecar before the calls.
    pub(crate) sidecar_bytes: u64,
    pub(crate) redis_bytes: Option<u64>,
    /// Memory of the sidecar for each added team or reservation.
    pub(crate) sidecar_bytes_each: Option<f64>,
    /// Age of the oldest team or reservation at the end of the measurement. Beyond the hold, some reservations may have expired.
    pub(crate) oldest_seconds: i64,
    /// The sidecar's p99 with one call at a time, divided by that of the first point.
    pub(crate) p99_of_first: Option<f64>,
    pub(crate) under_load: Vec<UnderLoad>,
}

/// Reserves, each followed by its commit, compared with the floor.
#[derive(Debug, Serialize)]
pub(crate) struct UnderLoad {
    pub(crate) at_once: u32,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

impl fmt::Display for Grown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Teams => "teams",
            Self::OpenReservations => "open reservations",
        })
    }
}

impl Grown {
    fn counts(self, effort: &Effort) -> &'static [u32] {
        match self {
            Self::Teams => effort.team_counts,
            Self::OpenReservations => effort.open_counts,
        }
    }
}

/// Returns the names of all series. A series is measured as a whole, because each point grows from the one before.
pub(crate) fn series() -> Vec<(String, StoreKind, Grown)> {
    let mut series = Vec::new();
    for store in STORES {
        series.push((format!("growth/{store}/teams"), store, Grown::Teams));
        series.push((format!("growth/{store}/open"), store, Grown::OpenReservations));
    }
    series
}

/// Measures the selected series.
pub(crate) fn measure(stage: &mut Stage, settings: &Settings) -> anyhow::Result<Vec<Point>> {
    let mut points = Vec::new();
    for (name, store, grown) in series().into_iter().filter(|(name, ..)| settings.selects(name)) {
        let gate = stage.gate(store, Transport::Tcp, 0..1)?;
        let clock = Clock::default();
        let began_ms = clock.monotonic_ms();
        let (mut first, mut last): (Option<f64>, Option<(u32, u64)>) = (None, None);
        for &count in grown.counts(&stage.effort) {
            eprintln!("{name}/{count}");
            grow(stage, &gate, grown, last.map_or(0, |(present, _)| present), count)?;
            let mut point = look(stage, &gate, store, grown, count)?;
            point.oldest_seconds = (clock.monotonic_ms() - began_ms) / 1_000;
            point.sidecar_bytes_each =
                last.map(|(present, bytes)| (point.sidecar_bytes as f64 - bytes as f64) / f64::from(count - present));
            let p99_us = point.under_load.first().map(|alone| alone.outcome.gate.p99_us.median);
            point.p99_of_first = p99_us.zip(first).map(|(p99_us, first)| p99_us / first);
            first = first.or(p99_us);
            last = Some((count, point.sidecar_bytes));
            points.push(point);
        }
    }
    Ok(points)
}

/// Adds teams or reservations to the `present` ones until there are `count`.
fn grow(stage: &mut Stage, gate: &Gate, grown: Grown, present: u32, count: u32) -> anyhow::Result<()> {
    let (teams, reservations) = match grown {
        Grown::Teams => {
            stage.client.make_teams(gate.sidecar.admin(), present..count)?;
            (Teams::InTurn(count), count)
        }
        Grown::OpenReservations => (Teams::One, count - present),
    };
    let made = stage.make_calls(gate, Work::Reserve, teams, reservations)?;
    anyhow::ensure!(made.failed == 0, "{} reserves failed: {}", made.failed, made.failure.unwrap_or_default());
    Ok(())
}

fn look(stage: &mut Stage, gate: &Gate, store: StoreKind, grown: Grown, count: u32) -> anyhow::Result<Point> {
    let sidecar_bytes = gate.sidecar.resident_bytes()?;
    let redis_bytes = gate.redis.as_ref().map(|redis| redis.resident_bytes()).transpose()?;
    let teams = if grown == Grown::Teams { Teams::Zipf(count) } else { Teams::One };
    let mut under_load = Vec::new();
    for &at_once in stage.effort.grown_at_once {
        let outcome = stage.compare(gate, Work::ReserveBeforeCommit, teams, at_once)?.outcome();
        under_load.push(UnderLoad { at_once, outcome });
    }
    Ok(Point {
        store,
        grown,
        count,
        sidecar_bytes,
        redis_bytes,
        sidecar_bytes_each: None,
        oldest_seconds: 0,
        p99_of_first: None,
        under_load,
    })
}
