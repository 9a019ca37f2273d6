//! Parts of the protocol, each of which the search can leave out.

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
    request::{Deed, cycle, lease_id, team},
};

/// A part of the protocol that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Without {
    /// A settlement asks whether as much is left of the lease.
    RestCheck,
    /// A settlement asks whether the lease's credits have come back already.
    ReclaimedCheck,
    /// A settlement asks whether the reservation has a record.
    SettledCheck,
    /// Nothing is drawn from a lease after its term.
    Deadline,
    /// What is left of a lease comes back when all that was drawn has run out, and not before.
    Quarantine,
    /// A lease that is in hand gets no more credits.
    Immutability,
    /// No two leases have one id.
    NewIds,
    /// One look at the clock decides whether a lease is drawn from, and how long what is drawn is held.
    OneReading,
    /// A request that is repeated grants no second lease.
    GrantedOnce,
    /// A lease is of no more than remains.
    Allotment,
    /// What is given back twice comes back once.
    ReturnedOnce,
    /// What has come back by itself comes back once.
    ReclaimedOnce,
    /// What was opened from a lease is settled only while the record of any commit of it is kept.
    EndOfLateCommits,
    /// A settlement asks whether the lease is of the reservation's cycle.
    LeaseCycle,
    /// Nothing is drawn from a lease after its cycle.
    CycleEnd,
    /// A lease is of the cycle that the store's time is in.
    CycleOfGrant,
    /// What a commit draws from overages leaves room for all that is held and leased.
    OverageRoom,
    /// A commit buys as many blocks as it takes.
    BlocksNeeded,
    /// An excess that draws on more than the allotment waits for the leases that may be drawn from.
    CallBack,
    /// What takes the place of an expired record finds that very record.
    ExpiredCheck,
    /// What takes the place of an expired record does so while its own hold lasts.
    HoldLasts,
    /// Whoever ends a lease has a clock that agrees with the store's.
    AgreeingClocks,
    /// The end of a lease that has come back is not put off.
    PutOffBefore,
}

impl Without {
    /// Takes this part out of a settlement.
    pub(super) fn out_of_settlement(self, step: &mut Transaction, held: &BackedReservation, deed: Deed) {
        let always = || Guard::AtMostZero(Linear::constant(0));
        let out_of_options = |step: &mut Transaction, is_left_out: &dyn Fn(&Guard) -> bool| {
            let guards = step.options.iter_mut().flat_map(|option| &mut option.guards);
            guards.filter(|guard| is_left_out(guard)).for_each(|guard| *guard = always());
        };
        match self {
            Self::OverageRoom => out_of_options(step, &|guard| reads(guard, "cap_blocks") && reads(guard, "leased")),
            Self::BlocksNeeded => {
                out_of_options(step, &|guard| reads(guard, "blocks") && !reads(guard, "leased"));
            }
            Self::CallBack => out_of_options(step, &|guard| matches!(guard, Guard::NothingAhead(_))),
            _ => {}
        }
        let Backing::Lease { replaces, .. } = &held.backing else { return };
        let (takes_place, until_ms) = (replaces.is_some(), held.reservation.expires_at_ms);
        match self {
            Self::LeaseCycle => without(step, |guard| reads(guard, "cycle")),
            Self::ExpiredCheck if takes_place => without(step, |guard| matches!(guard, Guard::PackedEquals(..))),
            Self::HoldLasts if takes_place && matches!(deed, Deed::CommitLate | Deed::Expire) => {
                without(step, |guard| *guard == Guard::AtMostZero(Linear::now_plus(1 - until_ms)));
            }
            Self::RestCheck => without(step, |guard| reads(guard, "rest")),
            Self::ReclaimedCheck => without(step, |guard| reads(guard, "reclaimed")),
            Self::SettledCheck if !takes_place => without(step, |guard| matches!(guard, Guard::Absent(_))),
            Self::EndOfLateCommits if step.require.iter().any(ends_much_later) => without(step, ends_much_later),
            _ => {}
        }
    }

    /// Takes it out of the grant of a lease.
    pub(super) fn out_of_grant(self, step: &mut Transaction) {
        match self {
            Self::GrantedOnce => without(step, |guard| matches!(guard, Guard::Absent(_))),
            Self::CycleOfGrant => without(step, reads_the_clock_only),
            Self::Allotment => step.options.iter_mut().for_each(|option| option.guards.clear()),
            _ => {}
        }
    }

    /// Takes it out of what gives a lease back.
    pub(super) fn out_of_give_back(self, step: &mut Transaction) {
        if self == Self::ReturnedOnce {
            without(step, |guard| reads(guard, "returned"));
        }
    }

    /// Takes it out of what puts off the end of a lease.
    pub(super) fn out_of_put_off(self, step: &mut Transaction) {
        if self == Self::PutOffBefore {
            without(step, |guard| reads(guard, "reclaimed"));
        }
    }

    /// Takes it out of what ends a lease.
    pub(super) fn out_of_reclaim(self, step: &mut Transaction) {
        match self {
            Self::AgreeingClocks => without(step, reads_the_clock_only),
            Self::Quarantine => without(step, |guard| reads(guard, "reclaim_at")),
            Self::ReclaimedOnce => without(step, |guard| reads(guard, "reclaimed")),
            _ => {}
        }
    }
}

/// What no code of the rules does: more credits for the same lease.
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

/// Puts what always holds in the place of what a step demands.
fn without(step: &mut Transaction, is_left_out: impl Fn(&Guard) -> bool) {
    let left_out = step.require.iter_mut().filter(|guard| is_left_out(guard));
    let always = || Guard::AtMostZero(Linear::constant(0));
    assert_ne!(left_out.map(|guard| *guard = always()).count(), 0, "nothing is left out of {step:?}");
}

/// Whether a guard wants the store's clock to be before a time that is hours away.
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
