//! The parts of the protocol that a search can remove.

use tollgate::{
    domain::{
        account::allotment_covers,
        keys,
        reservation::{BackedReservation, Backing},
        terms::Terms,
    },
    transaction::{Guard, Linear, Read, Transaction, Write},
};

use super::{
    START_MS,
    request::{Change, cycle, lease_id, team},
};

/// A part of the protocol that is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutation {
    /// A settlement checks that the lease has enough credits left.
    RestCheck,
    /// A settlement checks whether the lease was reclaimed.
    ReclaimedCheck,
    /// A settlement checks that the reservation has no record.
    SettledCheck,
    /// Nothing is drawn from a lease after its term.
    Deadline,
    /// A lease is reclaimed only after everything that was drawn from it has run out.
    Quarantine,
    /// A lease gets no more credits after it was granted.
    Immutability,
    /// No two leases have the same ID.
    NewIds,
    /// One reading of the clock decides whether credits are drawn and how long they are held.
    OneReading,
    /// A repeated request grants no second lease.
    GrantedOnce,
    /// A lease has at most what remains of the allotment.
    Allotment,
    /// A lease that is returned twice gives its credits back once.
    ReturnedOnce,
    /// A lease that is reclaimed twice gives its credits back once.
    ReclaimedOnce,
    /// A reservation from a lease is settled only while the record of a commit of it would still be kept.
    EndOfLateCommits,
    /// A settlement checks that the lease belongs to the reservation's cycle.
    LeaseCycle,
    /// Nothing is drawn from a lease after its cycle.
    CycleEnd,
    /// A lease belongs to the cycle that contains the store's time.
    CycleOfGrant,
    /// What a commit takes from overages leaves room for everything that is held and leased.
    OverageRoom,
    /// A commit buys exactly as many blocks as it needs.
    BlocksNeeded,
    /// An excess that needs more than the allotment waits until leases are returned.
    RecallFirst,
    /// A reservation replaces an expired record only if it is the one that was read.
    ExpiredCheck,
    /// A reservation replaces an expired record only while its own hold lasts.
    HoldLasts,
    /// A lease is reclaimed only by a sidecar whose clock agrees with the store's.
    AgreeingClocks,
    /// The end of a lease is not postponed after it was reclaimed.
    PostponeOnlyBeforeEnd,
}

impl Mutation {
    /// Removes this part from a settlement.
    pub(super) fn remove_from_settlement(self, step: &mut Transaction, held: &BackedReservation, change: Change) {
        let always = || Guard::AtMostZero(Linear::constant(0));
        let remove_from_options = |step: &mut Transaction, is_removed: &dyn Fn(&Guard) -> bool| {
            let guards = step.options.iter_mut().flat_map(|option| &mut option.guards);
            guards.filter(|guard| is_removed(guard)).for_each(|guard| *guard = always());
        };
        match self {
            Self::OverageRoom => {
                remove_from_options(step, &|guard| reads(guard, "cap_blocks") && reads(guard, "leased"))
            }
            Self::BlocksNeeded => {
                remove_from_options(step, &|guard| reads(guard, "blocks") && !reads(guard, "leased"));
            }
            Self::RecallFirst => remove_from_options(step, &|guard| matches!(guard, Guard::NothingAhead(_))),
            _ => {}
        }
        let Backing::Lease { replaces, .. } = &held.backing else { return };
        let (replaces_record, until_ms) = (replaces.is_some(), held.reservation.expires_at_ms);
        match self {
            Self::LeaseCycle => remove_requirements(step, |guard| reads(guard, "cycle")),
            Self::ExpiredCheck if replaces_record => {
                remove_requirements(step, |guard| matches!(guard, Guard::PackedEquals(..)))
            }
            Self::HoldLasts if replaces_record && matches!(change, Change::CommitLate | Change::Expire) => {
                remove_requirements(step, |guard| *guard == Guard::AtMostZero(Linear::now_plus(1 - until_ms)));
            }
            Self::RestCheck => remove_requirements(step, |guard| reads(guard, "rest")),
            Self::ReclaimedCheck => remove_requirements(step, |guard| reads(guard, "reclaimed")),
            Self::SettledCheck if !replaces_record => {
                remove_requirements(step, |guard| matches!(guard, Guard::Absent(_)))
            }
            Self::EndOfLateCommits if step.require.iter().any(ends_much_later) => {
                remove_requirements(step, ends_much_later)
            }
            _ => {}
        }
    }

