//! The command line of the benchmark, and of the processes that it starts of itself.

use clap::{Args, Parser, Subcommand, ValueEnum};
use tollgate::serve::ListenAddress;

/// What the gate costs, each figure beside that of an empty call in the same run.
#[derive(Parser)]
#[command(name = "cargo bench --bench gate --", args_conflicts_with_subcommands = true)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) role: Option<Role>,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// What is measured, and how.
#[derive(Args)]
pub(crate) struct Settings {
    /// Take less than two minutes: fewer and shorter rounds, no 256 calls at once, and little growth.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Measure only what has this in its name, for example `memory` or `redis/mix/tcp/64`; given again, this as well.
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Vec<String>,
    /// Show the names of all that can be measured.
    #[arg(long)]
    pub(crate) list: bool,
    /// When Redis flushes its append-only file.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Flush::Everysec)]
    pub(crate) appendfsync: Flush,
    /// Given by cargo.
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
    /// The word for it in Redis' configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Everysec => "everysec",
            Self::No => "no",
        }
    }
}

/// What a process that the benchmark starts of itself does.
#[derive(Subcommand)]
pub(crate) enum Role {
    /// Serves the floor.
    #[command(hide = true)]
    Floor { address: ListenAddress },
    /// Makes the calls that it is told to on standard input.
    #[command(hide = true)]
    Load,
}

impl Settings {
    /// Whether something of this name was asked for.
    pub(crate) fn selects(&self, name: &str) -> bool {
        self.only.iter().all(|text| name.contains(text.as_str()))
    }
}
