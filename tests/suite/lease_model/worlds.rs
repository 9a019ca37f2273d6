//! The worlds that are searched.

use tollgate::domain::{lease::MAX_LEASE_TERM_MS, policy::Policy};

use super::{TICK_MS, World, request::Change, state::Budget};

impl World {
    /// Two sidecars take leases of the whole allotment, and one of them may die.
    pub(super) fn settling() -> Self {
        Self {
            sidecars: 2,
            allotment: 2,
            lease_credits: 2,
            leases: 2,
            reservations: 2,
            ticks: 3,
            later_times_ms: Vec::new(),
            budget: Budget { draws: 2, crashes: 1, ..Budget::default() },
            changes: &[Change::Commit, Change::CommitLate, Change::Release],
            has_made_up_grants: false,
            cycle_ends: false,
            cap_blocks: 0,
            replaces_expired: false,
            has_unaware_sidecars: false,
            mutation: None,
        }
    }

    /// Reservations from a lease get records: they expire, are extended, or their sidecar shuts down.
    pub(super) fn recording() -> Self {
        let budget = Budget { draws: 2, records: 2, ..Budget::default() };
        let changes =
            &[Change::Commit, Change::CommitLate, Change::Release, Change::Expire, Change::Extend, Change::Record];
        Self { leases: 1, budget, changes, ..Self::settling() }
    }

    /// A sidecar is paused between reading its clock and acting on it.
    pub(super) fn pausing() -> Self {
        Self {
            budget: Budget { draws: 2, pauses: 1, ..Budget::default() },
            changes: &[Change::Commit],
            ticks: 4,
            ..Self::settling()
        }
    }

    /// A client makes up grants.
    pub(super) fn made_up_grants() -> Self {
        let budget = Budget { draws: 1, records: 1, ..Budget::default() };
        Self { sidecars: 1, has_made_up_grants: true, budget, ..Self::recording() }
    }

    /// Three sidecars share an allotment that is too small for all.
    pub(super) fn sharing() -> Self {
        let budget = Budget { draws: 3, ..Budget::default() };
        Self {
            sidecars: 3,
            lease_credits: 4,
            leases: 3,
            ticks: 2,
            budget,
            changes: &[Change::Commit],
            ..Self::settling()
        }
    }

    /// Leases are recalled, and calls are written through at the same time.
    pub(super) fn recalling() -> Self {
        let budget = Budget { draws: 2, recalls: 1, reserves: 1, ..Budget::default() };
        Self { budget, ticks: 2, changes: &[Change::Commit], ..Self::settling() }
    }

    /// Time moves on until the record of a commit was removed and that of the lease was not.
    pub(super) fn forgetting() -> Self {
        let kept_ms = Policy::default().commit_retention_ms();
        let later_times_ms = vec![kept_ms - MAX_LEASE_TERM_MS - 1, kept_ms + 4 * TICK_MS, 2 * kept_ms];
        Self { leases: 1, later_times_ms, budget: Budget { draws: 2, ..Budget::default() }, ..Self::settling() }
    }

    /// One credit. Credits that are promised twice are found soonest here.
    pub(super) fn one_credit() -> Self {
        Self {
            allotment: 1,
            lease_credits: 1,
            budget: Budget { draws: 3, pauses: 1, ..Budget::default() },
            ..Self::pausing()
        }
    }

    /// The cycle ends while leases are held, and a sidecar may be wrong about the current cycle.
    pub(super) fn ending_cycle() -> Self {
        let changes = &[Change::Commit, Change::CommitLate];
        Self { cycle_ends: true, budget: Budget { draws: 2, ..Budget::default() }, changes, ..Self::settling() }
    }

    /// A client makes up grants for either cycle.
    pub(super) fn made_up_grants_across_cycles() -> Self {
        let changes = &[Change::Commit, Change::CommitLate];
        Self {
            cycle_ends: true,
            leases: 2,
            budget: Budget { draws: 1, ..Budget::default() },
            changes,
            ..Self::made_up_grants()
        }
    }

    /// Commits of more than was held buy blocks while credits are leased.
    pub(super) fn exceeding() -> Self {
        let budget = Budget { draws: 2, reserves: 1, ..Budget::default() };
        let changes =
            &[Change::Commit, Change::CommitLate, Change::Exceed { waits: true }, Change::Exceed { waits: false }];
        Self { cap_blocks: 2, ticks: 1, budget, changes, ..Self::settling() }
    }

    /// Two sidecars open the same reservation ID, and one replaces the other's expired record.
    pub(super) fn replacing() -> Self {
        let budget = Budget { draws: 2, records: 1, ..Budget::default() };
        let changes = &[Change::Commit, Change::CommitLate, Change::Release, Change::Expire, Change::Extend];
        Self { replaces_expired: true, reservations: 1, ticks: 2, budget, changes, ..Self::settling() }
    }
    /// The store's clock is set forward by more than the quarantine.
    pub(super) fn jumping() -> Self {
        let budget = Budget { draws: 2, jumps: 1, ..Budget::default() };
        Self { ticks: 2, budget, changes: &[Change::Commit, Change::CommitLate], ..Self::settling() }
    }

    /// The store's clock is set forward, and some sidecars do not know of it.
    pub(super) fn unaware_of_jump() -> Self {
        let budget = Budget { draws: 1, jumps: 1, ..Budget::default() };
        Self { ticks: 1, budget, has_unaware_sidecars: true, ..Self::jumping() }
    }
}
