//! `tollgate team put`: creates a team, or changes some of its terms.
//!
//! The rpc PutTeam replaces all terms. The command therefore reads the team first, so that terms that the user does not name
//! stay.

use clap::Args;

use super::{or_no_change, render::show, required};
use crate::{
    exit_code::{self, CommandError},
    operator::{
        changes::TermsText,
        connection::{AdminArguments, CallError},
        error::Stop,
        or_none::OrNone,
        output::OutputArguments,
    },
    proto::v1::{GetTeamRequest, PutTeamRequest, Team},
};

/// Anchor day of a new team, if the command names none.
const DEFAULT_ANCHOR_DAY: u32 = 1;

/// Arguments of `tollgate team put`.
#[derive(Args, Clone, Debug)]
pub struct TeamPutArguments {
    /// Id of the team
    pub team: String,
    /// Plan: free, basic or professional. Required for a new team
    #[arg(long)]
    pub plan: Option<String>,
    /// Give the team a paid seat
    #[arg(long, conflicts_with = "no_seat")]
    pub seat: bool,
    /// Take the paid seat away. A new team has none by default
    #[arg(long)]
    pub no_seat: bool,
    /// Day of the month on which billing cycles begin, 1 to 31. A new team has 1 by default
    #[arg(long, value_name = "DAY")]
    pub anchor_day: Option<u32>,
    /// Included credits per cycle instead of the plan's, or none for the plan's
    #[arg(long, value_name = "N|none", allow_hyphen_values = true)]
    pub included: Option<OrNone<i64>>,
    #[command(flatten)]
    pub(in crate::operator) admin: AdminArguments,
    #[command(flatten)]
    pub(in crate::operator) output: OutputArguments,
}

pub(super) async fn run(arguments: TeamPutArguments) -> Result<(), Stop> {
    let sidecar = arguments.admin.connect().await?;
    let before = match sidecar.get_team(GetTeamRequest { team_id: arguments.team.clone() }).await {
        Ok(answer) => Some(required(answer.team)?),
        Err(CallError::NotFound(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let team = changed(&arguments, before.as_ref())?;
    let after = required(sidecar.put_team(PutTeamRequest { team: Some(team) }).await?.team)?;
    let result = match &before {
        None => "created".to_owned(),
        Some(before) => or_no_change(&TermsText::of(&after).differences(&TermsText::of(before))),
    };
    show(arguments.output, &after, &result)
}

/// Returns the team with the named terms changed. `before` is `None` for a new team.
fn changed(arguments: &TeamPutArguments, before: Option<&Team>) -> Result<Team, CommandError> {
    let new = || Team { team_id: arguments.team.clone(), billing_anchor_day: DEFAULT_ANCHOR_DAY, ..Team::default() };
    let mut team = before.cloned().unwrap_or_else(new);
    match &arguments.plan {
        Some(plan) => team.plan.clone_from(plan),
        None if before.is_none() => {
            let message = format!("there is no team {} yet; a new team needs --plan", arguments.team.escape_default());
            return Err(CommandError::new(exit_code::USAGE, message));
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
    fn terms_that_are_not_named_stay_as_they_are() {
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
    fn a_new_team_needs_only_a_plan() {
        assert_eq!(put(&["--seat"], None).unwrap_err().code, exit_code::USAGE);
        let new =
            Team { team_id: "team".to_owned(), plan: "free".to_owned(), billing_anchor_day: 1, ..Team::default() };
        assert_eq!(put(&["--plan=free"], None), Ok(new.clone()));
        let named = Team { paid_seat: true, billing_anchor_day: 9, included_credits: Some(5), ..new };
        assert_eq!(put(&["--plan=free", "--seat", "--anchor-day=9", "--included=5"], None), Ok(named));
    }
}
