//! A row of the results, which is compared with the floor: a store, a workload, and a transport.

use std::fmt;

use serde::Serialize;

use super::order::{Teams, Work};

/// Store of a sidecar, and whether it uses leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreKind {
    Memory,
    Embedded,
    /// Redis, with every call written through.
    Redis,
    /// Redis with leases, which answer calls of busy teams from memory.
    Escrow,
}

/// Calls of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Workload {
    /// Reserves of one team.
    Hot,
    /// Reserves of many teams, distributed by Zipf's law.
    Zipf,
    /// Reserves of one team, each with its commit.
    Mix,
    /// Suspended calls of one team.
    Suspend,
}

/// Transport to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    Tcp,
    Unix,
}

impl StoreKind {
    pub(crate) const ALL: [Self; 4] = [Self::Memory, Self::Embedded, Self::Redis, Self::Escrow];

    /// Returns the sidecar's settings. `max_slice` allows leases for half of a term's demand; its default is for teams with fewer
    /// credits than those of the benchmark.
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
