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
    // Escrow's rows come from one more kind here: Redis, with leases.
    pub(crate) const ALL: [Self; 3] = [Self::Memory, Self::Embedded, Self::Redis];
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
