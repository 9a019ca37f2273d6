//! Operators' commands: teams, rate cards, usage, charges, the audit logs and the health of a sidecar, at a terminal or in a script.
//!
//! Each is a client of the admin listener. They know the contract and how to show what it says; no gate, no store and no rule of
//! the product, which the sidecar answers for; a rate card they read as the configuration does. Every call is bounded in time, and every list in memory, however long it is.

mod audit;
mod bar;
mod changes;
mod charges;
mod connection;
mod failure;
mod list;
mod moment;
mod or_none;
mod output;
mod probe;
mod rates;
mod team;
mod usage;

use clap::Subcommand;

use self::failure::Stop;
pub use self::{
    audit::AuditArguments,
    charges::ChargesArguments,
    or_none::OrNone,
    probe::ProbeArguments,
    rates::{RatesCommand, RatesListArguments, RatesPutArguments},
    team::{OveragesArguments, Switch, TeamCommand, TeamGetArguments, TeamListArguments, TeamPutArguments},
    usage::UsageArguments,
};
use crate::exit_code::{self, CommandError};

/// What `--help` of these commands ends with.
const EXIT_CODES: &str = "\
Exit codes:
  0   done
  64  the command was used wrongly
  65  the sidecar refuses what it was given, or it is no rate card
  66  there is no such team, service or file
  69  no sidecar answers
  70  a fault; the sidecar's log says more
  75  the sidecar cannot answer now; try again
  76  the listener does not know the call
  77  not allowed
  78  the configuration says nothing of use about the admin listener";

/// What an operator may ask for.
#[derive(Clone, Debug, Subcommand)]
pub enum OperatorCommand {
    /// Makes, changes and shows teams, and switches their overages.
    #[command(subcommand)]
    Team(TeamCommand),
    /// Shows the rate cards, and announces new ones.
    #[command(subcommand)]
    Rates(RatesCommand),
    /// Shows what a team has used in a billing cycle, and what it has left.
    #[command(after_help = EXIT_CODES)]
    Usage(UsageArguments),
    /// Lists the overage blocks that were charged, of one team or of all.
    #[command(after_help = EXIT_CODES)]
    Charges(ChargesArguments),
    /// Lists who changed teams and rate cards, when, and what.
    #[command(after_help = EXIT_CODES)]
    Audit(AuditArguments),
    /// Asks whether a sidecar serves: exit code 0 if it does, 1 if it does not, 69 if nobody answers.
    #[command(after_help = EXIT_CODES)]
    Probe(ProbeArguments),
}

/// Does what was asked for. The result is the exit code of a command that could say what it was asked.
///
/// # Errors
/// If it could not, with a sentence that says why.
pub async fn run(command: OperatorCommand) -> Result<u8, CommandError> {
    let done = match command {
        OperatorCommand::Team(command) => team::run(command).await,
        OperatorCommand::Rates(command) => rates::run(command).await,
        OperatorCommand::Usage(arguments) => usage::run(arguments).await,
        OperatorCommand::Charges(arguments) => charges::run(arguments).await,
        OperatorCommand::Audit(arguments) => audit::run(arguments).await,
        OperatorCommand::Probe(arguments) => match probe::run(arguments).await {
            Ok(serving) => return Ok(if serving { 0 } else { exit_code::FAILURE }),
            Err(stop) => Err(stop),
        },
    };
    match done {
        // Whoever reads has read enough, as `head` does.
        Ok(()) | Err(Stop::ReaderLeft) => Ok(0),
        Err(Stop::Failed(failure)) => Err(failure),
    }
}
