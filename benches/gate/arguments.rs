//! The command line of the benchmark, and of its own processes.

use clap::{Args, Parser, Subcommand, ValueEnum};
use tollgate::address::ListenAddress;

/// Measures the cost of a call, compared with that of an empty gRPC call in the same run.
#[derive(Parser)]
#[command(name = "cargo bench --bench gate --", args_conflicts_with_subcommands = true)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) role: Option<Role>,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// What to measure, and how.
#[derive(Args)]
pub(crate) struct Settings {
    /// Finish within two minutes: fewer and shorter rounds, no rows with 256 concurrent calls, and less growth.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Measure only rows whose names contain this text, such as `memory` or `redis/mix/tcp/64`. If given more than once, a name
    /// must contain every text.
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Vec<String>,
    /// List the names of all rows.
    #[arg(long)]
    pub(crate) list: bool,
    /// When Redis flushes its append-only file.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Flush::Everysec)]
    pub(crate) appendfsync: Flush,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// When Redis flushes its append-only file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Flush {
    Always,
    Everysec,
    No,
}

impl Flush {
    /// Returns the value in the configuration of Redis.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Everysec => "everysec",
            Self::No => "no",
        }
    }
}

/// Role of a process that the benchmark starts from its own binary.
#[derive(Subcommand)]
pub(crate) enum Role {
    /// Serve the floor.
    #[command(hide = true)]
    Floor { address: ListenAddress },
    /// Execute the orders that arrive on standard input.
    #[command(hide = true)]
    Load,
}

impl Settings {
    /// Whether the row with this name is selected.
    pub(crate) fn selects(&self, name: &str) -> bool {
        self.only.iter().all(|text| name.contains(text.as_str()))
    }
}
