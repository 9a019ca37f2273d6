//! The strict path: where the time of one reserve on Redis goes when it is written through, and how often Redis is called.

use serde::Serialize;

use super::{
    arguments::Settings,
    order::{Teams, Until},
    redis_server::RedisServer,
    rounds::{Figures, Rounds, Side, Spread},
    row::{StoreKind, Transport, Workload},
    script_call::{Body, ScriptCall},
    stage::{Gate, Stage},
};

pub(crate) const NAME: &str = "strict-path";

/// Number of reserves before the recorded one. After them, the caches are warm.
const WARM_CALLS: u32 = 20;

/// Where the time of a reserve goes, with one at a time, and how often the workloads call Redis.
#[derive(Debug, Serialize)]
pub(crate) struct StrictPath {
    pub(crate) floor: Figures,
    /// Script call with the same arguments, and a script that does nothing.
    pub(crate) empty_script: Figures,
    /// Script call with a script that only unpacks its argument.
    pub(crate) unpacking_script: Figures,
    /// Script call with the sidecar's own script.
    pub(crate) script: Figures,
    pub(crate) gate: Figures,
    /// Median of the gate minus those of the floor and the script call.
    pub(crate) rest_us: Spread,
    pub(crate) redis_use: Vec<RedisUse>,
}

/// Redis calls of a workload.
#[derive(Debug, Serialize)]
pub(crate) struct RedisUse {
    pub(crate) workload: Workload,
    pub(crate) calls_per_operation: f64,
    pub(crate) server_us_per_call: f64,
}

/// Measures it, if the row is selected.
pub(crate) fn measure(stage: &mut Stage, settings: &Settings) -> anyhow::Result<Option<StrictPath>> {
    if !settings.selects(NAME) {
        return Ok(None);
    }
    eprintln!("{NAME}");
    let gate = stage.gate(StoreKind::Redis, Transport::Tcp, 0..1)?;
    let Some(redis) = &gate.redis else { return Ok(None) };
    let mut connection = redis.connect()?;
    let work = Workload::Hot.work();
    let mut rounds = Rounds::default();
    let [mut empty, mut unpacking, mut script] = [Side::default(), Side::default(), Side::default()];
    let effort = stage.effort;
    for round in 0..effort.rounds {
        let turn = stage.compare_for(1, &gate, work, Teams::One, 1)?;
        rounds.floor.0.extend(turn.floor.0);
        rounds.gate.0.extend(turn.gate.0);
        // Each round records a new call, because a call contains the time until which its price is valid.
        // It is recorded with one call at a time, because concurrent transactions of a team share a script call.
        let until = Until::Done { operations: WARM_CALLS };
        let calling = || stage.make_calls_until(&gate, work, Teams::One, 1, until).map(|_| ());
        let call = ScriptCall::record(redis, calling)?;
        for (side, body) in [(&mut empty, Body::Nothing), (&mut unpacking, Body::Unpacking), (&mut script, Body::Whole)]
        {
            side.0.push(call.measure(&mut connection, body, round, effort.measure_ms)?);
        }
    }
    let sides = rounds.gate.0.iter().zip(&rounds.floor.0).zip(&script.0);
    let rest_us = Spread::of(sides.map(|((gate, floor), script)| gate.p50_us - floor.p50_us - script.p50_us));

    let redis_use = count_calls(stage, &gate, redis)?;
    let [floor, gate, empty_script, unpacking_script, script] =
        [&rounds.floor, &rounds.gate, &empty, &unpacking, &script].map(Side::figures);
    Ok(Some(StrictPath { floor, empty_script, unpacking_script, script, gate, rest_us, redis_use }))
}

/// Counts the Redis calls of the workloads.
fn count_calls(stage: &mut Stage, gate: &Gate, redis: &RedisServer) -> anyhow::Result<Vec<RedisUse>> {
    let mut redis_use = Vec::new();
    for workload in [Workload::Hot, Workload::Mix, Workload::Suspend] {
        let before = redis.scripts()?;
        let made = stage.make_calls(gate, workload.work(), Teams::One, stage.effort.counted_operations)?;
        let after = redis.scripts()?;
        let calls = (after.calls - before.calls) as f64;
        redis_use.push(RedisUse {
            workload,
            calls_per_operation: calls / made.operations as f64,
            server_us_per_call: (after.micros - before.micros) as f64 / calls.max(1.0),
        });
    }
    Ok(redis_use)
}
