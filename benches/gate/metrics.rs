//! The cost of metrics: a sidecar with metrics that are scraped each second, compared with a sidecar without metrics.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::mpsc::{RecvTimeoutError, channel},
    thread::scope,
    time::Duration,
};

use anyhow::{Context as _, anyhow, ensure};
use serde::Serialize;

use super::{
    arguments::Settings,
    order::{Load, Teams, Until, Work},
    rounds::{Outcome, Rounds},
    row::{StoreKind, Transport},
    stage::{Gate, Stage},
};

pub(crate) const NAME: &str = "metrics";

/// Interval between two scrapes, shorter than that of any usual Prometheus.
const SCRAPED_EVERY: Duration = Duration::from_secs(1);

/// Calls that are answered from memory, where the cost of metrics is most visible.
const MEASURED: [(StoreKind, Work, u32); 4] = [
    (StoreKind::Memory, Work::Suspend, 1),
    (StoreKind::Memory, Work::Suspend, 64),
    (StoreKind::Escrow, Work::Reserve, 1),
    (StoreKind::Escrow, Work::Reserve, 64),
];

/// Factor for the number of rounds, because the difference is smaller than the noise of one round.
const ROUNDS_FOR_ONE: usize = 6;

/// Result for one kind of call. The sidecar without metrics is the floor.
#[derive(Debug, Serialize)]
pub(crate) struct WithMetrics {
    pub(crate) store: StoreKind,
    pub(crate) suspended: bool,
    pub(crate) at_once: u32,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
    /// Processor time of the sidecar for one call, without metrics and with them.
    pub(crate) processor_us: [f64; 2],
}

/// Compares sidecars with and without metrics, if the row is selected.
pub(crate) fn measure(stage: &mut Stage, settings: &Settings) -> anyhow::Result<Vec<WithMetrics>> {
    let mut measured = Vec::new();
    if !settings.selects(NAME) {
        return Ok(measured);
    }
    for (store, work, at_once) in MEASURED {
        eprintln!("{NAME}/{store}/{at_once}");
        let without = stage.gate(store, Transport::Tcp, 0..1)?;
        let mut with = stage.gate_with(&["--probe", "127.0.0.1:0"], store, Transport::Tcp, 0..1)?;
        let probe = with.sidecar.probe()?;
        let (stop, stopped) = channel::<()>();
        measured.push(scope(|threads| {
            let scraping = threads.spawn(move || {
                loop {
                    match stopped.recv_timeout(SCRAPED_EVERY) {
                        Err(RecvTimeoutError::Timeout) => scrape(&probe)?,
                        Ok(()) | Err(RecvTimeoutError::Disconnected) => return anyhow::Ok(()),
                    }
                }
            });
            let measured = compare(stage, &without, &with, work, at_once);
            drop(stop);
            scraping.join().map_err(|_| anyhow!("the scraping thread panicked"))??;
            let (outcome, processor_us) = measured?;
            let suspended = work == Work::Suspend;
            anyhow::Ok(WithMetrics { store, suspended, at_once, outcome, processor_us })
        })?);
    }
    Ok(measured)
}

fn compare(
    stage: &mut Stage,
    without: &Gate,
    with: &Gate,
    work: Work,
    at_once: u32,
) -> anyhow::Result<(Outcome, [f64; 2])> {
    let rounds = stage.effort.rounds * ROUNDS_FOR_ONE;
    let operations = stage.effort.timed_operations * at_once.min(8);
    let [without_load, with_load] = [without, with]
        .map(|gate| Load { until: Until::Done { operations }, ..stage.load(&gate.sidecar, work, Teams::One, at_once) });
    // Leases and connections exist before the measurement.
    Rounds::alternate(&mut stage.client, 2, &without_load, &with_load)?;
    let taken = |gate: &Gate| gate.sidecar.processor_seconds();
    let before = [taken(without)?, taken(with)?];
    let measured = Rounds::alternate(&mut stage.client, rounds, &without_load, &with_load)?;
    let after = [taken(without)?, taken(with)?];
    let calls = f64::from(operations) * rounds as f64;
    Ok((measured.outcome(), [0, 1].map(|side| (after[side] - before[side]) * 1e6 / calls)))
}

fn scrape(probe: &str) -> anyhow::Result<()> {
    let mut connection = TcpStream::connect(probe).context("the sidecar's metrics")?;
    write!(connection, "GET /metrics HTTP/1.1\r\nHost: sidecar\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    ensure!(answer.contains("tollgate_call_duration_seconds_count"), "the metrics contain no calls");
    Ok(())
}
