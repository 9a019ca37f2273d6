//! At the limit, current runs of a team with a paid seat complete (rule 3), and all blocks of a team without one stop (rule 4).

use tollgate::{
    domain::policy::Policy,
    proto::v1::{
        Basis::{Allotment, RunCompletion},
        Remedy::{UpgradePlan, WaitForNextCycle},
        SuspendReason::{BlocksStopped, LimitReached, RunCeilingReached},
    },
};
use tonic::Code;

use super::stage::{MORNING, Stage, Verb as _, at, basic, free, stories};

stories! {
    on any store:
    a_current_run_completes_past_the_limit_and_is_counted_apart,
    a_new_run_that_does_not_fit_waits_for_the_next_cycle,
    a_run_is_current_from_its_first_proceed,
    a_run_may_pass_the_limit_by_its_ceiling_and_no_further,
    unused_run_completion_can_be_used_again,
    each_run_has_a_ceiling_of_its_own,
    the_ceiling_is_a_setting,
    begin_run_asks_for_one_credit_and_holds_none,
    an_ended_run_is_not_revived,
    a_run_past_its_age_has_ended,
    a_run_past_its_age_has_ended_even_with_credits_left,
    without_a_seat_the_current_run_stops_too,
    a_seat_that_is_lost_stops_the_current_run,
}

const REMEDIES: [tollgate::proto::v1::Remedy; 2] = [WaitForNextCycle, UpgradePlan];

/// Starts a story with a team that has a paid seat, this many remaining credits, and a current run.
fn with_seat_and_left(credits: i64) -> Stage {
    let stage = Stage::set(basic().with_seat().including(500 + credits));
    stage.begin_run("run").admits();
    stage.spends(500);
    stage.balance().used(500).remaining(credits);
    stage
}

fn a_current_run_completes_past_the_limit_and_is_counted_apart() {
    let stage = with_seat_and_left(3);
    stage.reserve("r1").proceeds(25, RunCompletion);
    stage.balance().used(500).remaining(3);
    stage.commit("r1").charges(25);
    stage.balance().used(500).run_completion(25).remaining(3).held(0);

    stage.reserve("r2").model("gpt-4o").proceeds(2, Allotment);
    stage.commit("r2").charges(2);
    stage.balance().used(502).run_completion(25).remaining(1);
    stage.end_run("run").ends_with(27);
}

fn a_new_run_that_does_not_fit_waits_for_the_next_cycle() {
    let stage = with_seat_and_left(3);
    let suspend = stage.reserve("r1").run("new").suspends(LimitReached, &REMEDIES);
    assert_eq!(at(suspend.resumes_at), "2025-07-01T00:00:00Z");
    stage.reserve("r2").run("new").model("gpt-4o").proceeds(2, Allotment);
    stage.advance_to("2025-07-01T00:00:00Z");
    stage.reserve("r1").run("new").proceeds(25, Allotment);
}

fn a_run_is_current_from_its_first_proceed() {
    let stage = Stage::set(basic().with_seat().including(30));
    stage.reserve("r1").run("begun-by-a-block").proceeds(25, Allotment);
    stage.reserve("r2").run("begun-by-a-block").proceeds(25, RunCompletion);
    stage.reserve("r3").run("suspended-at-once").suspends(LimitReached, &REMEDIES);
    stage.reserve("r3").run("suspended-at-once").suspends(LimitReached, &REMEDIES);
}

fn a_run_may_pass_the_limit_by_its_ceiling_and_no_further() {
    let stage = with_seat_and_left(0);
    stage.begin_run("late").suspends(LimitReached, &REMEDIES);
    stage.reserve("r1").units(39).proceeds(975, RunCompletion);
    stage.reserve("r2").units(2).suspends(RunCeilingReached, &REMEDIES);
    stage.reserve("r3").proceeds(25, RunCompletion);
    stage.reserve("r4").model("gpt-4o").suspends(RunCeilingReached, &REMEDIES);
    stage.commit("r1").charges(975);
    stage.commit("r3").charges(25);
    stage.reserve("r4").model("gpt-4o").suspends(RunCeilingReached, &REMEDIES);
    stage.balance().used(500).run_completion(1_000).remaining(0);
}

/// Credits that a run held past the limit and did not use count against its ceiling no longer.
fn unused_run_completion_can_be_used_again() {
    let stage = with_seat_and_left(0);
    stage.reserve("released").units(40).proceeds(1_000, RunCompletion);
    stage.release("released").gives_back();
    stage.reserve("partly").units(40).proceeds(1_000, RunCompletion);
    stage.commit("partly").units(10).charges(250);
    stage.reserve("abandoned").units(30).proceeds(750, RunCompletion);
    stage.reserve("r1").model("gpt-4o").suspends(RunCeilingReached, &REMEDIES);
    stage.advance(120);
    stage.reserve("r2").units(30).proceeds(750, RunCompletion);
    stage.balance().used(500).run_completion(250);
}

