//! The lease protocol, searched whole: in small worlds every state that sidecars, the store and the messages between them can reach
//! is looked at, the nearest first. What is asked of the store, the rules' code builds, and the real interpreter carries it out.
//!
//! A message may be lost, late, repeated or overtaken, for whatever was ever asked may reach the store at any time, any number of
//! times, with or without its answer being heard. A sidecar may end, or stand still between any two steps. In every state what is
//! used, held and leased fits the allotment (I1), no reservation is settled twice (I2), each block is bought once and as it is
//! needed (I4), and whoever was told Proceed can commit within the hold that was told, within the allotment. And each of the
//! protocol's guards is needed: without it, the search ends at something that must not be.

mod books;
mod request;
mod search;
mod shelf;
mod state;
mod steps;
mod without;
mod worlds;

use tollgate::domain::{lease::LeaseTerms, policy::Policy};

use self::{
    request::{Deed, Making, team_terms},
    state::Left,
    without::Without,
};

/// A tick before 2026-01-10T00:00:00Z, when a cycle from the tenth of a month turns, and that from the first does not.
const START_MS: i64 = 1_768_003_200_000 - TICK_MS;

/// Time moves by so much. A lease is drawn from at two of these times, what is drawn is held until the next one, and what is left
/// comes back at the one after that.
const TICK_MS: i64 = 3_000;

/// The store's clock jumps by so much.
const JUMP_MS: i64 = 3 * TICK_MS;

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
    /// The cycle ends after one tick.
    turns: bool,
    /// Overages may buy so many blocks.
    cap_blocks: u32,
    /// What is opened takes the place of what was opened by the same name and has expired. Of which, anybody may be wrong.
    takes_places: bool,
    /// Whoever ends leases was started after the store's clock jumped.
    has_newcomers: bool,
    /// A part of the protocol that is left out.
    without: Option<Without>,
}

/// As long as time moves within a lease and its quarantine, nothing is forgotten.
const TERMS: LeaseTerms = LeaseTerms { term_ms: 4_001, hold_ms: TICK_MS };

impl World {
    fn making(&self) -> Making {
        Making {
            team: team_terms(self.allotment, if self.turns { 10 } else { 1 }, self.cap_blocks),
            slice: self.slice,
            terms: TERMS,
            policy: Policy::default(),
            without: self.without,
        }
    }

