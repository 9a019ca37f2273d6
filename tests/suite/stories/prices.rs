//! What a call costs: the shipped rate card (rule 1), the included credits (rule 2), and the actual use (rule 7).

use tollgate::proto::v1::{Basis::Allotment, Remedy, SuspendReason, Trigger};
use tonic::Code;

use super::stage::{Stage, Verb as _, basic, free, is_from_leases, plan, professional, stories, violated_field};

stories! {
    on any store:
    each_model_has_its_price_on_each_plan,
    calls_use_leases_only_where_leases_are_enabled,
    a_plan_includes_more_with_a_paid_seat,
    units_multiply_the_price_and_default_to_one,
    unused_images_are_given_back,
    a_commit_of_0_units_charges_nothing,
    the_model_that_was_really_called_is_charged,
    a_model_that_is_not_on_the_card_has_no_price,
    a_test_costs_the_same_and_is_counted_apart,
    a_test_is_never_a_current_run,
}

fn each_model_has_its_price_on_each_plan() {
    let prices = [
        ("gpt-4o", [2, 2, 2]),
        ("gpt-4o-mini", [15, 15, 15]),
        ("gpt-4", [25, 25, 25]),
        ("gpt-3.5", [5, 5, 5]),
        ("dall-e-3", [10, 5, 5]),
    ];
    for (place, name) in ["free", "basic", "professional"].into_iter().enumerate() {
        let stage = Stage::set(plan(name));
        let mut total = 0;
        for (model, by_plan) in prices {
            let price = by_plan[place];
            stage.reserve(model).model(model).proceeds(price, Allotment);
            stage.commit(model).charges(price);
            total += price;
        }
        stage.balance().used(total).held(0).remaining(500 - total);
    }
}

/// Calls are answered from a lease where the setting enables leases, and are written through elsewhere.
fn calls_use_leases_only_where_leases_are_enabled() {
    let stage = Stage::set(professional().with_seat());
    for number in 0..20 {
        let id = format!("r{number}");
        let made = [stage.reserve(&id), stage.reserve(&format!("t{number}")).test()];
        for (place, call) in made.into_iter().enumerate() {
            let grant = call.proceeds(25, Allotment).grant;
            // A grant from a lease begins with the MessagePack marker of an array of 15.
            assert_eq!(grant[0] == 0x9f, is_from_leases(), "{number}, {place}: {grant:?}");
        }
        stage.commit(&id).charges(25);
    }
    let longer = stage.reserve("longer").held_for(121).proceeds(25, Allotment).grant;
    assert_ne!(longer[0], 0x9f, "a hold that outlasts leases is written through");
    stage.balance().used(500).held(21 * 25).remaining(100_000 - 41 * 25);
}

fn a_plan_includes_more_with_a_paid_seat() {
    for (name, with_seat) in [("free", 5_000), ("basic", 25_000), ("professional", 100_000)] {
        let stage = Stage::set(plan(name));
        stage.balance().included(500).remaining(500);
        stage.put(plan(name).with_seat());
        stage.balance().included(with_seat).remaining(with_seat);
        stage.put(plan(name).with_seat().including(7));
        stage.balance().included(7).remaining(7);
        stage.put(plan(name).with_seat());
        stage.balance().included(with_seat);
    }
}

fn units_multiply_the_price_and_default_to_one() {
    let stage = Stage::set(professional().with_seat());
    stage.reserve("r0").units(0).proceeds(25, Allotment);
    stage.reserve("r1").units(1).proceeds(25, Allotment);
    stage.reserve("r3").units(3).proceeds(75, Allotment);
    stage.reserve("images").model("dall-e-3").units(10_000).proceeds(50_000, Allotment);
    stage.balance().held(50_125);
    assert_eq!(stage.look_up("r0").unwrap().units, 1);
}

/// Two of three reserved images are charged, and the credits of the third are given back.
fn unused_images_are_given_back() {
    let stage = Stage::set(basic().with_seat());
    stage.reserve("r1").model("dall-e-3").units(3).proceeds(15, Allotment);
    stage.balance().held(15).used(0);
    stage.commit("r1").units(2).charges(10);
    stage.balance().held(0).used(10).remaining(24_990);
}

fn a_commit_of_0_units_charges_nothing() {
    let stage = Stage::set(free());
    stage.reserve("r1").proceeds(25, Allotment);
    stage.commit("r1").units(0).charges(0);
    stage.balance().held(0).used(0).remaining(500);
    stage.commit("r1").units(0).replays(0);
}

fn the_model_that_was_really_called_is_charged() {
    let stage = Stage::set(free());
    stage.reserve("dearer").model("gpt-4o").proceeds(2, Allotment);
    stage.commit("dearer").model("gpt-4").charges(25);
    stage.reserve("cheaper").model("gpt-4").proceeds(25, Allotment);
    stage.commit("cheaper").model("gpt-4o").charges(2);
    stage.reserve("more").model("gpt-3.5").proceeds(5, Allotment);
    stage.commit("more").model("gpt-4o").units(4).charges(8);
    stage.balance().used(35).above_hold(0).held(0);
    let models: Vec<_> = stage.usage_rows().into_iter().map(|row| (row.model, row.calls, row.credits)).collect();
    assert_eq!(models, [("gpt-4".to_owned(), 1, 25), ("gpt-4o".to_owned(), 2, 10)]);
}

fn a_model_that_is_not_on_the_card_has_no_price() {
    let stage = Stage::set(free());
    let refused = stage.reserve("r1").model("gpt-9").fails(Code::InvalidArgument, "UNKNOWN_MODEL");
    assert_eq!(violated_field(&refused), "model");
    stage.reserve("r1").proceeds(25, Allotment);
    let refused = stage.commit("r1").model("gpt-9").fails(Code::InvalidArgument, "UNKNOWN_MODEL");
    assert_eq!(violated_field(&refused), "model");
    stage.commit("r1").charges(25);
}

fn a_test_costs_the_same_and_is_counted_apart() {
    let stage = Stage::set(free());
    stage.reserve("r1").proceeds(25, Allotment);
    stage.commit("r1").charges(25);
    stage.reserve("t1").test().proceeds(25, Allotment);
    stage.commit("t1").charges(25);
    stage.balance().used(50);
    let mut rows: Vec<_> =
        stage.usage_rows().into_iter().map(|row| (row.trigger(), row.calls, row.units, row.credits)).collect();
    rows.sort();
    assert_eq!(rows, [(Trigger::Run, 1, 1, 25), (Trigger::Test, 1, 1, 25)]);
}

/// A test of a prompt is never part of a current run, even if it names one.
fn a_test_is_never_a_current_run() {
    let stage = Stage::set(basic().with_seat().including(50));
    let test_in = |id, run| stage.reserve(id).test().run(run);
    stage.begin_run("current").admits();
    test_in("t1", "tested").proceeds(25, Allotment);
    stage.commit("t1").charges(25);
    stage.end_run("tested").fails(Code::NotFound, "RUN_NOT_FOUND");
    stage.spends(25);
    let remedies = [Remedy::WaitForNextCycle, Remedy::UpgradePlan];
    test_in("t2", "current").suspends(SuspendReason::LimitReached, &remedies);
    stage.reserve("r3").run("tested").suspends(SuspendReason::LimitReached, &remedies);
    stage.reserve("r4").run("current").proceeds(25, tollgate::proto::v1::Basis::RunCompletion);
}
