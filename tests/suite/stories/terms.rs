//! Changes of terms: plan, seat and override act at once, a new anchor day from the next turn, and nothing bills (rule 8).

use tollgate::proto::v1::{
    Basis::{Allotment, Overage},
    Remedy::{UpgradePlan, WaitForNextCycle},
    SuspendReason::{BlocksStopped, LimitReached},
};

use super::stage::{Stage, at, basic, free, professional, stories};

stories! {
    on any store:
    a_lower_plan_waives_what_is_used_above_it_and_charges_nothing,
    a_plan_raised_again_gives_what_it_includes_and_no_more,
    a_lower_plan_leaves_the_difference_if_it_is_not_used_up,
    a_hold_granted_before_the_plan_was_lowered_is_charged_and_waived,
    a_change_of_terms_takes_no_block_back_and_buys_none,
    an_override_acts_at_once_and_goes_when_it_is_not_said_again,
    an_upgrade_lifts_a_suspension_at_once,
    switching_overages_on_lifts_a_suspension_at_once_and_charges_nothing_by_itself,
    a_reservation_keeps_the_plan_it_was_priced_for,
    a_new_anchor_day_acts_from_the_next_turn,
    an_anchor_day_that_is_changed_back_before_the_turn_never_acted,
    a_team_tells_when_it_was_made_and_changed,
}

fn a_lower_plan_waives_what_is_used_above_it_and_charges_nothing() {
    let stage = Stage::set(professional().with_seat());
    stage.overages_on();
    stage.spends(30_000);
    stage.put(basic().with_seat());
    stage.balance().included(25_000).waived(5_000).used(30_000).overage(0).remaining(0);
    stage.has_charges(&[]);
    stage.reserve("r1").run("new").suspends(LimitReached, &[WaitForNextCycle, UpgradePlan]);

    stage.put(free());
    stage.balance().included(500).waived(29_500).used(30_000).remaining(0);
    stage.reserve("r1").run("new").suspends(BlocksStopped, &[WaitForNextCycle, UpgradePlan]);
    stage.has_charges(&[]);

    stage.advance_to("2025-07-01T00:00:00Z");
    stage.balance().included(500).waived(0).used(0).remaining(500);
}

fn a_plan_raised_again_gives_what_it_includes_and_no_more() {
    let stage = Stage::set(professional().with_seat());
    stage.spends(30_000);
    stage.put(basic().with_seat());
    stage.put(professional().with_seat());
    stage.balance().included(100_000).waived(0).used(30_000).remaining(70_000);
    stage.has_charges(&[]);
}

fn a_lower_plan_leaves_the_difference_if_it_is_not_used_up() {
    let stage = Stage::set(professional().with_seat());
    stage.spends(10_000);
    stage.put(basic().with_seat());
    stage.balance().included(25_000).waived(0).used(10_000).remaining(15_000);
}

fn a_hold_granted_before_the_plan_was_lowered_is_charged_and_waived() {
    let stage = Stage::set(basic().with_seat());
    stage.spends(600);
    stage.reserve("r1").units(40).proceeds(1_000, Allotment);
    stage.put(free());
    stage.balance().included(500).waived(100).used(600).held(1_000).remaining(0);
    stage.commit("r1").charges(1_000);
    stage.balance().used(1_600).waived(1_100).above_hold(0).held(0).remaining(0);
    stage.has_charges(&[]);
}

fn a_change_of_terms_takes_no_block_back_and_buys_none() {
    let stage = Stage::set(professional().with_seat().including(5_000));
    stage.overages_on();
    stage.spends(4_990);
    stage.reserve("r1").proceeds(25, Overage);
    stage.commit("r1").charges(25);
    stage.put(professional().with_seat().including(4_000));
    stage.balance().included(4_000).overage(1_000).waived(15).used(5_015).remaining(0);
    stage.put(free().including(4_500));
    stage.balance().included(4_500).overage(1_000).waived(0).used(5_015).remaining(485);
    stage.has_charges(&["team/2025-06-01/1"]);
}

fn an_override_acts_at_once_and_goes_when_it_is_not_said_again() {
    let stage = Stage::set(professional().with_seat().including(1_000));
    stage.overages_on();
    stage.spends(900);
    stage.put(professional().with_seat().including(700));
    stage.balance().included(700).waived(200).used(900).overage(0).remaining(0);
    stage.has_charges(&[]);
    stage.put(professional().with_seat());
    stage.balance().included(100_000).used(900).remaining(99_100);
    assert!(stage.team().overages_enabled, "PutTeam leaves the switch alone");
}

fn an_upgrade_lifts_a_suspension_at_once() {
    let stage = Stage::set(basic());
    stage.spends(500);
    stage.reserve("r1").suspends(BlocksStopped, &[WaitForNextCycle, UpgradePlan]);
    stage.put(basic().with_seat());
    stage.reserve("r1").proceeds(25, Allotment);
}

fn switching_overages_on_lifts_a_suspension_at_once_and_charges_nothing_by_itself() {
    let stage = Stage::set(professional().with_seat().including(500));
    stage.spends(500);
    stage.overages_on();
    stage.has_charges(&[]);
    stage.reserve("r1").proceeds(25, Overage);
}

fn a_reservation_keeps_the_plan_it_was_priced_for() {
    let stage = Stage::set(free().with_seat());
    stage.reserve("r1").model("dall-e-3").units(3).proceeds(30, Allotment);
    stage.put(basic().with_seat());
    stage.commit("r1").units(2).charges(20);
    stage.reserve("r2").model("dall-e-3").proceeds(5, Allotment);
}

fn a_new_anchor_day_acts_from_the_next_turn() {
    let stage = Stage::set(free());
    stage.spends(100);
    assert_eq!(stage.put(free().anchored_on(15)).billing_anchor_day, 15);
    stage.balance().of_cycle("2025-06-01", "2025-07-01").used(100);
    stage.advance_to("2025-06-20T00:00:00Z");
    stage.balance().of_cycle("2025-06-01", "2025-07-01").used(100);
    stage.advance_to("2025-07-01T00:00:00Z");
    stage.balance().of_cycle("2025-07-01", "2025-07-15").used(0).remaining(500);
    stage.advance_to("2025-07-15T00:00:00Z");
    stage.balance().of_cycle("2025-07-15", "2025-08-15").remaining(500);
    stage.balance_at("2025-06-20T00:00:00Z").of_cycle("2025-06-01", "2025-07-01").used(100);
}

fn an_anchor_day_that_is_changed_back_before_the_turn_never_acted() {
    let stage = Stage::set(free());
    stage.put(free().anchored_on(15));
    stage.put(free().anchored_on(20));
    stage.put(free());
    stage.advance_to("2025-07-20T00:00:00Z");
    stage.balance().of_cycle("2025-07-01", "2025-08-01");
}

fn a_team_tells_when_it_was_made_and_changed() {
    let stage = Stage::set(free());
    stage.advance(60);
    stage.put(basic());
    let team = stage.team();
    assert_eq!((team.plan.as_str(), team.paid_seat, team.included_credits), ("basic", false, None));
    assert_eq!(at(team.created_at), "2025-06-10T09:00:00Z");
    assert_eq!(at(team.updated_at), "2025-06-10T09:01:00Z");
}
