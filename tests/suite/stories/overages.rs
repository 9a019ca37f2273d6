//! Overages (rule 5): blocks of 1,000 credits, charged when a commit takes the used credits above the allotment.

use tollgate::proto::v1::{
    Basis::{Allotment, Overage, RunCompletion},
    Remedy::{EnableOverages, RaiseOverageCap, WaitForNextCycle},
    SuspendReason::{LimitReached, OverageCapReached},
};
use tonic::Code;

use super::stage::{Stage, Terms, at, basic, check_refusal, free, professional, stories};

stories! {
    on any store:
    the_commit_that_exceeds_the_allotment_buys_a_block,
    landing_on_the_allotment_exactly_buys_nothing,
    a_commit_that_crosses_two_blocks_makes_two_charges,
    overages_let_new_and_current_runs_go_on,
    only_used_credits_buy_a_block,
    use_above_the_hold_buys_a_block_too,
    switching_overages_off_keeps_bought_blocks,
    an_overage_hold_buys_its_block_after_the_switch_off,
    a_cap_bounds_the_blocks_of_a_cycle,
    a_cap_below_what_was_bought_takes_nothing_back,
    at_the_cap_use_above_the_hold_is_counted_apart,
    only_professional_with_a_paid_seat_has_overages,
    losing_the_plan_or_the_seat_switches_overages_off,
}

fn included_5000() -> Terms {
    professional().with_seat().including(5_000)
}

/// Starts a story with a team that has overages, and has used this many of its 5,000 included credits.
fn used(credits: u32) -> Stage {
    let stage = Stage::set(included_5000());
    stage.overages_on();
    stage.spends(credits);
    stage
}

fn the_commit_that_exceeds_the_allotment_buys_a_block() {
    let stage = used(4_990);
    stage.reserve("r1").proceeds(25, Overage);
    stage.has_charges(&[]);
    stage.balance().used(4_990).overage(0);
    stage.advance(7);
    stage.commit("r1").charges(25);
    stage.balance().used(5_015).overage(1_000).remaining(985).above_hold(0).held(0);
    let [charge] = stage.has_charges(&["team/2025-06-01/1"]).try_into().unwrap();
    assert_eq!((charge.block, at(charge.cycle_start)), (1, "2025-06-01T00:00:00Z".to_owned()));
    assert_eq!(at(charge.charged_at), "2025-06-10T09:00:07Z");

    stage.commit("r1").replays(25);
    stage.has_charges(&["team/2025-06-01/1"]);
    stage.reserve("r2").proceeds(25, Allotment);
    stage.commit("r2").charges(25);
    stage.has_charges(&["team/2025-06-01/1"]);
}

fn landing_on_the_allotment_exactly_buys_nothing() {
    let stage = used(4_975);
    stage.reserve("r1").proceeds(25, Allotment);
    stage.commit("r1").charges(25);
    stage.balance().used(5_000).overage(0).remaining(0);
    stage.has_charges(&[]);

    // The same holds for the next block: it is filled exactly, then exceeded by one call.
    stage.reserve("r2").units(40).proceeds(1_000, Overage);
    stage.commit("r2").charges(1_000);
    stage.balance().used(6_000).overage(1_000).remaining(0);
    stage.has_charges(&["team/2025-06-01/1"]);
    stage.reserve("r3").model("gpt-4o").proceeds(2, Overage);
    stage.commit("r3").charges(2);
    stage.has_charges(&["team/2025-06-01/1", "team/2025-06-01/2"]);
}

fn a_commit_that_crosses_two_blocks_makes_two_charges() {
    let stage = used(4_990);
    stage.reserve("r1").units(60).proceeds(1_500, Overage);
    stage.commit("r1").charges(1_500);
    stage.balance().used(6_490).overage(2_000).remaining(510);
    let charges = stage.has_charges(&["team/2025-06-01/1", "team/2025-06-01/2"]);
    assert_eq!(charges.iter().map(|charge| charge.block).collect::<Vec<_>>(), [1, 2]);
}

fn overages_let_new_and_current_runs_go_on() {
    let stage = used(5_000);
    stage.begin_run("run").admits();
    stage.reserve("r1").proceeds(25, Overage);
    stage.reserve("t1").test().proceeds(25, Overage);
    stage.has_charges(&[]);
}

/// A hold may cross the allotment; if the commit uses less, no block is bought.
fn only_used_credits_buy_a_block() {
    let stage = used(4_990);
    stage.reserve("r1").units(4).proceeds(100, Overage);
    stage.commit("r1").model("gpt-3.5").units(2).charges(10);
    stage.balance().used(5_000).overage(0);
    stage.has_charges(&[]);
    stage.reserve("r2").proceeds(25, Overage);
    stage.release("r2").gives_back();
    stage.has_charges(&[]);
}

fn use_above_the_hold_buys_a_block_too() {
    let stage = used(4_995);
    stage.reserve("r1").model("gpt-4o").proceeds(2, Allotment);
    stage.commit("r1").model("gpt-4").charges(25);
    stage.balance().used(5_020).above_hold(0).overage(1_000);
    stage.has_charges(&["team/2025-06-01/1"]);
}

