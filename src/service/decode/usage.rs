//! Requests of UsageService.

use super::field::{id, moment_ms, page};
use crate::{
    domain::id::Id,
    gate::{GateError, calls::Page},
    proto::v1,
};

/// GetUsage: the team, a moment in the cycle in Unix milliseconds (`None` is now), and the page.
pub(in crate::service) fn get_usage(request: v1::GetUsageRequest) -> Result<(Id, Option<i64>, Page), GateError> {
    let team = id("team_id", &request.team_id)?;
    let at_ms = request.cycle_start.map(|start| moment_ms("cycle_start", start)).transpose()?;
    Ok((team, at_ms, page(request.page_size, request.page_token)))
}

/// ListCharges: the team (`None` is all), a moment in the cycle in Unix milliseconds (`None` is every cycle), and the page.
pub(in crate::service) fn list_charges(
    request: v1::ListChargesRequest,
) -> Result<(Option<Id>, Option<i64>, Page), GateError> {
    let team = request.team_id.map(|team| id("team_id", &team)).transpose()?;
    let at_ms = request.cycle_start.map(|start| moment_ms("cycle_start", start)).transpose()?;
    Ok((team, at_ms, page(request.page_size, request.page_token)))
}
