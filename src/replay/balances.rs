//! The teams' balances before and after a replay. Creates teams that do not exist.

use anyhow::anyhow;
use tonic::{Code, Status};

use super::{executor::team_id, sidecar::SidecarClient};
use crate::proto::v1::{Balance, GetTeamRequest, GetUsageRequest, PutTeamRequest, Team};

const ANCHOR_DAY: u32 = 1;

/// A team and its balance before the replay.
#[derive(Clone, Debug)]
pub(super) struct OpeningBalance {
    pub(super) team: Team,
    balance: Balance,
}

/// Reads each team's balance. Creates the teams that do not exist, and changes no other team.
pub(super) async fn open(
    sidecar: &SidecarClient,
    teams: usize,
    plan: &str,
    paid_seat: bool,
) -> anyhow::Result<Vec<OpeningBalance>> {
    let mut openings = Vec::with_capacity(teams);
    for index in 0..teams {
        let team = get_or_put_team(sidecar, team_id(index), plan, paid_seat).await?;
        let balance = balance(sidecar, &team.team_id, None).await?;
        openings.push(OpeningBalance { team, balance });
    }
    Ok(openings)
}

/// Returns by how many credits a team's usage grew since the opening balance.
pub(super) async fn growth(sidecar: &SidecarClient, opening: &OpeningBalance) -> anyhow::Result<i64> {
    let team_id = &opening.team.team_id;
    let now = balance(sidecar, team_id, None).await?;
    if now.cycle_start == opening.balance.cycle_start {
        return Ok(total(&now) - total(&opening.balance));
    }
    // A new cycle began during the replay. Reservations made before its start were charged to the old cycle.
    let old = balance(sidecar, team_id, opening.balance.cycle_start).await?;
    Ok(total(&old) - total(&opening.balance) + total(&now))
}

async fn get_or_put_team(
    sidecar: &SidecarClient,
    team_id: String,
    plan: &str,
    paid_seat: bool,
) -> anyhow::Result<Team> {
    let found = match sidecar.get_team(GetTeamRequest { team_id: team_id.clone() }).await {
        Ok(answer) => answer.team,
        Err(status) if status.code() == Code::NotFound => {
            let team = Team {
                team_id: team_id.clone(),
                plan: plan.to_owned(),
                paid_seat,
                billing_anchor_day: ANCHOR_DAY,
                ..Team::default()
            };
            let request = PutTeamRequest { team: Some(team) };
            sidecar.put_team(request).await.map_err(cannot(format!("create the team {team_id}")))?.team
        }
        Err(status) => return Err(cannot(format!("read the team {team_id}"))(status)),
    };
    found.ok_or_else(|| anyhow!("the sidecar answered without the team {team_id}"))
}

async fn balance(
    sidecar: &SidecarClient,
    team_id: &str,
    cycle_start: Option<prost_types::Timestamp>,
) -> anyhow::Result<Balance> {
    let request = GetUsageRequest { team_id: team_id.to_owned(), cycle_start, page_size: 1, page_token: String::new() };
    let answer = sidecar.get_usage(request).await.map_err(cannot(format!("read the usage of {team_id}")))?;
    answer.balance.ok_or_else(|| anyhow!("the sidecar answered without the balance of {team_id}"))
}

/// Returns a function that turns a status into an error for people: the task, the code and the message.
fn cannot(task: String) -> impl FnOnce(Status) -> anyhow::Error {
    move |status| anyhow!("cannot {task}: {:?}: {}", status.code(), status.message())
}

/// Returns all committed credits, which are counted in three disjoint counters.
fn total(balance: &Balance) -> i64 {
    balance.used + balance.run_completion + balance.above_hold
}
