//! An exhaustive search of the lease protocol. In small worlds it visits every state that sidecars, the store and the
//! messages between them can reach, in order of distance. The requests are built by the code in `domain`, and the real
//! interpreter executes them.
//!
//! A message may be lost, delayed, repeated or overtaken: every request that was ever sent may reach the store at any
//! time, any number of times, with or without its reply arriving. A sidecar may die, or pause between any two steps.
//!
//! In every state these must hold: what is used, held and leased fits into the allotment (I1); no reservation is
//! settled twice (I2); each block is bought once and only when it is needed (I4); and a client that got Proceed
//! can commit within its hold and within the allotment.
//!
//! Each guard of the protocol is needed: the tests with a mutation remove one, and the search then finds a state that
//! must not exist.

mod books;
mod mutation;
mod request;
mod search;
mod state;
mod steps;
mod store_states;
mod worlds;

use tollgate::domain::{lease::LeaseTerms, policy::Policy};

use self::{
    mutation::Mutation,
    request::{Change, Setup, team_terms},
    state::Budget,
};

/// One tick before 2026-01-10T00:00:00Z. At that time a billing cycle with anchor day 10 ends, and one with anchor day
/// 1 does not.
const START_MS: i64 = 1_768_003_200_000 - TICK_MS;

/// The step of time. A lease can be drawn from at two ticks. A hold lasts until the next tick, and the lease is
/// reclaimed at the tick after that.
const TICK_MS: i64 = 3_000;

/// How far the store's clock jumps, in milliseconds.
const JUMP_MS: i64 = 3 * TICK_MS;

/// A world: its size, and how often each thing may happen.
#[derive(Clone, Debug)]
struct World {
    sidecars: usize,
    allotment: i64,
    lease_credits: i64,
    leases: u8,
    reservations: u8,
    ticks: i64,
    /// Times after the last tick, in milliseconds from the start.
    later_times_ms: Vec<i64>,
    budget: Budget,
    changes: &'static [Change],
    /// A client has made up a grant of each lease, for the whole allotment and with a late end.
    has_made_up_grants: bool,
    /// The billing cycle ends after one tick.
    cycle_ends: bool,
    /// Maximum number of overage blocks.
    cap_blocks: u32,
    /// A reservation replaces the expired record of another one with its ID. Any sidecar may be wrong about that
    /// record.
    replaces_expired: bool,
    /// The sidecars that reclaim leases were started after the store's clock jumped, so they do not know of the jump.
    has_unaware_sidecars: bool,
    /// The part of the protocol that is removed.
    mutation: Option<Mutation>,
}

/// Nothing is forgotten while time moves within a lease and its quarantine.
const TERMS: LeaseTerms = LeaseTerms { term_ms: 4_001, hold_ms: TICK_MS };

impl World {
    fn setup(&self) -> Setup {
        Setup {
            team: team_terms(self.allotment, if self.cycle_ends { 10 } else { 1 }, self.cap_blocks),
            lease_credits: self.lease_credits,
            terms: TERMS,
            policy: Policy::default(),
            mutation: self.mutation,
        }
    }

    fn cycles(&self) -> u8 {
        if self.cycle_ends { 2 } else { 1 }
    }

    fn with(self, mutation: Mutation) -> Self {
        Self { mutation: Some(mutation), ..self }
    }

    /// Returns this world with more time and one more draw. It has about ten times as many states.
    fn longer(&self) -> Self {
        let Budget { draws, crashes, .. } = self.budget;
        let budget = Budget { draws: draws + 1, crashes: crashes.max(1), ..self.budget };
        Self { sidecars: self.sidecars.max(2), ticks: self.ticks.max(3) + 1, budget, ..self.clone() }
    }

    /// Checks that no state of this world is wrong.
    #[track_caller]
    fn holds(&self) {
        let is_long = std::env::var_os("TOLLGATE_LONG_MODEL").is_some();
        let world = if is_long { self.longer() } else { self.clone() };
        let found = world.search(|_| true);
        println!("{} states, {} states of the store, depth {}", found.states, found.stores, found.depth);
        if let Some((path, fault)) = found.fault {
            panic!("{fault}, after\n{path:#?}");
        }
        assert_eq!(found.unvisited, 0, "every state was visited");
        assert!(found.states > 1_000, "too few states: {}", found.states);
    }

