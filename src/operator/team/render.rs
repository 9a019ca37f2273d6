//! Output of teams: in JSON, as rows of a table, and one team as text.

use serde::Serialize;

use crate::{
    operator::{
        changes::{included, overages},
        error::Stop,
        output::{Column, OutputArguments, print, print_json, styled},
        timestamp::{display, rfc3339},
    },
    proto::v1::Team,
};

/// The columns of [`cells`].
pub(super) const COLUMNS: [Column; 8] = [
    Column::Text("team"),
    Column::Text("plan"),
    Column::Text("paid seat"),
    Column::Number("anchor day"),
    Column::Number("included credits"),
    Column::Text("overages"),
    Column::Text("created (UTC)"),
    Column::Text("changed (UTC)"),
];

/// A team in JSON. The field names are those of the gRPC contract.
#[derive(Debug, Serialize)]
pub(super) struct TeamJson<'a> {
    team_id: &'a str,
    plan: &'a str,
    paid_seat: bool,
    billing_anchor_day: u32,
    included_credits: Option<i64>,
    overages_enabled: bool,
    overage_cap_blocks: Option<u32>,
    created_at: String,
    updated_at: String,
}

impl<'a> TeamJson<'a> {
    pub(super) fn of(team: &'a Team) -> Self {
        Self {
            team_id: &team.team_id,
            plan: &team.plan,
            paid_seat: team.paid_seat,
            billing_anchor_day: team.billing_anchor_day,
            included_credits: team.included_credits,
            overages_enabled: team.overages_enabled,
            overage_cap_blocks: team.overage_cap_blocks,
            created_at: rfc3339(team.created_at),
            updated_at: rfc3339(team.updated_at),
        }
    }
}

/// Returns a team as a row of a table.
pub(super) fn cells(team: &Team) -> Vec<String> {
    vec![
        team.team_id.clone(),
        team.plan.clone(),
        if team.paid_seat { "yes" } else { "no" }.to_owned(),
        team.billing_anchor_day.to_string(),
        included(team.included_credits),
        overages(team.overages_enabled, team.overage_cap_blocks),
        display(team.created_at),
        display(team.updated_at),
    ]
}

/// Prints one team, and the result of a change, if it is not empty.
pub(super) fn show(output: OutputArguments, team: &Team, result: &str) -> Result<(), Stop> {
    if output.json {
        return print_json(&TeamJson::of(team));
    }
    let heading = styled(team.team_id.as_str()).bold();
    let result = if result.is_empty() { String::new() } else { format!(": {result}") };
    let seat = if team.paid_seat { "a paid seat" } else { "no seat" };
    let lines = [
        ("plan", format!("{}, {seat}", team.plan)),
        ("anchor day", team.billing_anchor_day.to_string()),
        ("included credits", included(team.included_credits)),
        ("overages", overages(team.overages_enabled, team.overage_cap_blocks)),
        ("created", format!("{} UTC", display(team.created_at))),
        ("changed", format!("{} UTC", display(team.updated_at))),
    ];
    let mut text = format!("{heading}{result}\n");
    for (name, value) in lines {
        text.push_str(&format!("  {name:<18}{value}\n"));
    }
    print(&text)
}
