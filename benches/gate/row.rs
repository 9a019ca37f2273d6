//! What is held against the floor: a store, what is asked of it, and by what way.

use std::fmt;

use serde::Serialize;

use super::order::{Teams, Work};

/// Where a sidecar keeps its books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreKind {
    Memory,
    Embedded,
    /// Redis, each call written through.
    Redis,
    /// Redis, with leases: calls of busy teams are answered from memory.
    Escrow,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Workload {
    /// Reserves of one team.
    Hot,
    /// Reserves of many teams, by Zipf's law.
    Zipf,
    /// Reserves of one team, each with its commit.
    Mix,
    /// Suspended calls of one team.
    Suspend,
}

/// The way to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    Tcp,
    Unix,
}

impl StoreKind {
    pub(crate) const ALL: [Self; 4] = [Self::Memory, Self::Embedded, Self::Redis, Self::Escrow];

    /// Whether calls are answered from memory. A lease may be as large as half of its term's demand: the default of `max_slice` is for
    /// teams that have not as many credits as these.
    pub(crate) fn settings(self) -> &'static [&'static str] {
        match self {
            Self::Memory | Self::Embedded | Self::Redis => &["--escrow", "off"],
            Self::Escrow => &["--escrow", "auto", "--max-slice", "10000000"],
        }
    }
}

impl Workload {
    pub(crate) const ALL: [Self; 4] = [Self::Hot, Self::Zipf, Self::Mix, Self::Suspend];

    pub(crate) fn work(self) -> Work {
        match self {
            Self::Hot | Self::Zipf => Work::Reserve,
            Self::Mix => Work::ReserveAndCommit,
            Self::Suspend => Work::Suspend,
        }
    }

    pub(crate) fn teams(self, many: u32) -> Teams {
        if self == Self::Zipf { Teams::Zipf(many) } else { Teams::One }
    }
}

impl Transport {
    pub(crate) const ALL: [Self; 2] = [Self::Tcp, Self::Unix];
}

impl fmt::Display for StoreKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Memory => "memory",
            Self::Embedded => "embedded",
            Self::Redis => "redis",
            Self::Escrow => "escrow",
        })
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Hot => "hot",
            Self::Zipf => "zipf",
            Self::Mix => "mix",
            Self::Suspend => "suspend",
        })
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tcp => "tcp",
            Self::Unix => "unix",
        })
    }
}
