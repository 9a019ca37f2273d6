//! Changes of terms (rule 8): plan, seat and override act at once, a new anchor day acts from the next turn, and no change
//! charges anything.

use tollgate::proto::v1::{
    Basis::{Allotment, Overage},
    Remedy::{UpgradePlan, WaitForNextCycle},
    SuspendReason::{BlocksStopped, LimitReached},
};

use super::stage::{Stage, at, basic, free, professional, stories};

stories! {
    on any store:
    a_lower_plan_waives_use_above_it_and_charges_nothing,
    a_plan_raised_again_includes_its_credits_once,
    a_lower_plan_leaves_its_unused_credits,
    a_hold_from_before_a_downgrade_is_charged_and_waived,
    a_change_of_terms_takes_no_block_back_and_buys_none,
    an_override_lasts_until_a_put_omits_it,
    an_upgrade_lifts_a_suspension_at_once,
    switching_overages_on_lifts_a_suspension_at_once,
    a_reservation_keeps_the_plan_it_was_priced_for,
    a_new_anchor_day_acts_from_the_next_turn,
    an_anchor_day_changed_back_before_the_turn_has_no_effect,
    a_team_shows_when_it_was_created_and_changed,
}

fn a_lower_plan_waives_use_above_it_and_charges_nothing() {
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

fn a_plan_raised_again_includes_its_credits_once() {
    let stage = Stage::set(professional().with_seat());
    stage.spends(30_000);
    stage.put(basic().with_seat());
    stage.put(professional().with_seat());
    stage.balance().included(100_000).waived(0).used(30_000).remaining(70_000);
    stage.has_charges(&[]);
}

/// If less was used than the lower plan includes, the difference remains.
fn a_lower_plan_leaves_its_unused_credits() {
    let stage = Stage::set(professional().with_seat());
    stage.spends(10_000);
    stage.put(basic().with_seat());
    stage.balance().included(25_000).waived(0).used(10_000).remaining(15_000);
}

/// A hold from before the plan was lowered is charged in full, and what exceeds the new plan is waived.
fn a_hold_from_before_a_downgrade_is_charged_and_waived() {
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

/// An override of the included credits acts at once, and ends with the first PutTeam that does not set it.
fn an_override_lasts_until_a_put_omits_it() {
    let stage = Stage::set(professional().with_seat().including(1_000));
    stage.overages_on();
    stage.spends(900);
    stage.put(professional().with_seat().including(700));
    stage.balance().included(700).waived(200).used(900).overage(0).remaining(0);
    stage.has_charges(&[]);
    stage.put(professional().with_seat());
    stage.balance().included(100_000).used(900).remaining(99_100);
    assert!(stage.team().overages_enabled, "PutTeam does not change the switch");
}

fn an_upgrade_lifts_a_suspension_at_once() {
    let stage = Stage::set(basic());
    stage.spends(500);
    stage.reserve("r1").suspends(BlocksStopped, &[WaitForNextCycle, UpgradePlan]);
    stage.put(basic().with_seat());
    stage.reserve("r1").proceeds(25, Allotment);
}

/// Switching overages on lifts a suspension at once. The switch itself charges nothing.
fn switching_overages_on_lifts_a_suspension_at_once() {
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

fn an_anchor_day_changed_back_before_the_turn_has_no_effect() {
    let stage = Stage::set(free());
    stage.put(free().anchored_on(15));
    stage.put(free().anchored_on(20));
    stage.put(free());
    stage.advance_to("2025-07-20T00:00:00Z");
    stage.balance().of_cycle("2025-07-01", "2025-08-01");
}

fn a_team_shows_when_it_was_created_and_changed() {
    let stage = Stage::set(free());
    stage.advance(60);
    stage.put(basic());
    let team = stage.team();
    assert_eq!((team.plan.as_str(), team.paid_seat, team.included_credits), ("basic", false, None));
    assert_eq!(at(team.created_at), "2025-06-10T09:00:00Z");
    assert_eq!(at(team.updated_at), "2025-06-10T09:01:00Z");
}
