//! The worlds that are searched.

use tollgate::domain::{lease::MAX_LEASE_TERM_MS, policy::Policy};

use super::{TICK_MS, World, request::Deed, state::Left};

impl World {
    /// Two sidecars, of which one may end, take leases of the whole allotment.
    pub(super) fn settling() -> Self {
        Self {
            sidecars: 2,
            allotment: 2,
            slice: 2,
            leases: 2,
            reservations: 2,
            ticks: 3,
            much_later_ms: Vec::new(),
            may: Left { draws: 2, crashes: 1, ..Left::default() },
            deeds: &[Deed::Commit, Deed::CommitLate, Deed::Release],
            forged: false,
            turns: false,
            cap_blocks: 0,
            takes_places: false,
            has_newcomers: false,
            without: None,
        }
    }

    /// What is opened from a lease gets a record: it expires, is held longer, or its sidecar drains.
    pub(super) fn recording() -> Self {
        let may = Left { draws: 2, records: 2, ..Left::default() };
        let deeds = &[Deed::Commit, Deed::CommitLate, Deed::Release, Deed::Expire, Deed::Extend, Deed::Record];
        Self { leases: 1, may, deeds, ..Self::settling() }
    }

    /// A sidecar is stopped between a look at its clock and what it does then.
    pub(super) fn pausing() -> Self {
        Self {
            may: Left { draws: 2, pauses: 1, ..Left::default() },
            deeds: &[Deed::Commit],
            ticks: 4,
            ..Self::settling()
        }
    }

    /// Somebody makes grants up.
    pub(super) fn forging() -> Self {
        let may = Left { draws: 1, records: 1, ..Left::default() };
        Self { sidecars: 1, forged: true, may, ..Self::recording() }
    }

    /// Three sidecars, and too little for all.
    pub(super) fn sharing() -> Self {
        let may = Left { draws: 3, ..Left::default() };
        Self { sidecars: 3, slice: 4, leases: 3, ticks: 2, may, deeds: &[Deed::Commit], ..Self::settling() }
    }

    /// Leases are called back, and calls are written through beside them.
    pub(super) fn calling_back() -> Self {
        let may = Left { draws: 2, recalls: 1, reserves: 1, ..Left::default() };
        Self { may, ticks: 2, deeds: &[Deed::Commit], ..Self::settling() }
    }

    /// Time moves on until the record of a commit is gone, and that of the lease is not.
    pub(super) fn forgetting() -> Self {
        let kept_ms = Policy::default().commit_retention_ms();
        let much_later_ms = vec![kept_ms - MAX_LEASE_TERM_MS - 1, kept_ms + 4 * TICK_MS, 2 * kept_ms];
        Self { leases: 1, much_later_ms, may: Left { draws: 2, ..Left::default() }, ..Self::settling() }
    }

    /// Whatever is promised twice is found soonest where there is one credit.
    pub(super) fn one_credit() -> Self {
        Self { allotment: 1, slice: 1, may: Left { draws: 3, pauses: 1, ..Left::default() }, ..Self::pausing() }
    }

    /// The cycle ends while leases of it are in hand, and a sidecar may be wrong about which one it is.
    pub(super) fn turning() -> Self {
        let deeds = &[Deed::Commit, Deed::CommitLate];
        Self { turns: true, may: Left { draws: 2, ..Left::default() }, deeds, ..Self::settling() }
    }

    /// Somebody makes grants up for either cycle.
    pub(super) fn forging_across() -> Self {
        let deeds = &[Deed::Commit, Deed::CommitLate];
        Self { turns: true, leases: 2, may: Left { draws: 1, ..Left::default() }, deeds, ..Self::forging() }
    }

    /// Commits of more than was held buy blocks while credits are leased.
    pub(super) fn exceeding() -> Self {
        let may = Left { draws: 2, reserves: 1, ..Left::default() };
        let deeds = &[Deed::Commit, Deed::CommitLate, Deed::Exceed { waits: true }, Deed::Exceed { waits: false }];
        Self { cap_blocks: 2, ticks: 1, may, deeds, ..Self::settling() }
    }

    /// Two sidecars open one reservation, and the one takes the place of the other's expired record.
    pub(super) fn taking_places() -> Self {
        let may = Left { draws: 2, records: 1, ..Left::default() };
        let deeds = &[Deed::Commit, Deed::CommitLate, Deed::Release, Deed::Expire, Deed::Extend];
        Self { takes_places: true, reservations: 1, ticks: 2, may, deeds, ..Self::settling() }
    }
    /// The store's clock is set forward, by more than the quarantine.
    pub(super) fn jumping() -> Self {
        let may = Left { draws: 2, jumps: 1, ..Left::default() };
        Self { ticks: 2, may, deeds: &[Deed::Commit, Deed::CommitLate], ..Self::settling() }
    }

    /// And some sidecars know of no jump.
    pub(super) fn joining() -> Self {
        let may = Left { draws: 1, jumps: 1, ..Left::default() };
        Self { ticks: 1, may, has_newcomers: true, ..Self::jumping() }
    }
}