    fn cycles(&self) -> u8 {
        if self.turns { 2 } else { 1 }
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

/// Every lease is spent at most once, although messages are lost, repeated and reordered, and a sidecar dies.
#[test]
fn every_lease_is_spent_at_most_once() {
    World::settling().holds();
}

/// A reservation that was opened from a lease is settled once, with a record of its own or without.
#[test]
fn a_leased_reservation_is_settled_once() {
    World::recording().holds();
}

/// A sidecar that is paused holds nothing for too long.
#[test]
fn a_paused_sidecar_holds_nothing_for_too_long() {
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

/// Leases that are recalled leave no credit behind.
#[test]
fn recalled_leases_leave_no_credit_behind() {
    World::calling_back().holds();
}

/// A commit is charged once, even after its record was removed.
#[test]
fn a_commit_is_charged_once_after_its_record_is_gone() {
    World::forgetting().holds();
}

/// Credits leased in one cycle are never spent in another.
#[test]
fn leased_credits_are_never_spent_in_another_cycle() {
    World::turning().holds();
}

/// A made-up grant is worth nothing in another cycle than that of its lease.
#[test]
fn a_made_up_grant_is_worthless_in_another_cycle() {
    World::forging_across().holds();
}

/// An excess over the hold buys each block once and leaves the credits of leases alone.
#[test]
fn an_excess_buys_each_block_once_and_respects_leases() {
    World::exceeding().holds();
}

/// Of two openings of one reservation ID, one is charged although the other has expired.
#[test]
fn of_two_openings_one_is_charged_if_the_other_expired() {
    World::taking_places().holds();
}

/// A lease in use keeps its credits, although the store's clock jumps.
#[test]
fn a_lease_in_use_survives_a_jump_of_the_stores_clock() {
    World::jumping().holds();
}

/// A sidecar that does not know of a jump of the store's clock leaves every credit in the books.
#[test]
fn a_sidecar_unaware_of_a_clock_jump_loses_no_credit() {
    World::joining().holds();
}

/// If a reclaim did not check that the clocks agree, a lease in use would be reclaimed.
#[test]
fn an_unchecked_clock_reclaims_a_lease_in_use() {
    World::jumping().without(Without::AgreeingClocks).fails("in use are gone");
}

/// If the end of a lease could be postponed after it has come, its hold would stay.
#[test]
fn a_lease_postponed_after_its_end_leaves_its_hold() {
    World::joining().without(Without::PutOffBefore).fails("I5");
}

/// Without the check of the lease's cycle, credits would come back to a cycle that they were never taken from.
#[test]
fn without_the_cycle_check_credits_return_to_another_cycle() {
    World::forging_across().without(Without::LeaseCycle).fails("negative");
}

/// Without the end of its cycle, a lease would be drawn from in the next cycle.
#[test]
fn without_the_cycle_end_a_lease_is_drawn_in_the_next() {
    World::turning().without(Without::CycleEnd).fails("rule 6");
}

/// Without the time of its grant, a lease would be drawn from before its cycle began.
#[test]
fn without_the_grant_time_a_lease_is_drawn_too_early() {
    World::turning().without(Without::CycleOfGrant).fails("rule 6");
}

/// If an excess could use overages without room under the cap, the cap would be exceeded.
#[test]
fn an_excess_without_the_cap_check_exceeds_the_cap() {
    World::exceeding().without(Without::OverageRoom).fails("I1");
}

/// If a commit bought too few blocks, used would exceed the allotment.
#[test]
fn too_few_blocks_exceed_the_allotment() {
    World::exceeding().without(Without::BlocksNeeded).fails("I1");
}

/// If an excess did not wait for leases, it would buy a block while they hold idle credits.
#[test]
fn an_excess_that_ignores_leases_buys_too_early() {
    World::exceeding().without(Without::CallBack).fails("I6");
}

#[test]
fn without_the_expired_record_check_a_commit_counts_twice() {
    World::taking_places().without(Without::ExpiredCheck).fails("I2");
}

/// If a reservation could replace an expired record after its own hold, one would expire twice.
#[test]
fn a_replacement_after_its_hold_expires_twice() {
    World::taking_places().without(Without::HoldLasts).fails("I2");
}

/// If commits could be late without limit, a commit would count twice.
#[test]
fn without_a_last_late_commit_a_commit_counts_twice() {
    World::forgetting().without(Without::EndOfLateCommits).fails("Committed is Committed");
}

/// Without the check of the lease's rest, a made-up grant would be worth more than its lease.
#[test]
fn without_the_rest_check_a_made_up_grant_is_worth_more() {
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

/// If leases could be refilled, credits would be promised twice.
#[test]
fn refilled_leases_promise_credits_twice() {
    World { allotment: 2, leases: 1, reservations: 3, ..World::one_credit() }
        .without(Without::Immutability)
        .fails("promised beside");
}

/// If lease IDs were used again, credits would be promised twice.
#[test]
fn reused_lease_ids_promise_credits_twice() {
    World::one_credit().without(Without::NewIds).fails("promised beside");
}

/// If a draw and its hold used two readings of the clock, credits would be promised twice.
#[test]
fn two_clock_readings_promise_credits_twice() {
    World::one_credit().without(Without::OneReading).fails("promised beside");
}

/// If a repeated request were granted a new lease, credits would be lost.
#[test]
fn a_lease_granted_again_for_a_repeat_loses_credits() {
    World { allotment: 2, ..World::one_credit() }.without(Without::GrantedOnce).fails("what is leased");
}

/// If a lease could be larger than what remains, the allotment would be exceeded.
#[test]
fn leases_beyond_the_remainder_exceed_the_allotment() {
    World::settling().without(Without::Allotment).fails("I1");
}

/// If a repeated return of a lease gave its credits back twice, credits would be promised twice.
#[test]
fn a_lease_returned_twice_breaks_the_books() {
    World::settling().without(Without::ReturnedOnce).fails("nothing held");
}

/// If leases could be reclaimed twice, credits would come back twice.
#[test]
fn leases_reclaimed_twice_return_credits_twice() {
    World::settling().without(Without::ReclaimedOnce).fails("negative");
}
