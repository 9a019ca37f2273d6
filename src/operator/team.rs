//! `tollgate team`: the teams and their terms.

mod put;
mod render;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Map;

pub use self::put::TeamPutArguments;
use self::render::{COLUMNS, TeamJson, cells, show};
use super::{
    EXIT_CODES,
    changes::TermsText,
    connection::{Admin, each},
    failure::Stop,
    list::List,
    or_none::OrNone,
    output::{OutputArguments, counted},
};
use crate::{
    exit_code::{self, CommandError},
    proto::v1::{GetTeamRequest, ListTeamsRequest, SetOveragesRequest, Team},
};

/// A sidecar reads each team of a page by itself: a large page from a store that is far away would take longer than a call may.
const TEAMS_PER_PAGE: u32 = 100;

/// What to do with teams.
#[derive(Clone, Debug, Subcommand)]
pub enum TeamCommand {
    /// Makes a team, or changes what is said of one; what is not said stays as it is.
    ///
    /// The team is read first and then put whole, so if two do this at once, the last writer wins. It acts at once on the current
    /// billing cycle; a new anchor day from the next turn. A change of terms never bills.
    #[command(after_help = EXIT_CODES)]
    Put(TeamPutArguments),
    /// Shows one team.
    #[command(after_help = EXIT_CODES)]
    Get(TeamGetArguments),
    /// Lists all teams.
    #[command(after_help = EXIT_CODES)]
    List(TeamListArguments),
    /// Switches overages, for professional with a paid seat.
    #[command(after_help = EXIT_CODES)]
    Overages(OveragesArguments),
}

/// Which team to show.
#[derive(Args, Clone, Debug)]
pub struct TeamGetArguments {
    /// The team's id
    pub team: String,
    #[command(flatten)]
    pub(super) admin: Admin,
    #[command(flatten)]
    pub(super) format: OutputArguments,
}

/// How to list all teams.
#[derive(Args, Clone, Debug)]
pub struct TeamListArguments {
    #[command(flatten)]
    pub(super) admin: Admin,
    #[command(flatten)]
    pub(super) format: OutputArguments,
}

/// How to switch overages.
#[derive(Args, Clone, Debug)]
pub struct OveragesArguments {
    /// The team's id
    pub team: String,
    /// On or off
    pub switch: Switch,
    /// The most blocks that one cycle may buy, or none for no cap; without it, the cap stays as it is
    #[arg(long, value_name = "N|none", allow_hyphen_values = true)]
    pub cap: Option<OrNone<u32>>,
    #[command(flatten)]
    pub(super) admin: Admin,
    #[command(flatten)]
    pub(super) format: OutputArguments,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On
    On,
    /// Off
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
    show(arguments.format, &present(answer.team)?, "")
}

async fn list(arguments: TeamListArguments) -> Result<(), Stop> {
    let sidecar = arguments.admin.connect().await?;
    let mut list = List::new(arguments.format, "teams", &COLUMNS);
    let mut teams = 0;
    let page = async |page_token| {
        let answer = sidecar.list_teams(ListTeamsRequest { page_size: TEAMS_PER_PAGE, page_token }).await?;
        Ok((answer.teams, answer.next_page_token))
    };
    each(page, |team| {
        teams += 1;
        list.add(&TeamJson::of(&team), || cells(&team))
    })
    .await?;
    list.end(&counted(teams, "team", "teams"), &Map::new())
}

async fn overages(arguments: OveragesArguments) -> Result<(), Stop> {
    let sidecar = arguments.admin.connect().await?;
    let before = present(sidecar.get_team(GetTeamRequest { team_id: arguments.team.clone() }).await?.team)?;
    let request = SetOveragesRequest {
        team_id: arguments.team,
        enabled: arguments.switch == Switch::On,
        cap_blocks: arguments.cap.map_or(before.overage_cap_blocks, |OrNone(cap)| cap),
    };
    let after = present(sidecar.set_overages(request).await?.team)?;
    show(arguments.format, &after, &told(&TermsText::of(&after).differences(&TermsText::of(&before))))
}

/// The team that an answer has to have.
fn present(team: Option<Team>) -> Result<Team, CommandError> {
    team.ok_or_else(|| CommandError::new(exit_code::SOFTWARE, "the sidecar answered without the team"))
}

/// What became of a change.
fn told(differences: &str) -> String {
    if differences.is_empty() { "nothing to change".to_owned() } else { differences.to_owned() }
}
