//! `tollgate team`: creates, changes and shows teams.

mod put;
mod render;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Map;

pub use self::put::TeamPutArguments;
use self::render::{COLUMNS, TeamJson, cells, show};
use super::{
    EXIT_CODES,
    changes::TermsText,
    connection::{AdminArguments, for_each_row},
    error::Stop,
    list::List,
    or_none::OrNone,
    output::{OutputArguments, format_count},
};
use crate::{
    exit_code::{self, CommandError},
    proto::v1::{GetTeamRequest, ListTeamsRequest, SetOveragesRequest, Team},
};

/// Number of teams per page. The sidecar reads the teams of a page one by one, so a large page from a slow store would exceed the
/// call timeout.
const TEAMS_PER_PAGE: u32 = 100;

/// The subcommands of `tollgate team`.
#[derive(Clone, Debug, Subcommand)]
pub enum TeamCommand {
    /// Creates a team, or changes the named terms of one. Other terms stay as they are.
    ///
    /// The command reads the team and then writes all of its terms. If two such commands run at the same time, the last writer
    /// wins. A change applies to the current billing cycle immediately, and a new anchor day from the next cycle on. It never
    /// causes a charge by itself.
    #[command(after_help = EXIT_CODES)]
    Put(TeamPutArguments),
    /// Shows one team.
    #[command(after_help = EXIT_CODES)]
    Get(TeamGetArguments),
    /// Lists all teams.
    #[command(after_help = EXIT_CODES)]
    List(TeamListArguments),
    /// Switches overages on or off. They require the professional plan with a paid seat.
    #[command(after_help = EXIT_CODES)]
    Overages(OveragesArguments),
}

/// Arguments of `tollgate team get`.
#[derive(Args, Clone, Debug)]
pub struct TeamGetArguments {
    /// Id of the team
    pub team: String,
    #[command(flatten)]
    pub(super) admin: AdminArguments,
    #[command(flatten)]
    pub(super) output: OutputArguments,
}

/// Arguments of `tollgate team list`.
#[derive(Args, Clone, Debug)]
pub struct TeamListArguments {
    #[command(flatten)]
    pub(super) admin: AdminArguments,
    #[command(flatten)]
    pub(super) output: OutputArguments,
}

/// Arguments of `tollgate team overages`.
#[derive(Args, Clone, Debug)]
pub struct OveragesArguments {
    /// Id of the team
    pub team: String,
    /// Whether overages are on or off
    pub switch: Switch,
    /// Maximum number of overage blocks per cycle, or none for no cap. Without this option the cap does not change
    #[arg(long, value_name = "N|none", allow_hyphen_values = true)]
    pub cap: Option<OrNone<u32>>,
    #[command(flatten)]
    pub(super) admin: AdminArguments,
    #[command(flatten)]
    pub(super) output: OutputArguments,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// At the limit, overage blocks are charged
    On,
    /// At the limit, new runs are suspended
    Off,
}

pub(super) async fn run(command: TeamCommand) -> Result<(), Stop> {
    match command {
        TeamCommand::Put(arguments) => put::run(arguments).await,
        TeamCommand::Get(arguments) => get(arguments).await,
        TeamCommand::List(arguments) => list(arguments).await,
        TeamCommand::Overages(arguments) => overages(arguments).await,
    }
}

async fn get(arguments: TeamGetArguments) -> Result<(), Stop> {
    let sidecar = arguments.admin.connect().await?;
    let answer = sidecar.get_team(GetTeamRequest { team_id: arguments.team }).await?;
    show(arguments.output, &required(answer.team)?, "")
}

async fn list(arguments: TeamListArguments) -> Result<(), Stop> {
    let sidecar = arguments.admin.connect().await?;
    let mut list = List::new(arguments.output, "teams", &COLUMNS);
    let mut teams = 0;
    let page = async |page_token| {
        let answer = sidecar.list_teams(ListTeamsRequest { page_size: TEAMS_PER_PAGE, page_token }).await?;
        Ok((answer.teams, answer.next_page_token))
    };
    for_each_row(page, |team| {
        teams += 1;
        list.add(&TeamJson::of(&team), || cells(&team))
    })
    .await?;
    list.end(&format_count(teams, "team", "teams"), &Map::new())
}

async fn overages(arguments: OveragesArguments) -> Result<(), Stop> {
    let sidecar = arguments.admin.connect().await?;
    let before = required(sidecar.get_team(GetTeamRequest { team_id: arguments.team.clone() }).await?.team)?;
    let request = SetOveragesRequest {
        team_id: arguments.team,
        enabled: arguments.switch == Switch::On,
        cap_blocks: arguments.cap.map_or(before.overage_cap_blocks, |OrNone(cap)| cap),
    };
    let after = required(sidecar.set_overages(request).await?.team)?;
    show(arguments.output, &after, &or_no_change(&TermsText::of(&after).differences(&TermsText::of(&before))))
}

/// Returns the team of an answer, or an error if it is missing.
fn required(team: Option<Team>) -> Result<Team, CommandError> {
    team.ok_or_else(|| CommandError::new(exit_code::SOFTWARE, "the sidecar answered without the team"))
}

/// Returns the differences, or `no change`.
fn or_no_change(differences: &str) -> String {
    if differences.is_empty() { "no change".to_owned() } else { differences.to_owned() }
}