fn each_run_has_a_ceiling_of_its_own() {
    let stage = Stage::set(basic().with_seat().including(500));
    stage.begin_run("a").admits();
    stage.begin_run("b").admits();
    stage.spends(500);
    stage.reserve("a1").run("a").units(40).proceeds(1_000, RunCompletion);
    stage.reserve("a2").run("a").suspends(RunCeilingReached, &REMEDIES);
    stage.reserve("b1").run("b").units(40).proceeds(1_000, RunCompletion);
}

fn the_ceiling_is_a_setting() {
    for (ceiling, above) in [(Some(100), Some(125)), (None, None)] {
        let policy = Policy { run_completion_credits: ceiling, ..Policy::default() };
        let stage = Stage::set_with(MORNING, policy, basic().with_seat().including(1));
        stage.begin_run("run").admits();
        match above {
            Some(credits) => {
                stage.reserve("r1").units(credits / 25).suspends(RunCeilingReached, &REMEDIES);
                stage.reserve("r2").units(4).proceeds(100, RunCompletion);
            }
            None => drop(stage.reserve("r1").units(10_000).proceeds(250_000, RunCompletion)),
        }
    }
}

fn begin_run_asks_for_one_credit_and_holds_none() {
    let stage = Stage::set(basic().with_seat().including(501));
    stage.spends(500);
    let admitted = stage.begin_run("run").admits();
    assert_eq!(at(admitted.expires_at), "2025-06-11T09:00:00Z");
    stage.balance().remaining(1).held(0).used(500);
    stage.reserve("r1").proceeds(25, RunCompletion);

    let stage = Stage::set(basic().with_seat().including(500));
    stage.spends(500);
    stage.begin_run("run").suspends(LimitReached, &REMEDIES);
    stage.end_run("run").fails(Code::NotFound, "RUN_NOT_FOUND");
    stage.reserve("r1").suspends(LimitReached, &REMEDIES);
}

fn an_ended_run_is_not_revived() {
    let stage = with_seat_and_left(100);
    stage.reserve("r1").proceeds(25, Allotment);
    stage.reserve("r2").proceeds(25, Allotment);
    stage.commit("r1").charges(25);
    stage.end_run("run").ends_with(25);
    stage.reserve("r3").fails(Code::FailedPrecondition, "RUN_ENDED");
    stage.begin_run("run").fails(Code::FailedPrecondition, "RUN_ENDED");

    // A reservation of the ended run is still settled, and a repeat of EndRun returns the first result.
    stage.commit("r2").charges(25);
    stage.end_run("run").replays(25);
    stage.balance().used(550).held(0);
}

fn a_run_past_its_age_has_ended() {
    let stage = with_seat_and_left(0);
    stage.advance(24 * 3_600 - 1);
    stage.reserve("r1").proceeds(25, RunCompletion);
    stage.advance(1);
    stage.reserve("r2").fails(Code::FailedPrecondition, "RUN_ENDED");
    stage.begin_run("run").fails(Code::FailedPrecondition, "RUN_ENDED");
    stage.commit("r1").charges(25);
    stage.end_run("run").ends_with(25);
}

fn a_run_past_its_age_has_ended_even_with_credits_left() {
    let stage = with_seat_and_left(100);
    stage.advance(24 * 3_600);
    stage.reserve("r1").fails(Code::FailedPrecondition, "RUN_ENDED");
    stage.reserve("r1").run("another").proceeds(25, Allotment);
}

fn without_a_seat_the_current_run_stops_too() {
    let stage = Stage::set(free());
    stage.begin_run("run").admits();
    stage.reserve("r1").proceeds(25, Allotment);
    stage.commit("r1").charges(25);
    stage.spends(470);
    stage.balance().used(495).remaining(5);
    let suspend = stage.reserve("r2").suspends(BlocksStopped, &REMEDIES);
    assert_eq!(at(suspend.resumes_at), "2025-07-01T00:00:00Z");
    stage.reserve("r3").run("new").suspends(BlocksStopped, &REMEDIES);
    stage.reserve("r4").test().suspends(BlocksStopped, &REMEDIES);
    stage.reserve("r5").model("gpt-3.5").proceeds(5, Allotment);
    stage.begin_run("another").suspends(BlocksStopped, &REMEDIES);
    stage.balance().used(495).run_completion(0).held(5).remaining(0);
}

fn a_seat_that_is_lost_stops_the_current_run() {
    let stage = with_seat_and_left(0);
    stage.reserve("r1").proceeds(25, RunCompletion);
    stage.put(basic().including(500));
    stage.reserve("r2").suspends(BlocksStopped, &REMEDIES);
    stage.commit("r1").charges(25);
    stage.balance().used(500).run_completion(25);
}
