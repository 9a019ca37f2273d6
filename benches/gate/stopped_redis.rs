//! Redis stops for two seconds under load, while the sidecar holds leases of the team.

use std::{
    thread::{scope, sleep},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use serde::Serialize;

use super::{
    arguments::Settings,
    order::{Measured, Teams, Until, Work, team_name},
    rounds::Spread,
    row::{StoreKind, Transport},
    stage::{Gate, Stage},
};

pub(crate) const NAME: &str = "stopped-redis";

const AT_ONCE: u32 = 64;
const STOPPED: Duration = Duration::from_secs(2);

/// Load before a measurement, after which the leases are large enough for the stop.
const WARM_UP_MS: u32 = 2_000;

/// Duration of a measurement. It ends shortly before the stop does.
const MEASURE_MS: u32 = 1_900;

/// Interval between two checks whether the sidecar has found its store again.
const PAUSE: Duration = Duration::from_millis(50);

/// Maximum number of these checks.
const CHECKS: u32 = 200;

/// Results before and during the stops.
#[derive(Debug, Serialize)]
pub(crate) struct StoppedRedis {
    pub(crate) at_once: u32,
    pub(crate) before_per_second: Spread,
    pub(crate) stopped_per_second: Spread,
    pub(crate) before_p99_us: Spread,
    pub(crate) stopped_p99_us: Spread,
    /// During the stop, divided by before the stop.
    pub(crate) p99_ratio: Spread,
    /// Number of calls that began during a stop and failed, and the answer of one of them.
    pub(crate) failed: u64,
    pub(crate) failure: Option<String>,
    /// Credits that were reserved beyond those that Redis accounts for.
    pub(crate) overspent: i64,
}

/// Stops Redis, if the row is selected.
pub(crate) fn measure(stage: &mut Stage, settings: &Settings) -> anyhow::Result<Option<StoppedRedis>> {
    if !settings.selects(NAME) {
        return Ok(None);
    }
    let gate = stage.gate(StoreKind::Escrow, Transport::Tcp, 0..1)?;
    let redis = gate.redis.as_ref().context("leases need Redis")?;
    let (mut before, mut stopped) = (Vec::<Measured>::new(), Vec::<Measured>::new());
    let mut reserved = 0;
    for round in 0..stage.effort.stops {
        eprintln!("{NAME}/{round}");
        let mut load = |measure_ms| {
            let until = Until::Begun { measure_ms };
            stage.make_calls_until(&gate, Work::Reserve, Teams::One, AT_ONCE, until)
        };
        reserved += load(WARM_UP_MS)?.credits;
        before.push(load(MEASURE_MS)?);
        redis.stop()?;
        // A thread of its own resumes Redis in time, even if the calls wait.
        let in_stop = scope(|threads| {
            let resuming = threads.spawn(|| {
                sleep(STOPPED);
                redis.resume()
            });
            let measured = load(MEASURE_MS);
            resuming.join().map_err(|_| anyhow!("the thread that resumes Redis panicked"))??;
            measured
        })?;
        stopped.push(in_stop);
    }
    reserved += before.iter().chain(&stopped).map(|measured| measured.credits).sum::<i64>();
    let set_aside = set_aside(stage, &gate)?;
    let each = |rounds: &[Measured], figure: fn(&Measured) -> f64| Spread::of(rounds.iter().map(figure));
    Ok(Some(StoppedRedis {
        at_once: AT_ONCE,
        before_per_second: each(&before, |measured| measured.per_second),
        stopped_per_second: each(&stopped, |measured| measured.per_second),
        before_p99_us: each(&before, |measured| measured.p99_us),
        stopped_p99_us: each(&stopped, |measured| measured.p99_us),
        p99_ratio: Spread::of(stopped.iter().zip(&before).map(|(stopped, before)| stopped.p99_us / before.p99_us)),
        failed: stopped.iter().map(|measured| measured.failed).sum(),
        failure: stopped.iter().find_map(|measured| measured.failure.clone()),
        overspent: (reserved - set_aside).max(0),
    }))
}

/// Returns the used, held and leased credits of the team, as soon as the store answers again.
fn set_aside(stage: &mut Stage, gate: &Gate) -> anyhow::Result<i64> {
    for _ in 1..CHECKS {
        if let Ok(credits) = stage.client.set_aside(gate.sidecar.admin(), team_name(0)) {
            return Ok(credits);
        }
        sleep(PAUSE);
    }
    stage.client.set_aside(gate.sidecar.admin(), team_name(0))
}
