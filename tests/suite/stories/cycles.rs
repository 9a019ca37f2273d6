//! Billing cycles (rules 2 and 6): a month from the anchor day in UTC, which ends at the end of a shorter month, and what belongs
//! to which cycle.

use tollgate::proto::v1::{
    Basis::{Allotment, Overage, RunCompletion},
    Remedy::{UpgradePlan, WaitForNextCycle},
    ReservationState,
    SuspendReason::BlocksStopped,
};

use super::stage::{Stage, at, basic, free, professional, stories};

stories! {
    on any store:
    an_anchor_on_the_31st_turns_at_the_end_of_shorter_months,
    an_anchor_on_the_29th_is_in_every_leap_february,
    a_commit_after_the_turn_charges_the_cycle_of_its_reservation,
    overage_committed_after_the_turn_is_charged_to_its_cycle,
    each_cycle_includes_the_same_and_nothing_rolls_over,
    a_run_stays_current_across_the_turn,
    a_hold_abandoned_before_the_turn_comes_back_to_the_old_cycle,
}

fn an_anchor_on_the_31st_turns_at_the_end_of_shorter_months() {
    let stage = Stage::set_at("2026-01-30T22:00:00Z", free().anchored_on(31));
    let turns = [
        ("2026-01-30T23:59:59.999Z", "2025-12-31", "2026-01-31"),
        ("2026-01-31T00:00:00Z", "2026-01-31", "2026-02-28"),
        ("2026-02-27T23:59:59.999Z", "2026-01-31", "2026-02-28"),
        ("2026-02-28T00:00:00Z", "2026-02-28", "2026-03-31"),
        ("2026-03-31T00:00:00Z", "2026-03-31", "2026-04-30"),
        ("2026-04-30T12:00:00Z", "2026-04-30", "2026-05-31"),
        ("2028-02-28T23:59:59.999Z", "2028-01-31", "2028-02-29"),
        ("2028-02-29T00:00:00Z", "2028-02-29", "2028-03-31"),
        ("2100-02-28T00:00:00Z", "2100-02-28", "2100-03-31"),
    ];
    for (number, (time, start, end)) in turns.into_iter().enumerate() {
        stage.advance_to(time);
        stage.balance().of_cycle(start, end).used(if number == 2 { 500 } else { 0 });
        let id = format!("r{number}");
        if number == 2 {
            let suspend = stage.reserve(&id).run(&id).suspends(BlocksStopped, &[WaitForNextCycle, UpgradePlan]);
            assert_eq!(at(suspend.resumes_at), "2026-02-28T00:00:00Z");
        } else {
            stage.reserve(&id).run(&id).units(20).proceeds(500, Allotment);
            assert_eq!(at(stage.look_up(&id).unwrap().cycle_start), format!("{start}T00:00:00Z"));
            if number == 1 {
                stage.commit(&id).charges(500);
            } else {
                stage.release(&id).gives_back();
            }
        }
    }
}

fn an_anchor_on_the_29th_is_in_every_leap_february() {
    let stage = Stage::set_at("2027-02-28T00:00:00Z", free().anchored_on(29));
    stage.balance().of_cycle("2027-02-28", "2027-03-29");
    stage.advance_to("2028-02-28T23:00:00Z");
    stage.balance().of_cycle("2028-01-29", "2028-02-29");
    stage.advance_to("2028-02-29T00:00:00Z");
    stage.balance().of_cycle("2028-02-29", "2028-03-29");
}

