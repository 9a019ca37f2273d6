//! Repeats: the same call returns the first result, the same id with other content is refused, and a dry run writes nothing.

use tollgate::proto::v1::{
    Basis::{Allotment, RunCompletion},
    Remedy::{UpgradePlan, WaitForNextCycle},
    ReservationState::{Committed, Expired, Open},
    SuspendReason::{BlocksStopped, LimitReached},
    Trigger,
};
use tonic::Code;

use super::stage::{Stage, Verb as _, at, basic, free, stories};

stories! {
    on any store:
    a_repeated_reserve_returns_the_first_result,
    a_repeated_reserve_is_answered_past_limit_and_run_end,
    a_repeated_commit_charges_once,
    repeated_begin_and_end_return_the_first_result,
    begin_run_after_a_first_block_is_a_repeat,
    the_same_reservation_with_any_other_content_is_refused,
    the_same_commit_with_other_content_is_refused,
    a_run_belongs_to_one_flow,
    a_reservation_without_an_id_gets_one,
    a_dry_run_decides_and_writes_nothing,
}

/// A repeated reserve returns the first result, and the present state of the reservation.
fn a_repeated_reserve_returns_the_first_result() {
    let stage = Stage::set(free());
    let first = stage.reserve("r1").proceeds(25, Allotment);
    stage.advance(60);
    let again = stage.reserve("r1").held_for(3_600).replays(25, Allotment, Open);
    assert_eq!((again.expires_at, &again.rate_card), (first.expires_at, &first.rate_card));
    stage.balance().held(25);
    stage.commit("r1").charges(25);
    stage.reserve("r1").replays(25, Allotment, Committed);
    stage.balance().held(0).used(25);

    stage.reserve("r2").proceeds(25, Allotment);
    stage.advance(120);
    stage.reserve("r2").replays(25, Allotment, Expired);
}

/// A repeated reserve is answered even if no credits are left or the run has ended.
fn a_repeated_reserve_is_answered_past_limit_and_run_end() {
    let stage = Stage::set(basic().with_seat().including(25));
    stage.reserve("r1").proceeds(25, Allotment);
    stage.reserve("r2").proceeds(25, RunCompletion);
    stage.end_run("run").ends_with(0);
    stage.reserve("r1").replays(25, Allotment, Open);
    stage.reserve("r2").replays(25, RunCompletion, Open);

    let stage = Stage::set(free().including(25));
    stage.reserve("r1").proceeds(25, Allotment);
    stage.reserve("r3").suspends(BlocksStopped, &[WaitForNextCycle, UpgradePlan]);
    stage.reserve("r1").replays(25, Allotment, Open);
    stage.put(free().including(10));
    stage.reserve("r1").replays(25, Allotment, Open);
}

fn a_repeated_commit_charges_once() {
    let stage = Stage::set(free());
    stage.reserve("r1").proceeds(25, Allotment);
    stage.commit("r1").units(2).charges(50);
    stage.commit("r1").units(2).replays(50);
    stage.commit("r1").units(2).without_grant().replays(50);
    stage.balance().used(50).held(0);
    assert_eq!(stage.usage_rows().iter().map(|row| (row.calls, row.units)).collect::<Vec<_>>(), [(1, 2)]);
}

fn repeated_begin_and_end_return_the_first_result() {
    let stage = Stage::set(free().including(25));
    let first = stage.begin_run("run").admits();
    stage.advance(60);
    assert_eq!(stage.begin_run("run").replays().expires_at, first.expires_at);
    stage.reserve("r1").proceeds(25, Allotment);
    stage.commit("r1").charges(25);
    stage.begin_run("run").replays();
    stage.end_run("run").ends_with(25);
    stage.end_run("run").replays(25);
}

fn begin_run_after_a_first_block_is_a_repeat() {
    let stage = Stage::set(free());
    stage.reserve("r1").proceeds(25, Allotment);
    assert_eq!(at(stage.begin_run("run").replays().expires_at), "2025-06-11T09:00:00Z");
    stage.advance(60);
    assert_eq!(at(stage.begin_run("run").replays().expires_at), "2025-06-11T09:00:00Z");
}

fn the_same_reservation_with_any_other_content_is_refused() {
    let stage = Stage::set(free());
    stage.reserve("r1").units(2).proceeds(50, Allotment);
    let again = || stage.reserve("r1").units(2);
    let others = [
        again().flow("another"),
        again().run("another"),
        again().block("another"),
        again().model("gpt-4o"),
        again().units(3),
        again().test(),
        again().test().run("run").block("block"),
    ];
    for other in others {
        let asked = format!("{:?}", other.request);
        let status = other.fails(Code::AlreadyExists, "ID_REUSED");
        assert!(status.message().contains("reservation_id"), "{asked}: {status}");
    }
    again().replays(50, Allotment, Open);

    stage.reserve("one").units(1).proceeds(25, Allotment);
    let mut spelled_out = stage.reserve("one").units(0);
    spelled_out.request.set_trigger(Trigger::Run);
    spelled_out.replays(25, Allotment, Open);
}

fn the_same_commit_with_other_content_is_refused() {
    let stage = Stage::set(free());
    stage.reserve("r1").units(3).proceeds(75, Allotment);
    stage.commit("r1").units(2).charges(50);
    stage.commit("r1").units(1).fails(Code::AlreadyExists, "ID_REUSED");
    stage.commit("r1").units(2).model("gpt-4o").fails(Code::AlreadyExists, "ID_REUSED");
    stage.commit("r1").fails(Code::AlreadyExists, "ID_REUSED");
    stage.commit("r1").units(2).replays(50);
    stage.balance().used(50);
}

fn a_run_belongs_to_one_flow() {
    let stage = Stage::set(free());
    stage.begin_run("run").admits();
    stage.begin_run("run").flow("another").fails(Code::AlreadyExists, "ID_REUSED");
    stage.reserve("r1").flow("another").fails(Code::AlreadyExists, "ID_REUSED");
    stage.reserve("r1").proceeds(25, Allotment);
}

fn a_reservation_without_an_id_gets_one() {
    let stage = Stage::set(free());
    let first = stage.reserve("").proceeds(25, Allotment).reservation_id;
    let second = stage.reserve("").proceeds(25, Allotment).reservation_id;
    assert!(!first.is_empty() && first != second, "{first} {second}");
    stage.commit(&first).charges(25);
    stage.balance().used(25).held(25);
}

fn a_dry_run_decides_and_writes_nothing() {
    let stage = Stage::set(basic().with_seat().including(30));
    stage.reserve("r1").dry_run().proceeds(25, Allotment);
    assert_eq!(stage.reserve("").dry_run().proceeds(25, Allotment).reservation_id, "");
    stage.balance().held(0).used(0).remaining(30);
    assert_eq!(stage.look_up("r1").unwrap_err().code(), Code::NotFound);
    stage.commit("r1").without_grant().fails(Code::NotFound, "RESERVATION_NOT_FOUND");
    stage.end_run("run").fails(Code::NotFound, "RUN_NOT_FOUND");

    // The id is still free, also for other content, and the run has not begun.
    stage.reserve("r1").model("gpt-4o").run("other").proceeds(2, Allotment);
    stage.spends(25);
    stage.reserve("r2").dry_run().suspends(LimitReached, &[WaitForNextCycle, UpgradePlan]);
    stage.reserve("r3").run("other").dry_run().proceeds(25, RunCompletion);
    stage.reserve("r4").run("other").units(40).proceeds(1_000, RunCompletion);
}