    /// Removes this part from the grant of a lease.
    pub(super) fn remove_from_grant(self, step: &mut Transaction) {
        match self {
            Self::GrantedOnce => remove_requirements(step, |guard| matches!(guard, Guard::Absent(_))),
            Self::CycleOfGrant => remove_requirements(step, reads_the_clock_only),
            Self::Allotment => step.options.iter_mut().for_each(|option| option.guards.clear()),
            _ => {}
        }
    }

    /// Removes this part from the return of a lease.
    pub(super) fn remove_from_return(self, step: &mut Transaction) {
        if self == Self::ReturnedOnce {
            remove_requirements(step, |guard| reads(guard, "returned"));
        }
    }

    /// Removes this part from the postponement of a lease's end.
    pub(super) fn remove_from_postpone(self, step: &mut Transaction) {
        if self == Self::PostponeOnlyBeforeEnd {
            remove_requirements(step, |guard| reads(guard, "reclaimed"));
        }
    }

    /// Removes this part from the reclaim of a lease.
    pub(super) fn remove_from_reclaim(self, step: &mut Transaction) {
        match self {
            Self::AgreeingClocks => remove_requirements(step, reads_the_clock_only),
            Self::Quarantine => remove_requirements(step, |guard| reads(guard, "reclaim_at")),
            Self::ReclaimedOnce => remove_requirements(step, |guard| reads(guard, "reclaimed")),
            _ => {}
        }
    }
}

/// Builds a transaction that no production code builds: it adds credits to an existing lease.
pub(super) fn refill(terms: &Terms, lease: u8, credits: i64) -> Transaction {
    let mut step = Transaction::on(keys::team(&team()));
    let account = step.record(keys::account(cycle(terms, 0).start_ms), Read::Nothing);
    let lease = step.record(keys::lease(&lease_id(lease)), Read::Nothing);
    step.require(Guard::FieldEquals(lease, "returned", "0".to_owned()));
    step.option(
        vec![allotment_covers(account, credits)],
        vec![Write::Add(account, "leased", credits), Write::Add(lease, "rest", credits)],
    );
    step
}

/// Replaces the matching requirements of a transaction with a guard that always holds.
fn remove_requirements(step: &mut Transaction, is_removed: impl Fn(&Guard) -> bool) {
    let removed = step.require.iter_mut().filter(|guard| is_removed(guard));
    let always = || Guard::AtMostZero(Linear::constant(0));
    assert_ne!(removed.map(|guard| *guard = always()).count(), 0, "nothing is removed from {step:?}");
}

/// Returns whether a guard requires that the store's time is before a time which is hours away.
fn ends_much_later(guard: &Guard) -> bool {
    match guard {
        Guard::AtMostZero(Linear { now: 1, constant, terms }) => terms.is_empty() && -constant > START_MS + 3_600_000,
        _ => false,
    }
}

fn reads_the_clock_only(guard: &Guard) -> bool {
    matches!(guard, Guard::AtMostZero(Linear { now, terms, .. }) if *now != 0 && terms.is_empty())
}

fn reads(guard: &Guard, field: &str) -> bool {
    match guard {
        Guard::FieldEquals(_, read, _) => *read == field,
        Guard::AtMostZero(Linear { terms, .. }) => terms.iter().any(|(_, _, read)| *read == field),
        _ => false,
    }
}