/// Bought blocks stay after overages are switched off. New runs then wait, and current ones complete.
fn switching_overages_off_keeps_bought_blocks() {
    let stage = used(4_990);
    stage.reserve("r1").proceeds(25, Overage);
    stage.commit("r1").charges(25);
    stage.overages_off();
    stage.balance().used(5_015).overage(1_000).remaining(985);
    stage.reserve("r2").proceeds(25, Allotment);
    stage.commit("r2").charges(25);
    stage.spends(960);
    stage.balance().used(6_000).remaining(0);
    stage.reserve("r3").run("new").suspends(LimitReached, &[WaitForNextCycle, EnableOverages]);
    stage.reserve("r4").proceeds(25, RunCompletion);
    stage.has_charges(&["team/2025-06-01/1"]);

    stage.overages_on();
    stage.reserve("r3").run("new").proceeds(25, Overage);
    stage.commit("r3").charges(25);
    stage.has_charges(&["team/2025-06-01/1", "team/2025-06-01/2"]);
}

/// A hold that was granted as overage still buys its block after overages were switched off.
fn an_overage_hold_buys_its_block_after_the_switch_off() {
    let stage = used(4_990);
    stage.reserve("r1").proceeds(25, Overage);
    stage.overages_off();
    stage.reserve("r2").run("new").suspends(LimitReached, &[WaitForNextCycle, EnableOverages]);
    stage.commit("r1").charges(25);
    stage.balance().used(5_015).overage(1_000).waived(0).above_hold(0);
    stage.has_charges(&["team/2025-06-01/1"]);
}

fn a_cap_bounds_the_blocks_of_a_cycle() {
    let stage = Stage::set(included_5000());
    assert_eq!(stage.overages_capped_at(1).overage_cap_blocks, Some(1));
    stage.begin_run("run").admits();
    stage.spends(4_990);
    let remedies = [WaitForNextCycle, RaiseOverageCap];

    // Holds count as well: 5,990 credits are used or held, and the cap allows 6,000.
    stage.reserve("r1").units(40).proceeds(1_000, Overage);
    stage.reserve("r2").run("new").suspends(OverageCapReached, &remedies);
    stage.reserve("r3").run("new").model("gpt-3.5").units(2).proceeds(10, Overage);
    stage.commit("r1").charges(1_000);
    stage.commit("r3").charges(10);
    stage.balance().used(6_000).overage(1_000).remaining(0);
    stage.reserve("r2").run("another").suspends(OverageCapReached, &remedies);
    stage.begin_run("another").suspends(OverageCapReached, &remedies);

    // At the cap, current runs complete.
    stage.reserve("r4").proceeds(25, RunCompletion);
    stage.commit("r4").charges(25);
    stage.has_charges(&["team/2025-06-01/1"]);

    stage.overages_capped_at(2);
    stage.reserve("r2").run("another").proceeds(25, Overage);
    stage.commit("r2").charges(25);
    stage.has_charges(&["team/2025-06-01/1", "team/2025-06-01/2"]);

    // Without a cap in the request, overages have no cap.
    stage.overages_capped_at(0);
    stage.reserve("r5").run("yet-another").units(40).suspends(OverageCapReached, &remedies);
    assert_eq!(stage.overages_on().overage_cap_blocks, None);
    stage.reserve("r5").run("yet-another").units(80).proceeds(2_000, Overage);
    stage.release("r5").gives_back();

    // Each cycle has its own.
    stage.advance_to("2025-07-10T00:00:00Z");
    stage.spends(5_000);
    stage.reserve("july").run("july").proceeds(25, Overage);
    stage.commit("july").charges(25);
    stage.has_charges(&["team/2025-06-01/1", "team/2025-06-01/2", "team/2025-07-01/1"]);
}

fn a_cap_below_what_was_bought_takes_nothing_back() {
    let stage = used(4_990);
    stage.reserve("r1").units(60).proceeds(1_500, Overage);
    stage.commit("r1").charges(1_500);
    stage.overages_capped_at(1);
    stage.balance().overage(2_000).remaining(510);
    stage.reserve("r2").units(20).proceeds(500, Allotment);
    stage.reserve("r3").run("new").suspends(OverageCapReached, &[WaitForNextCycle, RaiseOverageCap]);
    stage.has_charges(&["team/2025-06-01/1", "team/2025-06-01/2"]);
}

fn at_the_cap_use_above_the_hold_is_counted_apart() {
    let stage = Stage::set(included_5000());
    stage.overages_capped_at(0);
    stage.spends(4_995);
    stage.reserve("r1").model("gpt-4o").proceeds(2, Allotment);
    stage.commit("r1").model("gpt-4").charges(25);
    stage.balance().used(4_997).above_hold(23).overage(0).remaining(3);
    stage.has_charges(&[]);
}

fn only_professional_with_a_paid_seat_has_overages() {
    for terms in [free(), free().with_seat(), basic(), basic().with_seat(), professional()] {
        let stage = Stage::set(terms);
        let refused = stage.set_overages(true, None).unwrap_err();
        check_refusal(&refused, Code::FailedPrecondition, "OVERAGES_UNAVAILABLE");
        assert!(!stage.team().overages_enabled);
    }
    let stage = Stage::set(included_5000());
    assert!(!stage.team().overages_enabled, "off by default");
    assert!(stage.overages_on().overages_enabled);
    assert!(stage.balance().balance.overages_enabled);
}

fn losing_the_plan_or_the_seat_switches_overages_off() {
    for lesser in [basic().with_seat().including(5_000), professional().including(5_000)] {
        let stage = used(4_990);
        assert!(!stage.put(lesser).overages_enabled);
        assert!(!stage.put(included_5000()).overages_enabled, "they do not come back by themselves");
        stage.reserve("r1").run("new").suspends(LimitReached, &[WaitForNextCycle, EnableOverages]);
        stage.overages_on();
        stage.reserve("r1").run("new").proceeds(25, Overage);
    }
}
