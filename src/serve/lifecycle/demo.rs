//! Demo teams, for trying the sidecar out on an empty store of its own.

use super::startup_retry::with_retries;
use crate::{
    domain::{id::Id, plan::Plan, terms_change::TeamSettings},
    gate::{Gate, GateError, calls::Page},
    store::StoreLocation,
};

/// The caller that the audit log names for the demo teams.
const CALLER: &str = "tollgate serve, demo";

/// The demo teams: id, plan, and whether they have a paid seat.
pub(in crate::serve) const TEAMS: [(&str, Plan, bool); 3] =
    [("demo-free", Plan::Free, false), ("demo-basic", Plan::Basic, true), ("demo-pro", Plan::Professional, true)];

/// The teams that the startup banner can suggest to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve) enum StoreTeams {
    /// The store was empty, and the demo teams were made.
    Demo,
    /// The store has teams; this is the first of them.
    Existing(Id),
    /// The store has no teams.
    None,
}

/// Returns whether a store may get demo teams: no other process uses it.
pub(in crate::serve) fn is_allowed_on(store: &StoreLocation) -> bool {
    matches!(store, StoreLocation::Memory | StoreLocation::Embedded(_))
}

/// Returns which teams the store has.
pub(in crate::serve) async fn find_teams(gate: &Gate) -> Result<StoreTeams, GateError> {
    let page = Page { size: 1, token: String::new() };
    let first = with_retries(|| gate.teams(&page)).await?;
    Ok(first.items.into_iter().next().map_or(StoreTeams::None, |(team, _)| StoreTeams::Existing(team)))
}

/// Makes the demo teams if the store has no teams.
pub(in crate::serve) async fn make_teams_if_none(gate: &Gate) -> Result<StoreTeams, GateError> {
    let teams = find_teams(gate).await?;
    if teams != StoreTeams::None {
        return Ok(teams);
    }
    for (team, plan, paid_seat) in TEAMS {
        let team = Id::parse(team).map_err(|problem| GateError::invalid("team.team_id", problem.to_string()))?;
        let settings = TeamSettings { plan, paid_seat, anchor_day: 1, included_override: None };
        with_retries(|| gate.put_team(&team, &settings, CALLER)).await?;
    }
    Ok(StoreTeams::Demo)
}
