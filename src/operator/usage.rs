//! `tollgate usage`: what a team has used in a billing cycle, what it has left, and what it used it for.

mod cycle;
mod render;
mod shares;

use clap::Args;

use self::cycle::CycleUsage;
use super::{
    connection::{Admin, PAGE_SIZE},
    failure::Stop,
    moment::{self, Moment},
    output::{OutputArguments, print, print_json},
};
use crate::{
    clock::Clock,
    exit_code::{self, CommandError},
    proto::v1::{GetTeamRequest, GetUsageRequest},
};

/// Whose usage, and of when.
#[derive(Args, Clone, Debug)]
pub struct UsageArguments {
    /// The team's id
    pub team: String,
    /// The billing cycle at this date, or moment, in UTC; without it, the current one
    #[arg(long, value_name = "DATE", value_parser = moment::parse)]
    pub cycle: Option<Moment>,
    #[command(flatten)]
    pub(super) admin: Admin,
    #[command(flatten)]
    pub(super) format: OutputArguments,
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
    // The pages are all of one cycle, though another may begin meanwhile.
    request.cycle_start = balance.cycle_start;
    let mut usage = CycleUsage::new(team.ok_or_else(|| missing("team"))?, balance);
    let (mut rows, mut next) = (first.rows, first.next_page_token);
    loop {
        usage.count(rows);
        if next.is_empty() {
            break;
        }
        request.page_token = next;
        let page = sidecar.get_usage(request.clone()).await?;
        (rows, next) = (page.rows, page.next_page_token);
    }
    if arguments.format.json {
        return print_json(&usage.json());
    }
    print(&render::render(&usage, Clock::System.now_ms()))
}
