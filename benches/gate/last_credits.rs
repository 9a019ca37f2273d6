//! The last credits: how much of a team's allotment can be used before anybody is suspended, with many sidecars that take leases.

use serde::Serialize;

use super::{
    arguments::Settings,
    order::{Drain, Drained},
    row::Transport,
    server::Server,
    stage::Stage,
};

pub(crate) const NAME: &str = "last-credits";

/// So many sidecars drain a team together,
const SIDECARS: usize = 8;

/// and so many executors ask each of them.
const AT_ONCE: u32 = 2;

/// What could be used.
#[derive(Debug, Serialize)]
pub(crate) struct LastCredits {
    pub(crate) sidecars: usize,
    pub(crate) credits: i64,
    /// The part that was reserved by calls that were answered before the first Suspend was.
    pub(crate) answered_before: f64,
    /// The part that was reserved by calls that had begun by then.
    pub(crate) begun_before: f64,
    #[serde(flatten)]
    pub(crate) drained: Drained,
}

/// Drains a team, if that was asked for.
pub(crate) fn measure(stage: &mut Stage, settings: &Settings) -> anyhow::Result<Option<LastCredits>> {
    if !settings.selects(NAME) {
        return Ok(None);
    }
    eprintln!("{NAME}");
    let redis = stage.redis()?;
    // As they are installed: with leases, and all else at its default.
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
