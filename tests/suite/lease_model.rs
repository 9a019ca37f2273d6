//! The lease protocol, searched whole: in small worlds every state that sidecars, the store and the messages between them can reach
//! is looked at, the nearest first. What is asked of the store, the rules' code builds, and the real interpreter carries it out.
//!
//! A message may be lost, late, repeated or overtaken, for whatever was ever asked may reach the store at any time, any number of
//! times, with or without its answer being heard. A sidecar may end, or stand still between any two steps. In every state what is
//! used, held and leased fits the allotment (I1), no reservation is settled twice (I2), and whoever was told Proceed can commit
//! within the hold that was told, within the allotment. And each of the protocol's guards is needed: without it, the search ends at
//! something that must not be.

mod books;
mod request;
mod search;
mod shelf;
mod state;
mod steps;
mod without;

use tollgate::domain::{
    lease::{LeaseTerms, MAX_TERM_MS},
    policy::Policy,
};

use self::{
    request::{Deed, Making},
    state::Left,
    without::Without,
};

/// 2026-01-10T00:00:00Z: far from the ends of a cycle.
const START_MS: i64 = 1_768_003_200_000;

/// Time moves by so much. A lease is drawn from at two of these times, what is drawn is held until the next one, and what is left
/// comes back at the one after that.
const TICK_MS: i64 = 3_000;

/// What there is, and how often what may happen.
#[derive(Clone, Debug)]
struct World {
    sidecars: usize,
    allotment: i64,
    slice: i64,
    leases: u8,
    reservations: u8,
    ticks: i64,
    /// Then time moves to these, from the start on.
    much_later_ms: Vec<i64>,
    may: Left,
    deeds: &'static [Deed],
    /// Somebody made up a grant of each lease, for the whole allotment, that ends late.
    forged: bool,
    /// A part of the protocol that is left out.
    without: Option<Without>,
}

/// As long as time moves within a lease and its quarantine, nothing is forgotten.
const TERMS: LeaseTerms = LeaseTerms { term_ms: 4_001, hold_ms: TICK_MS };

impl World {
    fn making(&self) -> Making {
        Making {
            allotment: self.allotment,
            slice: self.slice,
            terms: TERMS,
            policy: Policy::default(),
            without: self.without,
        }
    }

    /// Two sidecars, of which one may end, take leases of the whole allotment.
    fn settling() -> Self {
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
            without: None,
        }
    }

    /// What is opened from a lease gets a record: it expires, is held longer, or its sidecar drains.
    fn recording() -> Self {
        let may = Left { draws: 2, records: 2, ..Left::default() };
        let deeds = &[Deed::Commit, Deed::CommitLate, Deed::Release, Deed::Expire, Deed::Extend, Deed::Record];
        Self { leases: 1, may, deeds, ..Self::settling() }
    }

    /// A sidecar is stopped between a look at its clock and what it does then.
    fn pausing() -> Self {
        Self {
            may: Left { draws: 2, pauses: 1, ..Left::default() },
            deeds: &[Deed::Commit],
            ticks: 4,
            ..Self::settling()
        }
    }

    /// Somebody makes grants up.
    fn forging() -> Self {
        let may = Left { draws: 1, records: 1, ..Left::default() };
        Self { sidecars: 1, forged: true, may, ..Self::recording() }
    }

    /// Three sidecars, and too little for all.
    fn sharing() -> Self {
        let may = Left { draws: 3, ..Left::default() };
        Self { sidecars: 3, slice: 4, leases: 3, ticks: 2, may, deeds: &[Deed::Commit], ..Self::settling() }
    }

    /// Leases are called back, and calls are written through beside them.
    fn calling_back() -> Self {
        let may = Left { draws: 2, recalls: 1, reserves: 1, ..Left::default() };
        Self { may, ticks: 2, deeds: &[Deed::Commit], ..Self::settling() }
    }

    /// Time moves on until the record of a commit is gone, and that of the lease is not.
    fn forgetting() -> Self {
        let kept_ms = Policy::default().commit_kept_ms();
        let much_later_ms = vec![kept_ms - MAX_TERM_MS - 1, kept_ms + 4 * TICK_MS, 2 * kept_ms];
        Self { leases: 1, much_later_ms, may: Left { draws: 2, ..Left::default() }, ..Self::settling() }
    }

    /// Whatever is promised twice is found soonest where there is one credit.
    fn one_credit() -> Self {
        Self { allotment: 1, slice: 1, may: Left { draws: 3, pauses: 1, ..Left::default() }, ..Self::pausing() }
    }

    fn without(self, without: Without) -> Self {
        Self { without: Some(without), ..self }
    }

    /// The same with more time and one more thing to do with it: some ten times as many states.
    fn longer(&self) -> Self {
        let Left { draws, crashes, .. } = self.may;
        let may = Left { draws: draws + 1, crashes: crashes.max(1), ..self.may };
        Self { sidecars: self.sidecars.max(2), ticks: self.ticks.max(3) + 1, may, ..self.clone() }
    }

    /// Holds a world to what has to be so in every state that it can reach.
    #[track_caller]
    fn holds(&self) {
        let is_long = std::env::var_os("TOLLGATE_LONG_MODEL").is_some();
        let world = if is_long { self.longer() } else { self.clone() };
        let found = world.search(|_| true);
        println!("{} states, {} of the store, at most {} steps away", found.states, found.stores, found.depth);
        if let Some((way, fault)) = found.fault {
            panic!("{fault}, after\n{way:#?}");
        }
        assert_eq!(found.unseen, 0, "nothing is left to be looked at");
        assert!(found.states > 1_000, "hardly anything happens: {} states", found.states);
    }

    /// Without a part of the protocol, this comes to pass.
    #[track_caller]
    fn fails(&self, expected: &str) {
        let found = self.search(|fault| fault.contains(expected));
        let (way, fault) = found.fault.expect("the search was for a part of the protocol that nothing needs");
        println!("{fault}: {} steps away, the last of {} states, after", way.len(), found.states);
        way.iter().for_each(|step| println!("  {step:?}"));
    }
}

