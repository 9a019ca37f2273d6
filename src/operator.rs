//! Operators' commands: teams, rate cards, usage, charges, audit logs and health probes, for terminals and scripts.
//!
//! Each command is a client of the admin listener. The commands know the gRPC contract and how to display its answers. They
//! know neither the gate nor a store, and no rule of the product. A rate card file is parsed by `config`. Every call has a
//! timeout, and a list of any length uses bounded memory.

mod audit;
mod bar;
mod changes;
mod charges;
mod connection;
mod error;
mod list;
mod or_none;
mod output;
mod probe;
mod rates;
mod team;
mod timestamp;
mod usage;

use clap::Subcommand;

use self::error::Stop;
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

/// The exit codes, as the `--help` of these commands lists them.
const EXIT_CODES: &str = "\
Exit codes:
  0   done
  64  wrong usage
  65  the sidecar refused the input, or the file is not a rate card
  66  there is no such team, service or file
  69  no sidecar answers
  70  an internal error; see the sidecar's log
  74  the output cannot be written
  75  a temporary failure; try again
  76  the listener does not know the call
  77  not allowed
  78  invalid configuration of the admin listener";

/// The commands for operators.
#[derive(Clone, Debug, Subcommand)]
pub enum OperatorCommand {
    /// Creates, changes and shows teams, and switches their overages.
    #[command(subcommand)]
    Team(TeamCommand),
    /// Lists the rate cards, and announces new ones.
    #[command(subcommand)]
    Rates(RatesCommand),
    /// Shows the used and remaining credits of a team in a billing cycle.
    #[command(after_help = EXIT_CODES)]
    Usage(UsageArguments),
    /// Lists the charged overage blocks of one team or of all teams.
    #[command(after_help = EXIT_CODES)]
    Charges(ChargesArguments),
    /// Lists the changes of teams and rate cards: who, when and what.
    #[command(after_help = EXIT_CODES)]
    Audit(AuditArguments),
    /// Asks whether a sidecar serves. The exit code is 0 if it does, 1 if it does not, and 69 if no sidecar answers.
    #[command(after_help = EXIT_CODES)]
    Probe(ProbeArguments),
}

/// Runs a command and returns its exit code.
///
/// # Errors
/// Fails with a message for the user and an exit code.
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
        // The reader of stdout, such as `head`, has read enough. That is no failure.
        Ok(()) | Err(Stop::ReaderLeft) => Ok(0),
        Err(Stop::Failed(error)) => Err(error),
    }
}
