//! `tollgate completions`: prints shell completions.

use std::io::Write as _;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::exit_code::{self, CommandError};

/// Options of `tollgate completions`.
#[derive(Args)]
pub(super) struct CompletionsArguments {
    /// Shell to print completions for
    shell: Shell,
}

/// Prints the completions of a command line.
pub(super) fn run<CommandLine: CommandFactory>(arguments: &CompletionsArguments) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut CommandLine::command(), "tollgate", &mut script);
    let mut output = std::io::stdout().lock();
    match output.write_all(&script).and_then(|()| output.flush()) {
        // A reader that stops early, like `head`, is not an error.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CommandError::new(exit_code::SOFTWARE, format!("cannot print: {error}")))
        }
        _ => Ok(()),
    }
}
