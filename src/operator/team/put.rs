//! `tollgate team put`: makes a team, or changes a part of its terms.
//!
//! The contract's PutTeam replaces everything. So that nobody takes away an override by not naming it, the team is read first.

use clap::Args;

use super::{present, render::show, told};
use crate::{
    exit_code::{self, CommandError},
    operator::{
        changes::TermsText,
        connection::{Admin, CallError},
        failure::Stop,
        or_none::OrNone,
        output::OutputArguments,
    },
    proto::v1::{GetTeamRequest, PutTeamRequest, Team},
};

/// The anchor day of a new team, if none is named.
const FIRST_ANCHOR_DAY: u32 = 1;

/// What to say of a team.
#[derive(Args, Clone, Debug)]
pub struct TeamPutArguments {
    /// The team's id
    pub team: String,
    /// free, basic or professional; a new team needs it
    #[arg(long)]
    pub plan: Option<String>,
    /// With a paid seat
    #[arg(long, conflicts_with = "no_seat")]
    pub seat: bool,
    /// Without a paid seat, as a new team is unless it says
    #[arg(long)]
    pub no_seat: bool,
    /// The day of the month that billing cycles begin on, 1 to 31; 1 for a new team unless it says
    #[arg(long, value_name = "DAY")]
    pub anchor_day: Option<u32>,
    /// Included credits per cycle in place of the plan's, or none for the plan's
    #[arg(long, value_name = "N|none", allow_hyphen_values = true)]
    pub included: Option<OrNone<i64>>,
    #[command(flatten)]
    pub(in crate::operator) admin: Admin,
    #[command(flatten)]
    pub(in crate::operator) format: OutputArguments,
}

pub(super) async fn run(arguments: TeamPutArguments) -> Result<(), Stop> {
    let sidecar = arguments.admin.connect().await?;
    let before = match sidecar.get_team(GetTeamRequest { team_id: arguments.team.clone() }).await {
        Ok(answer) => Some(present(answer.team)?),
        Err(CallError::NotFound(_)) => None,
        Err(refusal) => return Err(refusal.into()),
    };
    let team = changed(&arguments, before.as_ref())?;
    let after = present(sidecar.put_team(PutTeamRequest { team: Some(team) }).await?.team)?;
    let became = match &before {
        None => "made".to_owned(),
        Some(before) => told(&TermsText::of(&after).differences(&TermsText::of(before))),
    };
    show(arguments.format, &after, &became)
}

/// The team with what is said of it, and the rest as it was.
fn changed(arguments: &TeamPutArguments, before: Option<&Team>) -> Result<Team, CommandError> {
    let new = || Team { team_id: arguments.team.clone(), billing_anchor_day: FIRST_ANCHOR_DAY, ..Team::default() };
    let mut team = before.cloned().unwrap_or_else(new);
    match &arguments.plan {
        Some(plan) => team.plan.clone_from(plan),
        None if before.is_none() => {
            let sentence = format!("there is no team {} yet; a new one needs --plan", arguments.team.escape_default());
            return Err(CommandError::new(exit_code::USAGE, sentence));
        }
        None => {}
    }
    team.paid_seat = (team.paid_seat || arguments.seat) && !arguments.no_seat;
    if let Some(day) = arguments.anchor_day {
        team.billing_anchor_day = day;
    }
    if let Some(OrNone(credits)) = arguments.included {
        team.included_credits = credits;
    }
    Ok(team)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        put: TeamPutArguments,
    }

    fn put(arguments: &[&str], before: Option<&Team>) -> Result<Team, CommandError> {
        let line = Line::try_parse_from(["put", "team"].iter().chain(arguments)).unwrap();
        changed(&line.put, before)
    }

    fn team() -> Team {
        Team {
            team_id: "team".to_owned(),
            plan: "basic".to_owned(),
            paid_seat: true,
            billing_anchor_day: 15,
            included_credits: Some(7),
            ..Team::default()
        }
    }

    #[test]
    fn what_is_not_said_of_a_team_stays_as_it_is() {
        let table = [
            (&[][..], team()),
            (&["--plan=free"], Team { plan: "free".to_owned(), ..team() }),
            (&["--seat"], team()),
            (&["--no-seat"], Team { paid_seat: false, ..team() }),
            (&["--anchor-day=31"], Team { billing_anchor_day: 31, ..team() }),
            (&["--included=0"], Team { included_credits: Some(0), ..team() }),
            (&["--included=none"], Team { included_credits: None, ..team() }),
        ];
        for (arguments, after) in table {
            assert_eq!(put(arguments, Some(&team())), Ok(after), "{arguments:?}");
        }
    }

    #[test]
    fn a_new_team_needs_a_plan_and_nothing_else() {
        assert_eq!(put(&["--seat"], None).unwrap_err().code, exit_code::USAGE);
        let new =
            Team { team_id: "team".to_owned(), plan: "free".to_owned(), billing_anchor_day: 1, ..Team::default() };
        assert_eq!(put(&["--plan=free"], None), Ok(new.clone()));
        let said = Team { paid_seat: true, billing_anchor_day: 9, included_credits: Some(5), ..new };
        assert_eq!(put(&["--plan=free", "--seat", "--anchor-day=9", "--included=5"], None), Ok(said));
    }
}
