//! Four sidecars on one server as their clients see them, and the teams of the test.

use std::sync::atomic::{AtomicU64, Ordering};

use tollgate::proto::v1::Team;

use crate::suite::support::client::{Client, professional_team, team_without_seat};

pub(super) const SIDECARS: usize = 4;

/// A team of the test.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChaosTeam {
    pub(super) id: &'static str,
    /// This team's share of all calls, relative to the shares of the other teams.
    pub(super) share: u32,
    pub(super) has_seat: bool,
    /// Included credits at the start.
    pub(super) included: i64,
    /// How much its included credits are raised after some of its calls were suspended. So it reaches its limit
    /// repeatedly.
    pub(super) raise: i64,
    /// If set, overages are on with this cap on blocks.
    pub(super) cap_blocks: Option<u32>,
}

/// A team that never reaches its limit, one that reaches it often and has to stop, one whose runs may pass it, one that
/// buys block after block, and one that reaches its overage cap.
pub(super) const TEAMS: [ChaosTeam; 5] = [
    ChaosTeam { id: "hot", share: 5, has_seat: true, included: 1_000_000_000, raise: 0, cap_blocks: None },
    ChaosTeam { id: "near", share: 4, has_seat: false, included: 1_000, raise: 1_500, cap_blocks: None },
    ChaosTeam { id: "seat", share: 2, has_seat: true, included: 500, raise: 800, cap_blocks: None },
    ChaosTeam { id: "blocks", share: 3, has_seat: true, included: 1_000, raise: 0, cap_blocks: Some(1_000_000) },
    ChaosTeam { id: "capped", share: 1, has_seat: true, included: 500, raise: 0, cap_blocks: Some(1) },
];

impl ChaosTeam {
    /// Returns its terms with these included credits.
    pub(super) fn terms(&self, included: i64) -> Team {
        if self.has_seat { professional_team(self.id, included) } else { team_without_seat(self.id, included) }
    }

    /// Returns the price of one image, in credits.
    pub(super) fn image_credits(&self) -> i64 {
        if self.has_seat { 5 } else { 10 }
    }
}

/// The sidecars.
pub(super) struct Fleet {
    pub(super) clients: [Client; SIDECARS],
    /// How often each was killed.
    lives: [AtomicU64; SIDECARS],
}

impl Fleet {
    pub(super) fn of(clients: [Client; SIDECARS]) -> Self {
        Self { clients, lives: Default::default() }
    }

    /// Records that a sidecar was killed and lost its memory.
    pub(super) fn was_killed(&self, sidecar: usize) {
        self.lives[sidecar].fetch_add(1, Ordering::SeqCst);
    }

    /// Returns how often a sidecar was killed so far.
    pub(super) fn life(&self, sidecar: usize) -> u64 {
        self.lives[sidecar].load(Ordering::SeqCst)
    }
}