fn a_commit_after_the_turn_charges_the_cycle_of_its_reservation() {
    let stage = Stage::set_at("2025-06-30T23:59:30Z", basic().with_seat());
    stage.reserve("r1").proceeds(25, Allotment);
    stage.advance_to("2025-07-01T00:00:30Z");
    stage.balance().of_cycle("2025-07-01", "2025-08-01").used(0).held(0).remaining(25_000);
    stage.balance_at("2025-06-30T12:00:00Z").held(25);
    let answer = stage.commit("r1").charges(25);
    super::stage::Books::of(answer.balance.unwrap()).of_cycle("2025-06-01", "2025-07-01").used(25).held(0);
    stage.balance_at("2025-06-15T00:00:00Z").of_cycle("2025-06-01", "2025-07-01").used(25).held(0);
    stage.balance().of_cycle("2025-07-01", "2025-08-01").used(0).held(0);

    let (_, june) = stage.usage_of(Some("2025-06-01T00:00:00Z")).unwrap();
    assert_eq!(june.iter().map(|row| (row.day.as_str(), row.credits)).collect::<Vec<_>>(), [("2025-06-30", 25)]);
    assert!(stage.usage_rows().is_empty());
}

/// An overage that is committed after the turn of the cycle buys a block of the cycle in which it was granted.
fn overage_committed_after_the_turn_is_charged_to_its_cycle() {
    let stage = Stage::set_at("2025-06-30T23:59:30Z", professional().with_seat().including(5_000));
    stage.overages_on();
    stage.spends(4_990);
    stage.reserve("r1").proceeds(25, Overage);
    stage.advance_to("2025-07-01T00:00:30Z");
    stage.commit("r1").charges(25);
    stage.has_charges(&["team/2025-06-01/1"]);
    stage.balance().overage(0).remaining(5_000);
    stage.balance_at("2025-06-02T00:00:00Z").overage(1_000).used(5_015);
}

fn each_cycle_includes_the_same_and_nothing_rolls_over() {
    let stage = Stage::set_at("2025-06-29T12:00:00Z", free());
    stage.spends(100);
    stage.advance_to("2025-07-01T00:00:00Z");
    stage.balance().included(500).used(0).remaining(500);
    stage.spends(500);
    stage.reserve("r1").suspends(BlocksStopped, &[WaitForNextCycle, UpgradePlan]);
    stage.advance_to("2025-07-31T23:59:59.999Z");
    stage.reserve("r1").suspends(BlocksStopped, &[WaitForNextCycle, UpgradePlan]);
    stage.advance_to("2025-08-01T00:00:00Z");
    stage.reserve("r1").proceeds(25, Allotment);
    stage.balance_at("2025-06-30T00:00:00Z").used(100).remaining(400);
    stage.balance_at("2025-07-02T00:00:00Z").used(500).remaining(0);
}

fn a_run_stays_current_across_the_turn() {
    let stage = Stage::set_at("2025-06-30T20:00:00Z", basic().with_seat().including(30));
    stage.begin_run("run").admits();
    stage.reserve("r1").proceeds(25, Allotment);
    stage.commit("r1").charges(25);
    stage.reserve("r2").proceeds(25, RunCompletion);
    stage.commit("r2").charges(25);
    stage.advance_to("2025-07-01T00:00:00Z");
    stage.reserve("r3").proceeds(25, Allotment);
    stage.commit("r3").charges(25);
    stage.reserve("r4").proceeds(25, RunCompletion);
    stage.commit("r4").charges(25);
    stage.balance().used(25).run_completion(25);
    stage.balance_at("2025-06-30T20:00:00Z").used(25).run_completion(25);
    stage.end_run("run").ends_with(100);
}

fn a_hold_abandoned_before_the_turn_comes_back_to_the_old_cycle() {
    let stage = Stage::set_at("2025-06-30T23:59:30Z", free());
    stage.reserve("r1").proceeds(25, Allotment);
    stage.advance_to("2025-07-01T00:01:30Z");
    assert_eq!(stage.state_of("r1"), ReservationState::Expired);
    super::super::support::wait_until("the hold comes back", || {
        stage.balance_at("2025-06-30T00:00:00Z").balance.held == 0
    });
    stage.commit("r1").charges_late(25);
    stage.balance_at("2025-06-30T00:00:00Z").used(25).held(0);
    stage.balance().used(0).remaining(500);
}
