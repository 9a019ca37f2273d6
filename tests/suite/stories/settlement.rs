//! How a reservation ends: committed, above its hold (rule 7) or late, released, expired, extended, and purged.

use tollgate::proto::v1::{
    Basis::{Allotment, Overage, RunCompletion},
    Remedy::{UpgradePlan, WaitForNextCycle},
    ReservationState::{Committed, Expired, Open, Released},
    SuspendReason::BlocksStopped,
};
use tonic::Code;

use super::{
    super::support::wait_until,
    stage::{Stage, Verb as _, at, basic, free, is_from_leases, professional, stories},
};

stories! {
    on any store:
    the_excess_over_the_hold_draws_the_allotment,
    an_uncovered_excess_is_wholly_above_hold,
    the_excess_takes_nothing_that_others_hold,
    the_excess_takes_what_abandoned_holds_give_back,
    a_release_gives_the_credits_back,
    a_reservation_is_settled_in_one_way_only,
    abandoned_credits_come_back_without_a_call,
    a_call_does_not_wait_for_the_sweeper,
    a_late_commit_draws_the_allotment_if_it_can,
    a_late_commit_whose_credits_are_gone_is_above_its_hold,
    the_excess_of_a_completing_run_is_above_hold,
    a_late_commit_buys_a_block_if_overages_are_on,
    a_hold_is_extended_from_now_and_never_shortened,
    a_hold_lasts_at_most_24_hours,
    settled_reservations_answer_for_their_retention,
    a_forged_grant_is_not_trusted,
    teams_share_neither_credits_nor_ids,
    a_reservation_shows_all_its_fields,
}

fn the_excess_over_the_hold_draws_the_allotment() {
    let stage = Stage::set(free().including(30));
    stage.reserve("r1").model("gpt-4o").proceeds(2, Allotment);
    stage.commit("r1").model("gpt-4").charges(25);
    stage.balance().used(25).above_hold(0).remaining(5);
}

/// If the allotment does not cover the excess over a hold, all of the excess counts as above hold.
fn an_uncovered_excess_is_wholly_above_hold() {
    let stage = Stage::set(free().including(30));
    stage.spends(25);
    stage.reserve("r1").model("gpt-4o").proceeds(2, Allotment);
    stage.commit("r1").model("gpt-4").charges(25);
    stage.balance().used(27).above_hold(23).remaining(3).held(0);
    stage.reserve("r2").model("gpt-4o").proceeds(2, Allotment);
}

fn the_excess_takes_nothing_that_others_hold() {
    let stage = Stage::set(free().including(30));
    stage.reserve("r1").model("gpt-4o").proceeds(2, Allotment);
    stage.reserve("r2").proceeds(25, Allotment);
    stage.commit("r1").model("gpt-4o-mini").charges(15);
    stage.balance().used(2).above_hold(13).held(25).remaining(3);
    stage.commit("r2").charges(25);
    stage.balance().used(27).above_hold(13);
}

fn the_excess_takes_what_abandoned_holds_give_back() {
    let stage = Stage::set(free().including(30));
    stage.reserve("abandoned").held_for(10).proceeds(25, Allotment);
    stage.reserve("r1").model("gpt-4o").proceeds(2, Allotment);
    stage.advance(10);
    stage.commit("r1").model("gpt-4").charges(25);
    stage.balance().used(25).above_hold(0).held(0);
}

fn a_release_gives_the_credits_back() {
    let stage = Stage::set(free().including(25));
    stage.reserve("r1").proceeds(25, Allotment);
    stage.reserve("r2").suspends(BlocksStopped, &[WaitForNextCycle, UpgradePlan]);
    stage.release("r1").gives_back();
    stage.balance().held(0).used(0).remaining(25);
    assert_eq!(stage.state_of("r1"), Released);
    stage.reserve("r2").proceeds(25, Allotment);
    stage.release("r1").replays();
    stage.balance().held(25);
}

fn a_reservation_is_settled_in_one_way_only() {
    let stage = Stage::set(free());
    stage.reserve("released").proceeds(25, Allotment);
    stage.release("released").gives_back();
    stage.commit("released").fails(Code::FailedPrecondition, "RESERVATION_RELEASED");
    stage.commit("released").without_grant().fails(Code::FailedPrecondition, "RESERVATION_RELEASED");
    stage.reserve("released").fails(Code::FailedPrecondition, "RESERVATION_RELEASED");
    stage.extend("released", 60).fails(Code::FailedPrecondition, "RESERVATION_RELEASED");

    stage.reserve("committed").proceeds(25, Allotment);
    stage.commit("committed").charges(25);
    stage.release("committed").fails(Code::FailedPrecondition, "RESERVATION_COMMITTED");
    stage.extend("committed", 60).fails(Code::FailedPrecondition, "RESERVATION_COMMITTED");

    stage.reserve("expired").proceeds(25, Allotment);
    stage.advance(120);
    stage.extend("expired", 60).fails(Code::FailedPrecondition, "RESERVATION_EXPIRED");
    stage.balance().used(25);
}

