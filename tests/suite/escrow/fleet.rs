//! Four sidecars on one server, as their clients see them, and the teams that they are asked about.

use std::sync::atomic::{AtomicU64, Ordering};

use tollgate::proto::v1::Team;

use crate::suite::support::client::{Client, professional_team, team_without_seat};

pub(super) const SIDECARS: usize = 4;

/// A team of the story.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChaosTeam {
    pub(super) id: &'static str,
    /// Of so many calls, one each is for this team.
    pub(super) share: u32,
    pub(super) has_seat: bool,
    /// What it begins with.
    pub(super) included: i64,
    /// So much more is included whenever it has been suspended for a while, so that it keeps coming to its limit.
    pub(super) raise: i64,
    /// Overages are on, up to so many blocks.
    pub(super) cap_blocks: Option<u32>,
}

/// One that never sees its limit, one that always does and has to stop there, one whose runs may pass it, one that buys block after
/// block, and one that comes to its cap.
pub(super) const TEAMS: [ChaosTeam; 5] = [
    ChaosTeam { id: "hot", share: 5, has_seat: true, included: 1_000_000_000, raise: 0, cap_blocks: None },
    ChaosTeam { id: "near", share: 4, has_seat: false, included: 1_000, raise: 1_500, cap_blocks: None },
    ChaosTeam { id: "seat", share: 2, has_seat: true, included: 500, raise: 800, cap_blocks: None },
    ChaosTeam { id: "blocks", share: 3, has_seat: true, included: 1_000, raise: 0, cap_blocks: Some(1_000_000) },
    ChaosTeam { id: "capped", share: 1, has_seat: true, included: 500, raise: 0, cap_blocks: Some(1) },
];

impl ChaosTeam {
    /// Its terms with so many credits included.
    pub(super) fn terms(&self, included: i64) -> Team {
        if self.has_seat { professional_team(self.id, included) } else { team_without_seat(self.id, included) }
    }

    /// The credits of one image.
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

    /// What a sidecar had in memory is gone, without a word to anybody.
    pub(super) fn was_killed(&self, sidecar: usize) {
        self.lives[sidecar].fetch_add(1, Ordering::SeqCst);
    }

    /// Which of its lives a sidecar is in.
    pub(super) fn life(&self, sidecar: usize) -> u64 {
        self.lives[sidecar].load(Ordering::SeqCst)
    }
}
