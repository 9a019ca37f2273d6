//! Number of Redis calls for the reserves and commits of a busy team with leases.

use serde::Serialize;

use super::{
    arguments::Settings,
    order::{Teams, Until, Work},
    row::{StoreKind, Transport},
    stage::Stage,
};

pub(crate) const NAME: &str = "redis-calls";

/// Numbers of concurrent pairs. With one, each commit is a call of its own; with more, commits can share a call.
const AT_ONCE: [u32; 3] = [1, 64, 256];

/// Number of pairs before the count, which make the team busy enough for leases.
const WARM_PAIRS: u32 = 500;

/// Count for one number of executors.
#[derive(Debug, Serialize)]
pub(crate) struct Counted {
    pub(crate) at_once: u32,
    pub(crate) pairs: u64,
    /// Number of Redis calls, including those for leases and runs.
    pub(crate) calls: u64,
    pub(crate) calls_per_pair: f64,
    pub(crate) server_us_per_call: f64,
    pub(crate) failed: u64,
}

/// Counts the calls, if the row is selected.
pub(crate) fn measure(stage: &mut Stage, settings: &Settings) -> anyhow::Result<Vec<Counted>> {
    let mut counted = Vec::new();
    if !settings.selects(NAME) {
        return Ok(counted);
    }
    for at_once in AT_ONCE {
        eprintln!("{NAME}/{at_once}");
        let gate = stage.gate(StoreKind::Escrow, Transport::Tcp, 0..1)?;
        let Some(redis) = &gate.redis else { continue };
        let [one_by_one, together] = stage.effort.counted_pairs;
        let pairs = if at_once == 1 { one_by_one } else { together };
        let mut make = |operations| {
            let until = Until::Done { operations };
            stage.make_calls_until(&gate, Work::ReserveAndCommit, Teams::One, at_once, until)
        };
        make(WARM_PAIRS)?;
        let before = redis.scripts()?;
        let made = make(pairs)?;
        let after = redis.scripts()?;
        let calls = after.calls - before.calls;
        counted.push(Counted {
            at_once,
            pairs: made.operations,
            calls,
            calls_per_pair: calls as f64 / made.operations as f64,
            server_us_per_call: (after.micros - before.micros) as f64 / (calls as f64).max(1.0),
            failed: made.failed,
        });
    }
    Ok(counted)
}