    /// Checks that the search finds this fault in a world with a mutation.
    #[track_caller]
    fn fails(&self, expected: &str) {
        let found = self.search(|fault| fault.contains(expected));
        let (path, fault) = found.fault.expect("the search found no fault without this part of the protocol");
        println!("{fault}: after {} steps, the last of {} states:", path.len(), found.states);
        path.iter().for_each(|step| println!("  {step:?}"));
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
    World::made_up_grants().holds();
}

#[test]
fn three_sidecars_share_an_allotment_to_its_last_credit() {
    World::sharing().holds();
}

/// Leases that are recalled leave no credit behind.
#[test]
fn recalled_leases_leave_no_credit_behind() {
    World::recalling().holds();
}

/// A commit is charged once, even after its record was removed.
#[test]
fn a_commit_is_charged_once_after_its_record_is_gone() {
    World::forgetting().holds();
}

/// Credits leased in one cycle are never spent in another.
#[test]
fn leased_credits_are_never_spent_in_another_cycle() {
    World::ending_cycle().holds();
}

/// A made-up grant is worth nothing in another cycle than that of its lease.
#[test]
fn a_made_up_grant_is_worthless_in_another_cycle() {
    World::made_up_grants_across_cycles().holds();
}

/// An excess over the hold buys each block once and leaves the credits of leases alone.
#[test]
fn an_excess_buys_each_block_once_and_respects_leases() {
    World::exceeding().holds();
}

/// Of two openings of one reservation ID, one is charged although the other has expired.
#[test]
fn of_two_openings_one_is_charged_if_the_other_expired() {
    World::replacing().holds();
}

/// A lease in use keeps its credits, although the store's clock jumps.
#[test]
fn a_lease_in_use_survives_a_jump_of_the_stores_clock() {
    World::jumping().holds();
}

/// A sidecar that does not know of a jump of the store's clock leaves every credit in the books.
#[test]
fn a_sidecar_unaware_of_a_clock_jump_loses_no_credit() {
    World::unaware_of_jump().holds();
}

/// If a reclaim did not check that the clocks agree, a lease in use would be reclaimed.
#[test]
fn an_unchecked_clock_reclaims_a_lease_in_use() {
    World::jumping().with(Mutation::AgreeingClocks).fails("in use are gone");
}

/// If the end of a lease could be postponed after it has come, its hold would stay.
#[test]
fn a_lease_postponed_after_its_end_leaves_its_hold() {
    World::unaware_of_jump().with(Mutation::PostponeOnlyBeforeEnd).fails("I5");
}

/// Without the check of the lease's cycle, credits would come back to a cycle that they were never taken from.
#[test]
fn without_the_cycle_check_credits_return_to_another_cycle() {
    World::made_up_grants_across_cycles().with(Mutation::LeaseCycle).fails("negative");
}

/// Without the end of its cycle, a lease would be drawn from in the next cycle.
#[test]
fn without_the_cycle_end_a_lease_is_drawn_in_the_next() {
    World::ending_cycle().with(Mutation::CycleEnd).fails("rule 6");
}

/// Without the time of its grant, a lease would be drawn from before its cycle began.
#[test]
fn without_the_grant_time_a_lease_is_drawn_too_early() {
    World::ending_cycle().with(Mutation::CycleOfGrant).fails("rule 6");
}

/// If an excess could use overages without room under the cap, the cap would be exceeded.
#[test]
fn an_excess_without_the_cap_check_exceeds_the_cap() {
    World::exceeding().with(Mutation::OverageRoom).fails("I1");
}

/// If a commit bought too few blocks, used would exceed the allotment.
#[test]
fn too_few_blocks_exceed_the_allotment() {
    World::exceeding().with(Mutation::BlocksNeeded).fails("I1");
}

/// If an excess did not wait for leases, it would buy a block while they hold idle credits.
#[test]
fn an_excess_that_ignores_leases_buys_too_early() {
    World::exceeding().with(Mutation::RecallFirst).fails("I6");
}

#[test]
fn without_the_expired_record_check_a_commit_counts_twice() {
    World::replacing().with(Mutation::ExpiredCheck).fails("I2");
}

/// If a reservation could replace an expired record after its own hold, one would expire twice.
#[test]
fn a_replacement_after_its_hold_expires_twice() {
    World::replacing().with(Mutation::HoldLasts).fails("I2");
}

/// If commits could be late without limit, a commit would count twice.
#[test]
fn without_a_last_late_commit_a_commit_counts_twice() {
    World::forgetting().with(Mutation::EndOfLateCommits).fails("Committed is Committed");
}

/// Without the check of the lease's rest, a made-up grant would be worth more than its lease.
#[test]
fn without_the_rest_check_a_made_up_grant_is_worth_more() {
    World::made_up_grants().with(Mutation::RestCheck).fails("did not fit the allotment");
}

#[test]
fn without_the_record_check_credits_come_back_twice() {
    World::settling().with(Mutation::ReclaimedCheck).fails("negative");
}

#[test]
fn without_the_record_check_a_commit_counts_twice() {
    World::settling().with(Mutation::SettledCheck).fails("I2");
}

#[test]
fn without_the_deadline_credits_are_promised_twice() {
    World::one_credit().with(Mutation::Deadline).fails("promised beside");
}

#[test]
fn without_the_quarantine_credits_are_promised_twice() {
    World::one_credit().with(Mutation::Quarantine).fails("promised beside");
}

/// If leases could be refilled, credits would be promised twice.
#[test]
fn refilled_leases_promise_credits_twice() {
    World { allotment: 2, leases: 1, reservations: 3, ..World::one_credit() }
        .with(Mutation::Immutability)
        .fails("promised beside");
}

/// If lease IDs were used again, credits would be promised twice.
#[test]
fn reused_lease_ids_promise_credits_twice() {
    World::one_credit().with(Mutation::NewIds).fails("promised beside");
}

/// If a draw and its hold used two readings of the clock, credits would be promised twice.
#[test]
fn two_clock_readings_promise_credits_twice() {
    World::one_credit().with(Mutation::OneReading).fails("promised beside");
}

/// If a repeated request were granted a new lease, credits would be lost.
#[test]
fn a_lease_granted_again_for_a_repeat_loses_credits() {
    World { allotment: 2, ..World::one_credit() }.with(Mutation::GrantedOnce).fails("what is leased");
}

/// If a lease could be larger than what remains, the allotment would be exceeded.
#[test]
fn leases_beyond_the_remainder_exceed_the_allotment() {
    World::settling().with(Mutation::Allotment).fails("I1");
}

/// If a repeated return of a lease gave its credits back twice, a commit in time would find nothing held for it.
#[test]
fn a_lease_returned_twice_leaves_nothing_held() {
    World::settling().with(Mutation::ReturnedOnce).fails("nothing held");
}

/// If leases could be reclaimed twice, credits would come back twice.
#[test]
fn leases_reclaimed_twice_return_credits_twice() {
    World::settling().with(Mutation::ReclaimedOnce).fails("negative");
}
