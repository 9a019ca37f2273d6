//! Redis stops for two seconds under load, while a team has leases in hand.

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

/// Load before, from which leases are taken that last.
const WARM_UP_MS: u32 = 2_000;

/// A measurement, before and in the stop: it ends shortly before that does.
const MEASURE_MS: u32 = 1_900;

/// A sidecar finds its store again after a pause of its own. Between two looks, and how many there are.
const PAUSE: Duration = Duration::from_millis(50);
const LOOKS: u32 = 200;

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct StoppedRedis {
    pub(crate) at_once: u32,
    pub(crate) before_per_second: Spread,
    pub(crate) stopped_per_second: Spread,
    pub(crate) before_p99_us: Spread,
    pub(crate) stopped_p99_us: Spread,
    /// In the stop / before it.
    pub(crate) p99_ratio: Spread,
    /// Calls that were begun in the stop and failed, and what one of them was answered.
    pub(crate) failed: u64,
    pub(crate) failure: Option<String>,
    /// What was reserved beyond what Redis has set aside for it, in credits.
    pub(crate) overspent: i64,
}

/// Stops Redis, if that was asked for.
pub(crate) fn measure(stage: &mut Stage, settings: &Settings) -> anyhow::Result<Option<StoppedRedis>> {
    if !settings.selects(NAME) {
        return Ok(None);
    }
    let gate = stage.gate(StoreKind::Escrow, Transport::Tcp, 0..1)?;
    let redis = gate.redis.as_ref().context("leases are of Redis")?;
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
        // It goes on in time, whatever the calls wait for.
        let in_stop = scope(|threads| {
            let going_on = threads.spawn(|| {
                sleep(STOPPED);
                redis.go_on()
            });
            let measured = load(MEASURE_MS);
            going_on.join().map_err(|_| anyhow!("Redis is not let go on"))??;
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

/// What the team has set aside, as soon as the store can be asked again.
fn set_aside(stage: &mut Stage, gate: &Gate) -> anyhow::Result<i64> {
    for _ in 1..LOOKS {
        if let Ok(credits) = stage.client.set_aside(gate.sidecar.admin(), team_name(0)) {
            return Ok(credits);
        }
        sleep(PAUSE);
    }
    stage.client.set_aside(gate.sidecar.admin(), team_name(0))
}
