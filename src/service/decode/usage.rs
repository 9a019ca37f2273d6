//! Decodes requests of UsageService.

use super::field::{id, moment_ms, page};
use crate::{
    domain::id::Id,
    gate::{GateError, calls::Page},
    proto::v1,
};

/// GetUsage. Returns the team, a time in the cycle in Unix milliseconds, and the page. `None` means now.
pub(in crate::service) fn get_usage(request: v1::GetUsageRequest) -> Result<(Id, Option<i64>, Page), GateError> {
    let team = id("team_id", &request.team_id)?;
    let at_ms = request.cycle_start.map(|start| moment_ms("cycle_start", start)).transpose()?;
    Ok((team, at_ms, page(request.page_size, request.page_token)))
}

/// ListCharges. Returns the team, a time in the cycle in Unix milliseconds, and the page. `None` means all teams, and every
/// cycle.
pub(in crate::service) fn list_charges(
    request: v1::ListChargesRequest,
) -> Result<(Option<Id>, Option<i64>, Page), GateError> {
    let team = request.team_id.map(|team| id("team_id", &team)).transpose()?;
    let at_ms = request.cycle_start.map(|start| moment_ms("cycle_start", start)).transpose()?;
    Ok((team, at_ms, page(request.page_size, request.page_token)))
}
