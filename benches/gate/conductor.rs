//! The conductor: runs one measurement after the other, and writes and prints the report.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::ensure;
use tollgate::clock::Clock;

use super::{
    arguments::Settings, effort::Effort, growth, last_credits, matrix, metrics, process, redis_calls, report::Report,
    stage::Stage, stopped_redis, strict_path,
};

/// Directory of the report.
fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench")
}

pub(crate) fn run(settings: &Settings) -> anyhow::Result<()> {
    let effort = if settings.quick { Effort::QUICK } else { Effort::FULL };
    let mut selected = names(&effort);
    selected.retain(|name| settings.selects(name));
    ensure!(!selected.is_empty(), "no row has such a name; --list shows the names");
    if settings.list {
        selected.iter().for_each(|name| println!("{name}"));
        return Ok(());
    }
    process::kill_children_on_signal()?;
    let clock = Clock::default();
    let began_ms = clock.monotonic_ms();
    let mut stage = Stage::new(settings, effort, directory().join("stores"))?;
    let report = Report {
        cores: std::thread::available_parallelism()?.get(),
        quick: settings.quick,
        appendfsync: settings.appendfsync.name(),
        rounds: effort.rounds,
        matrix: matrix::measure(&mut stage, settings)?,
        strict_path: strict_path::measure(&mut stage, settings)?,
        redis_calls: redis_calls::measure(&mut stage, settings)?,
        last_credits: last_credits::measure(&mut stage, settings)?,
        stopped_redis: stopped_redis::measure(&mut stage, settings)?,
        metrics: metrics::measure(&mut stage, settings)?,
        growth: growth::measure(&mut stage, settings)?,
        seconds: (clock.monotonic_ms() - began_ms) / 1_000,
    };
    let file = directory().join("gate.json");
    fs::write(&file, serde_json::to_string_pretty(&report)?)?;
    println!("{report}");
    println!("Written to {}.", file.display());
    Ok(())
}

fn names(effort: &Effort) -> Vec<String> {
    let cells = matrix::places(effort).into_iter().flatten().map(|place| place.name());
    let series = growth::series().into_iter().map(|(name, ..)| name);
    let single = [strict_path::NAME, redis_calls::NAME, last_credits::NAME, stopped_redis::NAME, metrics::NAME];
    cells.chain(single.map(str::to_owned)).chain(series).collect()
}
