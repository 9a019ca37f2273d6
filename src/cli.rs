//! The command line: what `tollgate` is asked to do, and how it says that it could not.
//!
//! Standard output has what was asked for, standard error the log and what went wrong. Exit codes are those of sysexits.h.

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

use self::{check_config::CheckConfigArguments, completions::CompletionsArguments, reload::Reload};
use crate::{
    config::{self, ConfigError, Flags, Variables},
    exit_code::{self, CommandError},
    operator,
    replay::{self, ReplayArguments},
};

/// Tollgate holds credits before a model is called, and charges them exactly once after.
///
/// Without a command it serves, with the same options as `tollgate serve`. Each setting can stand in a file, tollgate.toml,
/// in an environment variable, or on the command line, where the last of these counts.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Flags,
}

#[derive(Subcommand)]
enum Command {
    /// Answers executors, billing and operators over gRPC until it is told to stop.
    Serve(Flags),
    /// Says which settings `tollgate serve` would apply with the same options, and where each is from.
    CheckConfig(CheckConfigArguments),
    /// Drives a trace of real model calls through a sidecar, as flow executors would, and checks its books.
    Replay(ReplayArguments),
    #[command(flatten)]
    Operate(operator::OperatorCommand),
    /// Prints what a shell needs to complete these commands: `source <(tollgate completions bash)`.
    Completions(CompletionsArguments),
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        let code = match &error {
            ConfigError::Unreadable(_) => exit_code::NO_INPUT,
            ConfigError::Invalid(_) => exit_code::CONFIG,
        };
        Self::new(code, error)
    }
}

/// Reads the command line, does what it says, and tells how that went.
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
        Err(error) => return Ok(refused(error)),
    };
    let variables = Variables::of_process();
    match command_line.command.unwrap_or(Command::Serve(command_line.serve)) {
        Command::Serve(flags) => {
            complete(serve::run(Reload::begin(flags, variables)?))?;
        }
        Command::CheckConfig(arguments) => check_config::run(&arguments, &variables)?,
        Command::Replay(arguments) => {
            log::start(&config::log_of_environment(&variables)?)?;
            let replayed = replay::run(arguments);
            complete(async {
                replayed.await.map_err(|error| CommandError::new(exit_code::FAILURE, format!("{error:#}")))
            })?;
        }
        Command::Operate(command) => {
            log::start(&config::log_of_environment(&variables)?)?;
            let operated = operator::run(command);
            return complete(operated).map(ExitCode::from);
        }
        Command::Completions(arguments) => completions::run::<CommandLine>(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Does something to its end; what else was begun meanwhile is not waited for.
fn complete<T>(task: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::new(exit_code::SOFTWARE, format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(task);
    // What is still running was given its time; waiting for it could be waiting for ever.
    runtime.shutdown_background();
    outcome
}

/// Shows the help that was asked for, or what is wrong with the command line.
fn refused(mut error: clap::Error) -> ExitCode {
    for kind in [ContextKind::InvalidSubcommand, ContextKind::InvalidArg, ContextKind::InvalidValue] {
        // A URL may hold a password, also where it is misplaced.
        if error.get(kind).is_some_and(|said| said.to_string().contains("://")) {
            error.insert(kind, ContextValue::String("URL".to_owned()));
        }
    }
    // If it cannot be shown, there is nobody left to tell.
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
    fn serving_is_what_happens_without_a_command_and_takes_the_same_options() {
        let bare = CommandLine::try_parse_from(["tollgate", "--store=memory"]);
        assert!(bare.is_ok_and(|line| line.command.is_none()));
        let named = CommandLine::try_parse_from(["tollgate", "serve", "--store=memory"]);
        assert!(named.is_ok_and(|line| matches!(line.command, Some(Command::Serve(_)))));
    }
}
