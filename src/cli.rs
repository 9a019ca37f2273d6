//! The command line: what `tollgate` is asked to do, and how it says that it could not.
//!
//! Standard output has what was asked for, standard error the log and what went wrong. Exit codes are those of sysexits.h.

mod completions;
mod duration;
mod serve;

use std::{io::IsTerminal, process::ExitCode};

use clap::{
    Parser, Subcommand,
    error::{ContextKind, ErrorKind},
};
use tracing_subscriber::EnvFilter;

use self::{completions::CompletionsArguments, serve::ServeArguments};
use crate::{
    operator,
    replay::{self, ReplayArguments},
};

/// What was asked for came to nothing.
const EXIT_FAILURE: u8 = 1;

/// The command was used wrongly.
const EXIT_USAGE: u8 = 64;

/// The store is not available.
const EXIT_UNAVAILABLE: u8 = 69;

/// Something broke that should not.
const EXIT_SOFTWARE: u8 = 70;

/// A setting is of no use.
const EXIT_CONFIG: u8 = 78;

/// Where filters of the log are looked for, the first one first.
const LOG_VARIABLES: [&str; 2] = ["TOLLGATE_LOG", "RUST_LOG"];

/// Tollgate holds credits before a model is called, and charges them exactly once after.
///
/// Without a command it serves, with the same options as `tollgate serve`. The environment variable TOLLGATE_LOG (or
/// RUST_LOG) says what is logged, for example `debug` or `tollgate=debug,info`.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArguments,
}

#[derive(Subcommand)]
enum Command {
    /// Answers executors, billing and operators over gRPC until it is told to stop.
    Serve(ServeArguments),
    /// Drives a trace of real model calls through a sidecar, as flow executors would, and checks its books.
    Replay(ReplayArguments),
    #[command(flatten)]
    Operate(operator::Command),
    /// Prints what a shell needs to complete these commands: `source <(tollgate completions bash)`.
    Completions(CompletionsArguments),
}

/// Why a command ended without having done what it was asked: a sentence, and an exit code.
#[derive(Debug)]
struct Failure {
    sentence: String,
    code: u8,
}

impl Failure {
    fn new(code: u8, sentence: impl ToString) -> Self {
        Self { sentence: sentence.to_string(), code }
    }
}

/// Reads the command line, does what it says, and tells how that went.
pub fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(Failure { sentence, code }) => {
            eprintln!("tollgate: {sentence}");
            ExitCode::from(code)
        }
    }
}

fn run() -> Result<ExitCode, Failure> {
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(error) => return Ok(refused(&error)),
    };
    start_log()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(EXIT_SOFTWARE, format!("cannot start: {error}")))?;
    let done = |()| 0;
    let outcome = match command_line.command {
        None => runtime.block_on(serve::run(command_line.serve)).map(done),
        Some(Command::Serve(arguments)) => runtime.block_on(serve::run(arguments)).map(done),
        Some(Command::Replay(arguments)) => runtime
            .block_on(replay::run(arguments))
            .map(done)
            .map_err(|error| Failure::new(EXIT_FAILURE, format!("{error:#}"))),
        Some(Command::Operate(command)) => runtime
            .block_on(operator::run(command))
            .map_err(|operator::Failure { sentence, code }| Failure { sentence, code }),
        Some(Command::Completions(arguments)) => completions::run::<CommandLine>(&arguments).map(done),
    };
    // What is still running was given its time; waiting for it could be waiting for ever.
    runtime.shutdown_background();
    outcome.map(ExitCode::from)
}

/// Shows the help that was asked for, or what is wrong with the command line.
fn refused(error: &clap::Error) -> ExitCode {
    // If it cannot be shown, there is nobody left to tell.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        ErrorKind::ValueValidation if error.get(ContextKind::InvalidValue).is_some() && !is_for_operators() => {
            ExitCode::from(EXIT_CONFIG)
        }
        _ => ExitCode::from(EXIT_USAGE),
    }
}

/// Whether an operator's command is asked for: a value that it does not understand is wrong usage, and no setting of a sidecar.
fn is_for_operators() -> bool {
    std::env::args_os().nth(1).is_some_and(|name| operator::Command::has_subcommand(&name.to_string_lossy()))
}

fn start_log() -> Result<(), Failure> {
    let set =
        LOG_VARIABLES.into_iter().find_map(|name| Some((name, std::env::var(name).ok().filter(|f| !f.is_empty())?)));
    let filter = match set {
        None => EnvFilter::new("info"),
        Some((name, filter)) => EnvFilter::try_new(&filter)
            .map_err(|error| Failure::new(EXIT_CONFIG, format!("{name} is not a filter of the log: {error}")))?,
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    Ok(())
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