#[test]
fn every_lease_is_spent_at_most_once_though_messages_are_lost_repeated_and_reordered_and_a_sidecar_ends() {
    World::settling().holds();
}

#[test]
fn what_is_opened_from_a_lease_is_settled_once_with_a_record_or_without() {
    World::recording().holds();
}

#[test]
fn a_sidecar_that_is_stopped_holds_nothing_for_too_long() {
    World::pausing().holds();
}

#[test]
fn made_up_grants_are_worth_no_more_than_is_left_of_their_lease() {
    World::forging().holds();
}

#[test]
fn three_sidecars_share_an_allotment_to_its_last_credit() {
    World::sharing().holds();
}

#[test]
fn leases_that_are_called_back_leave_no_credit_behind() {
    World::calling_back().holds();
}

#[test]
fn what_is_committed_is_charged_once_though_its_record_is_gone() {
    World::forgetting().holds();
}

#[test]
fn without_an_end_to_late_commits_a_commit_counts_twice() {
    World::forgetting().without(Without::EndOfLateCommits).fails("Committed is Committed");
}

#[test]
fn without_the_record_check_a_made_up_grant_is_worth_more_than_its_lease() {
    World::forging().without(Without::RestCheck).fails("did not fit the allotment");
}

#[test]
fn without_the_record_check_credits_come_back_twice() {
    World::settling().without(Without::ReclaimedCheck).fails("negative");
}

#[test]
fn without_the_record_check_a_commit_counts_twice() {
    World::settling().without(Without::SettledCheck).fails("I2");
}

#[test]
fn without_the_deadline_credits_are_promised_twice() {
    World::one_credit().without(Without::Deadline).fails("promised beside");
}

#[test]
fn without_the_quarantine_credits_are_promised_twice() {
    World::one_credit().without(Without::Quarantine).fails("promised beside");
}

#[test]
fn with_leases_that_are_refilled_credits_are_promised_twice() {
    World { allotment: 2, leases: 1, reservations: 3, ..World::one_credit() }
        .without(Without::Immutability)
        .fails("promised beside");
}

#[test]
fn with_lease_ids_that_come_again_credits_are_promised_twice() {
    World::one_credit().without(Without::NewIds).fails("promised beside");
}

#[test]
fn with_two_looks_at_the_clock_credits_are_promised_twice() {
    World::one_credit().without(Without::OneReading).fails("promised beside");
}

#[test]
fn with_leases_that_are_granted_anew_for_a_repeated_request_credits_are_lost() {
    World { allotment: 2, ..World::one_credit() }.without(Without::GrantedOnce).fails("what is leased");
}

#[test]
fn with_leases_of_more_than_remains_the_allotment_is_exceeded() {
    World::settling().without(Without::Allotment).fails("I1");
}

#[test]
fn with_leases_that_come_back_twice_if_they_are_given_back_twice_nothing_is_held() {
    World::settling().without(Without::ReturnedOnce).fails("nothing held");
}

#[test]
fn with_leases_that_end_twice_credits_come_back_twice() {
    World::settling().without(Without::ReclaimedOnce).fails("negative");
}