fn abandoned_credits_come_back_without_a_call() {
    let stage = Stage::set(free());
    let proceed = stage.reserve("r1").held_for(60).proceeds(25, Allotment);
    assert_eq!(at(proceed.expires_at), "2025-06-10T09:01:00Z");
    stage.advance(59);
    assert_eq!(stage.state_of("r1"), Open);
    stage.balance().held(25).remaining(475);
    stage.advance(1);
    wait_until("the hold comes back", || stage.balance().balance.held == 0);
    stage.balance().used(0).remaining(500);
    let expired = stage.look_up("r1").unwrap();
    assert_eq!((expired.state(), at(expired.settled_at)), (Expired, "2025-06-10T09:01:00Z".to_owned()));
}

fn a_call_does_not_wait_for_the_sweeper() {
    let stage = Stage::set(free().including(25));
    stage.reserve("r1").held_for(60).proceeds(25, Allotment);
    stage.reserve("r2").suspends(BlocksStopped, &[WaitForNextCycle, UpgradePlan]);
    stage.advance(60);
    stage.reserve("r2").proceeds(25, Allotment);
    stage.balance().held(25);

    stage.advance(120);
    stage.begin_run("another").admits();
}

fn a_late_commit_draws_the_allotment_if_it_can() {
    let stage = Stage::set(free().including(30));
    stage.reserve("r1").proceeds(25, Allotment);
    stage.advance(3_600);
    stage.commit("r1").charges_late(25);
    stage.balance().used(25).above_hold(0).held(0);
    assert_eq!(stage.state_of("r1"), Committed);
    let again = stage.commit("r1").answer();
    assert_eq!((again.credits, again.late, again.replayed), (25, true, true));
}

fn a_late_commit_whose_credits_are_gone_is_above_its_hold() {
    let stage = Stage::set(free().including(30));
    stage.reserve("r1").proceeds(25, Allotment);
    stage.advance(120);
    stage.spends(25);
    stage.commit("r1").charges_late(25);
    stage.balance().used(25).above_hold(25).remaining(5).held(0);
}

/// What a completing run uses above its hold counts as above hold.
fn the_excess_of_a_completing_run_is_above_hold() {
    let stage = Stage::set(basic().with_seat().including(500));
    stage.begin_run("run").admits();
    stage.spends(500);
    stage.reserve("r1").model("gpt-4o").proceeds(2, RunCompletion);
    stage.commit("r1").model("gpt-4").charges(25);
    stage.balance().used(500).run_completion(2).above_hold(23);

    // After the hold ran out, the whole commit is excess.
    stage.reserve("r2").proceeds(25, RunCompletion);
    stage.advance(120);
    stage.commit("r2").charges_late(25);
    stage.balance().used(500).run_completion(2).above_hold(48).held(0);
    stage.end_run("run").ends_with(50);
}

fn a_late_commit_buys_a_block_if_overages_are_on() {
    let stage = Stage::set(professional().with_seat().including(5_000));
    stage.overages_on();
    stage.spends(4_990);
    stage.reserve("r1").proceeds(25, Overage);
    stage.advance(120);
    stage.commit("r1").charges_late(25);
    stage.balance().used(5_015).overage(1_000).above_hold(0);
    stage.has_charges(&["team/2025-06-01/1"]);
}

fn a_hold_is_extended_from_now_and_never_shortened() {
    let stage = Stage::set(free());
    let proceed = stage.reserve("r1").proceeds(25, Allotment);
    assert_eq!(at(proceed.expires_at), "2025-06-10T09:02:00Z");
    stage.extend("r1", 60).holds_until("2025-06-10T09:02:00Z");
    stage.extend("r1", 3_600).holds_until("2025-06-10T10:00:00Z");
    stage.advance(1_800);
    assert_eq!(stage.state_of("r1"), Open);
    stage.extend("r1", 1_801).holds_until("2025-06-10T10:00:01Z");
    let mut unset = stage.extend("r1", 0);
    unset.request.hold_for = None;
    stage.advance(1_800);
    unset.holds_until("2025-06-10T10:02:00Z");
    stage.balance().held(25);
    stage.commit("r1").charges(25);
}

fn a_hold_lasts_at_most_24_hours() {
    let stage = Stage::set(free());
    stage.reserve("r1").held_for(3_600).proceeds(25, Allotment);
    for hour in 1..=23 {
        stage.advance(3_599);
        stage.extend("r1", 3_600).answer();
        assert_eq!(stage.state_of("r1"), Open, "in hour {hour}");
    }
    stage.advance_to("2025-06-11T08:59:00Z");
    stage.extend("r1", 3_600).holds_until("2025-06-11T09:00:00Z");
    stage.advance_to("2025-06-11T09:00:00Z");
    stage.extend("r1", 3_600).fails(Code::FailedPrecondition, "RESERVATION_EXPIRED");
}

