//! `tollgate usage`: the used and remaining credits of a team in a billing cycle, by day, model and flow.

mod cycle;
mod render;
mod shares;

use clap::Args;

use self::cycle::CycleUsage;
use super::{
    connection::{AdminArguments, PAGE_SIZE},
    error::Stop,
    output::{OutputArguments, print, print_json},
    timestamp::{self, ProtoTimestamp},
};
use crate::{
    clock::Clock,
    exit_code::{self, CommandError},
    proto::v1::{GetTeamRequest, GetUsageRequest},
};

/// Arguments of `tollgate usage`.
#[derive(Args, Clone, Debug)]
pub struct UsageArguments {
    /// Id of the team
    pub team: String,
    /// Billing cycle at this date or time in UTC. Without it, the current cycle
    #[arg(long, value_name = "DATE", value_parser = timestamp::parse)]
    pub cycle: Option<ProtoTimestamp>,
    #[command(flatten)]
    pub(super) admin: AdminArguments,
    #[command(flatten)]
    pub(super) output: OutputArguments,
}

pub(super) async fn run(arguments: UsageArguments) -> Result<(), Stop> {
    let sidecar = arguments.admin.connect().await?;
    let missing =
        |what: &str| CommandError::new(exit_code::SOFTWARE, format!("the sidecar answered without the {what}"));
    let team = sidecar.get_team(GetTeamRequest { team_id: arguments.team.clone() }).await?.team;
    let mut request = GetUsageRequest {
        team_id: arguments.team,
        cycle_start: arguments.cycle,
        page_size: PAGE_SIZE,
        page_token: String::new(),
    };
    let first = sidecar.get_usage(request.clone()).await?;
    let balance = first.balance.ok_or_else(|| missing("balance"))?;
    // All pages must be of the same cycle, even if a new one begins between two pages.
    request.cycle_start = balance.cycle_start;
    let mut usage = CycleUsage::new(team.ok_or_else(|| missing("team"))?, balance);
    let (mut rows, mut next) = (first.rows, first.next_page_token);
    loop {
        usage.add_rows(rows);
        if next.is_empty() {
            break;
        }
        request.page_token = next;
        let page = sidecar.get_usage(request.clone()).await?;
        (rows, next) = (page.rows, page.next_page_token);
    }
    if arguments.output.json {
        return print_json(&usage.json());
    }
    print(&render::render(&usage, Clock::System.now_ms()))
}
