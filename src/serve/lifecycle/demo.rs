//! Three teams to try, for a store of this process that has none.

use super::startup_retry::patiently;
use crate::{
    domain::{id::Id, plan::Plan, terms_change::TeamSettings},
    gate::{Gate, GateError, calls::Page},
    store::StoreLocation,
};

/// Who made the demo teams, for the audit stream.
const CALLER: &str = "tollgate serve, demo";

/// The demo teams: their ids, plans, and whether a seat is paid for.
pub(in crate::serve) const TEAMS: [(&str, Plan, bool); 3] =
    [("demo-free", Plan::Free, false), ("demo-basic", Plan::Basic, true), ("demo-pro", Plan::Professional, true)];

/// Which teams there are to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve) enum StoreTeams {
    /// The store had none, and the demo teams were made.
    Demo,
    /// The store has some; this is one of them.
    Existing(Id),
    /// The store has none.
    None,
}

/// Whether a store is one that somebody tries the sidecar with: no other process uses it.
pub(in crate::serve) fn suits(store: &StoreLocation) -> bool {
    matches!(store, StoreLocation::Memory | StoreLocation::Embedded(_))
}

/// Which teams the store has.
pub(in crate::serve) async fn look(gate: &Gate) -> Result<StoreTeams, GateError> {
    let page = Page { size: 1, token: String::new() };
    let first = patiently(|| gate.teams(&page)).await?;
    Ok(first.items.into_iter().next().map_or(StoreTeams::None, |(team, _)| StoreTeams::Existing(team)))
}

/// Makes the demo teams if the store has none.
pub(in crate::serve) async fn make_teams_if_none(gate: &Gate) -> Result<StoreTeams, GateError> {
    let teams = look(gate).await?;
    if teams != StoreTeams::None {
        return Ok(teams);
    }
    for (team, plan, paid_seat) in TEAMS {
        let team = Id::parse(team).map_err(|problem| GateError::invalid("team.team_id", problem.to_string()))?;
        let settings = TeamSettings { plan, paid_seat, anchor_day: 1, included_override: None };
        patiently(|| gate.put_team(&team, &settings, CALLER)).await?;
    }
    Ok(StoreTeams::Demo)
}