fn settled_reservations_answer_for_their_retention() {
    let stage = Stage::set(free());
    for id in ["committed", "released", "expired"] {
        stage.reserve(id).proceeds(25, Allotment);
    }
    stage.commit("committed").charges(25);
    stage.release("released").gives_back();

    stage.advance(2 * 3_600 - 1);
    stage.commit("committed").replays(25);
    stage.advance(1);
    stage.commit("committed").fails(Code::NotFound, "RESERVATION_NOT_FOUND");
    stage.commit("committed").without_grant().fails(Code::NotFound, "RESERVATION_NOT_FOUND");

    stage.advance_to("2025-06-11T08:59:59.999Z");
    stage.release("released").replays();
    stage.advance_to("2025-06-11T09:00:00Z");
    stage.release("released").fails(Code::NotFound, "RESERVATION_NOT_FOUND");

    stage.advance_to("2025-06-11T09:01:59.999Z");
    assert_eq!(stage.state_of("expired"), Expired);
    stage.advance_to("2025-06-11T09:02:00Z");
    stage.commit("expired").fails(Code::NotFound, "RESERVATION_NOT_FOUND");
    wait_until("the hold comes back", || stage.balance().balance.held == 0);
    stage.balance().used(25);
}

/// The bytes with the first of these parts replaced.
fn replaced(bytes: &[u8], part: &[u8], by: &[u8]) -> Vec<u8> {
    let at = bytes.windows(part.len()).position(|window| window == part).unwrap();
    [&bytes[..at], by, &bytes[at + part.len()..]].concat()
}

fn a_forged_grant_is_not_trusted() {
    let stage = Stage::set(free());
    let other = stage.reserve("other").model("gpt-4o").proceeds(2, Allotment).grant;
    type Forge = fn(Vec<u8>) -> Vec<u8>;
    let of_records: [(&str, Forge); 4] = [
        ("garbage", |_| b"\xff|open|".to_vec()),
        ("cheaper", |grant| replaced(&grant, b"|25|", b"|1|")),
        ("released", |grant| replaced(&grant, b"open", b"released")),
        ("longer", |grant| [grant, b"|1".to_vec()].concat()),
    ];
    // In a grant from a lease, the credits follow the model. A sidecar trusts its own reservations more than any grant.
    let of_leases: [(&str, Forge); 4] = [
        ("garbage", |_| b"\x9f|open|".to_vec()),
        ("cheaper", |grant| replaced(&grant, b"gpt-4\x19", b"gpt-4\x01")),
        ("of-another-run", |grant| replaced(&grant, b"run", b"nur")),
        ("longer", |grant| [grant, b"\x01".to_vec()].concat()),
    ];
    let forgeries = if is_from_leases() { of_leases } else { of_records };
    for (id, forge) in forgeries {
        let grant = stage.reserve(id).proceeds(25, Allotment).grant.to_vec();
        let mut commit = stage.commit(id);
        commit.request.grant = forge(grant.clone()).into();
        assert_ne!(commit.request.grant, grant);
        commit.charges(25);
    }
    stage.reserve("swapped").proceeds(25, Allotment);
    let mut commit = stage.commit("swapped");
    commit.request.grant = other;
    commit.charges(25);
    stage.balance().used(125).held(2);
}

fn teams_share_neither_credits_nor_ids() {
    let stage = Stage::set(free().including(25));
    stage.put(free().of("other").including(0));
    stage.reserve("r1").proceeds(25, Allotment);
    let mut others = stage.reserve("r1");
    others.request.team_id = "other".to_owned();
    others.suspends(BlocksStopped, &[WaitForNextCycle, UpgradePlan]);
    let mut others = stage.commit("r1");
    others.request.team_id = "other".to_owned();
    others.fails(Code::NotFound, "RESERVATION_NOT_FOUND");
    stage.balance().held(25).used(0);
}

fn a_reservation_shows_all_its_fields() {
    let stage = Stage::set(free().with_seat());
    stage.reserve("r1").flow("f").run("r").block("b").model("dall-e-3").units(3).proceeds(30, Allotment);
    let open = stage.look_up("r1").unwrap();
    assert_eq!((open.team_id.as_str(), open.reservation_id.as_str()), ("team", "r1"));
    assert_eq!((open.flow_id.as_str(), open.run_id.as_str(), open.block_id.as_str()), ("f", "r", "b"));
    assert_eq!((open.model.as_str(), open.units, open.credits), ("dall-e-3", 3, 30));
    assert_eq!((open.basis(), open.state(), open.rate_card.as_str()), (Allotment, Open, "2025-01-22"));
    assert_eq!(at(open.cycle_start), "2025-06-01T00:00:00Z");
    assert_eq!(at(open.created_at), "2025-06-10T09:00:00Z");
    assert_eq!(at(open.expires_at), "2025-06-10T09:02:00Z");
    assert_eq!(open.settled_at, None);

    stage.advance(5);
    stage.commit("r1").units(1).charges(10);
    let committed = stage.look_up("r1").unwrap();
    assert_eq!((committed.state(), committed.credits), (Committed, 10));
    assert_eq!(at(committed.settled_at), "2025-06-10T09:00:05Z");
}
