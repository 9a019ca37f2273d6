//! What a Suspend contains: the reason, the remedies, and when to repeat. It is not remembered.

use tollgate::proto::v1::{
    Basis::{Allotment, RunCompletion},
    Remedy::{EnableOverages, UpgradePlan, WaitForNextCycle},
    SuspendReason::{BlocksStopped, LimitReached},
};

use super::stage::{Stage, Verb as _, basic, free, is_from_leases, plan, professional, stories};

stories! {
    on any store:
    what_lifts_a_suspension_depends_on_plan_and_seat,
    retry_after_is_when_enough_holds_run_out,
    retry_after_ignores_run_completion_holds,
    retry_after_is_30_seconds_if_nothing_is_held,
    a_suspend_is_not_remembered,
    a_cheaper_call_is_decided_on_its_own,
}

fn what_lifts_a_suspension_depends_on_plan_and_seat() {
    for name in ["free", "basic", "professional"] {
        let upgrade = [WaitForNextCycle, UpgradePlan];
        Stage::set(plan(name).including(0)).reserve("r1").suspends(BlocksStopped, &upgrade);
        let lifts = if name == "professional" { [WaitForNextCycle, EnableOverages] } else { upgrade };
        Stage::set(plan(name).with_seat().including(0)).reserve("r1").suspends(LimitReached, &lifts);
        Stage::set(plan(name).with_seat().including(0)).reserve("r1").test().suspends(LimitReached, &lifts);
        Stage::set(plan(name).with_seat().including(0)).begin_run("run").suspends(LimitReached, &lifts);
    }
}

/// Returns `retry_after` of a suspended call, in seconds.
fn retry_after(stage: &Stage, credits: u32) -> i64 {
    let ask = stage.reserve("asked").model("gpt-3.5").units(credits / 5);
    let suspend = ask.suspends(BlocksStopped, &[WaitForNextCycle, UpgradePlan]);
    let wait = suspend.retry_after.unwrap();
    assert_eq!(wait.nanos, 0);
    wait.seconds
}

/// Checks `retry_after`. Credits that a lease holds, and not a record, come back with the lease at the latest: after its term of
/// 10 seconds, the longest hold, and one second.
#[track_caller]
fn check_retry_after(stage: &Stage, credits: u32, seconds: i64) {
    let actual = retry_after(stage, credits);
    let most = if is_from_leases() { 10 + 120 + 1 } else { seconds };
    assert!((seconds..=most).contains(&actual), "{actual} seconds instead of {seconds}");
}

/// A suspended call is asked to repeat when holds that would suffice have run out.
fn retry_after_is_when_enough_holds_run_out() {
    let stage = Stage::set(free().including(100));
    stage.reserve("r1").held_for(40).proceeds(25, Allotment);
    stage.reserve("r2").held_for(20).proceeds(25, Allotment);
    stage.reserve("r3").held_for(60).proceeds(25, Allotment);
    stage.balance().remaining(25);
    check_retry_after(&stage, 50, 20);
    check_retry_after(&stage, 55, 40);
    check_retry_after(&stage, 75, 40);
    check_retry_after(&stage, 100, 60);
    assert_eq!(retry_after(&stage, 105), 30, "no hold would suffice");
    stage.advance(5);
    check_retry_after(&stage, 50, 15);
    stage.extend("r2", 50).answer();
    check_retry_after(&stage, 50, 35);
}

/// Credits that a current run holds past the limit do not come back to other runs, so `retry_after` does not count on them.
fn retry_after_ignores_run_completion_holds() {
    let stage = Stage::set(basic().with_seat().including(25));
    stage.reserve("r1").held_for(60).proceeds(25, Allotment);
    stage.reserve("r2").held_for(10).proceeds(25, RunCompletion);
    let suspend = stage.reserve("r3").run("new").suspends(LimitReached, &[WaitForNextCycle, UpgradePlan]);
    assert_eq!(suspend.retry_after.unwrap().seconds, 60);
    let suspend = stage.reserve("r4").run("new").units(2).suspends(LimitReached, &[WaitForNextCycle, UpgradePlan]);
    assert_eq!(suspend.retry_after.unwrap().seconds, 30);
}

/// A suspended call is asked to repeat after 30 seconds if no credits are held.
fn retry_after_is_30_seconds_if_nothing_is_held() {
    let stage = Stage::set(free().including(10));
    assert_eq!(retry_after(&stage, 15), 30);
}

fn a_suspend_is_not_remembered() {
    let stage = Stage::set(basic().with_seat().including(0));
    stage.reserve("r1").suspends(LimitReached, &[WaitForNextCycle, UpgradePlan]);
    assert_eq!(stage.look_up("r1").unwrap_err().code(), tonic::Code::NotFound);
    stage.put(professional().with_seat());
    stage.reserve("r1").model("gpt-4o").flow("another").proceeds(2, Allotment);
}

fn a_cheaper_call_is_decided_on_its_own() {
    let stage = Stage::set(free().including(10));
    stage.reserve("r1").suspends(BlocksStopped, &[WaitForNextCycle, UpgradePlan]);
    stage.reserve("r2").model("gpt-4o").units(5).proceeds(10, Allotment);
    stage.reserve("r3").model("gpt-4o").suspends(BlocksStopped, &[WaitForNextCycle, UpgradePlan]);
    stage.commit("r2").units(4).charges(8);
    stage.reserve("r3").model("gpt-4o").proceeds(2, Allotment);
}
