//! The command line: parses the arguments, runs one command, and reports its error.
//!
//! Results go to standard output; the log and errors go to standard error. [`exit_code`] has the exit codes.

mod check_config;
mod completions;
mod log;
mod reload;
mod serve;

use std::process::ExitCode;

use clap::{
    Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

use self::{check_config::CheckConfigArguments, completions::CompletionsArguments, reload::LiveConfiguration};
use crate::{
    config::{self, Flags, Variables},
    exit_code::{self, CommandError},
    operator,
    replay::{self, ReplayArguments},
};

/// Reserves credits before a model call, and charges them exactly once after it.
///
/// Without a command, it runs `tollgate serve`. A setting can be in the file tollgate.toml, in an environment variable, or in a
/// flag; a flag overrides a variable, and a variable overrides the file.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<CliCommand>,
    #[command(flatten)]
    serve: Flags,
}

#[derive(Subcommand)]
enum CliCommand {
    /// Runs a sidecar, which serves executors, billing and operators over gRPC until SIGTERM or SIGINT.
    Serve(Flags),
    /// Shows the settings that `tollgate serve` would use with the same options, and where each comes from.
    CheckConfig(CheckConfigArguments),
    /// Sends a trace of real model calls to a sidecar, as flow executors would, and checks the credits it charged.
    Replay(ReplayArguments),
    #[command(flatten)]
    Operate(operator::OperatorCommand),
    /// Prints shell completions. For bash: `source <(tollgate completions bash)`.
    Completions(CompletionsArguments),
}

/// Runs the command of the command line and returns its exit code.
pub fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(CommandError { message, code }) => {
            eprintln!("tollgate: {message}");
            ExitCode::from(code)
        }
    }
}

fn run() -> Result<ExitCode, CommandError> {
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(error) => return Ok(report_usage(error)),
    };
    let variables = Variables::from_process();
    match command_line.command.unwrap_or(CliCommand::Serve(command_line.serve)) {
        CliCommand::Serve(flags) => {
            block_on(serve::run(LiveConfiguration::load(flags, variables)?))?;
        }
        CliCommand::CheckConfig(arguments) => check_config::run(&arguments, &variables)?,
        CliCommand::Replay(arguments) => {
            log::start(&config::log_from_environment(&variables)?)?;
            let replayed = replay::run(arguments);
            block_on(async {
                replayed.await.map_err(|error| CommandError::new(exit_code::FAILURE, format!("{error:#}")))
            })?;
        }
        CliCommand::Operate(command) => {
            log::start(&config::log_from_environment(&variables)?)?;
            let operated = operator::run(command);
            return block_on(operated).map(ExitCode::from);
        }
        CliCommand::Completions(arguments) => completions::run::<CommandLine>(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a future on a new runtime until it ends.
fn block_on<T>(task: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::new(exit_code::SOFTWARE, format!("cannot start the runtime: {error}")))?;
    let outcome = runtime.block_on(task);
    // Tasks that still run had their time to stop. Waiting for them could take forever.
    runtime.shutdown_background();
    outcome
}

/// Prints the requested help, or what is wrong with the command line.
fn report_usage(mut error: clap::Error) -> ExitCode {
    for kind in [ContextKind::InvalidSubcommand, ContextKind::InvalidArg, ContextKind::InvalidValue] {
        // A misplaced URL may hold a password, so it is not quoted.
        if error.get(kind).is_some_and(|quoted| quoted.to_string().contains("://")) {
            error.insert(kind, ContextValue::String("URL".to_owned()));
        }
    }
    // If it cannot be printed, there is no other way to report it.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(exit_code::USAGE),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn without_a_command_the_options_are_those_of_serve() {
        let bare = CommandLine::try_parse_from(["tollgate", "--store=memory"]);
        assert!(bare.is_ok_and(|line| line.command.is_none()));
        let named = CommandLine::try_parse_from(["tollgate", "serve", "--store=memory"]);
        assert!(named.is_ok_and(|line| matches!(line.command, Some(CliCommand::Serve(_)))));
    }
}
