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
fn what_is_leased_in_one_cycle_is_never_spent_in_another() {
    World::turning().holds();
}

#[test]
fn made_up_grants_are_worth_nothing_in_a_cycle_that_their_lease_is_not_of() {
    World::forging_across().holds();
}

#[test]
fn what_is_used_above_its_hold_buys_each_block_once_and_leaves_what_leases_promised() {
    World::exceeding().holds();
}

#[test]
fn of_two_openings_of_one_reservation_one_is_charged_though_the_other_has_expired() {
    World::taking_places().holds();
}

#[test]
fn a_lease_in_use_keeps_its_credits_though_the_stores_clock_jumps() {
    World::jumping().holds();
}

#[test]
fn whoever_knows_of_no_jump_leaves_every_credit_in_the_books() {
    World::joining().holds();
}

#[test]
fn with_clocks_that_need_not_agree_the_credits_of_a_lease_in_use_are_gone() {
    World::jumping().without(Without::AgreeingClocks).fails("in use are gone");
}

#[test]
fn with_the_end_of_a_lease_put_off_after_it_has_come_its_hold_stays() {
    World::joining().without(Without::PutOffBefore).fails("I5");
}

#[test]
fn without_the_leases_cycle_credits_come_back_where_they_never_were() {
    World::forging_across().without(Without::LeaseCycle).fails("negative");
}

#[test]
fn without_the_end_of_its_cycle_a_lease_is_drawn_from_in_the_next() {
    World::turning().without(Without::CycleEnd).fails("rule 6");
}

#[test]
fn without_the_time_of_its_grant_a_lease_is_drawn_from_before_its_cycle() {
    World::turning().without(Without::CycleOfGrant).fails("rule 6");
}

#[test]
fn with_an_excess_that_leaves_no_room_the_cap_is_exceeded() {
    World::exceeding().without(Without::OverageRoom).fails("I1");
}

#[test]
fn with_too_few_blocks_the_allotment_is_exceeded() {
    World::exceeding().without(Without::BlocksNeeded).fails("I1");
}

#[test]
fn without_waiting_for_leases_an_excess_buys_beside_them() {
    World::exceeding().without(Without::CallBack).fails("I6");
}

#[test]
fn without_the_expired_record_check_a_commit_counts_twice() {
    World::taking_places().without(Without::ExpiredCheck).fails("I2");
}

#[test]
fn with_openings_that_take_a_place_after_their_hold_one_expires_twice() {
    World::taking_places().without(Without::HoldLasts).fails("I2");
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
