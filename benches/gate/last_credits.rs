//! The last credits: which part of a team's allotment is used before the first Suspend, with many sidecars that hold leases.

use serde::Serialize;

use super::{
    arguments::Settings,
    order::{Drain, Drained},
    row::Transport,
    server::Server,
    stage::Stage,
};

pub(crate) const NAME: &str = "last-credits";

/// Number of sidecars that drain a team together.
const SIDECARS: usize = 8;

/// Number of executors at each sidecar.
const AT_ONCE: u32 = 2;

/// How much of the allotment could be used.
#[derive(Debug, Serialize)]
pub(crate) struct LastCredits {
    pub(crate) sidecars: usize,
    pub(crate) credits: i64,
    /// Fraction reserved by calls that were answered before the first Suspend.
    pub(crate) answered_before: f64,
    /// Fraction reserved by calls that began before the first Suspend.
    pub(crate) begun_before: f64,
    #[serde(flatten)]
    pub(crate) drained: Drained,
}

/// Drains a team, if the row is selected.
pub(crate) fn measure(stage: &mut Stage, settings: &Settings) -> anyhow::Result<Option<LastCredits>> {
    if !settings.selects(NAME) {
        return Ok(None);
    }
    eprintln!("{NAME}");
    let redis = stage.redis()?;
    // The default settings, with leases.
    let sidecar = |_| Server::sidecar(Transport::Tcp, redis.url(), &["--escrow", "auto"]);
    let sidecars = (0..SIDECARS).map(sidecar).collect::<anyhow::Result<Vec<_>>>()?;
    let credits = stage.effort.drained_credits;
    let drained = stage.client.drain(Drain {
        admin: sidecars.first().map(|sidecar| sidecar.admin().to_owned()).unwrap_or_default(),
        addresses: sidecars.iter().map(|sidecar| sidecar.data().to_owned()).collect(),
        at_once: AT_ONCE,
        credits,
    })?;
    let part = |some: i64| some as f64 / credits as f64;
    Ok(Some(LastCredits {
        sidecars: SIDECARS,
        credits,
        answered_before: part(drained.answered_before),
        begun_before: part(drained.begun_before),
        drained,
    }))
}
