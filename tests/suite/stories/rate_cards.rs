//! Rate cards (rule 1): dated, complete, immutable and announced ahead. A reservation keeps the card that priced it.

use tollgate::proto::v1::{Basis::Allotment, GetRateCardRequest, RateCard, ReservationState::Open};
use tonic::{Code, Status};

use super::stage::{Stage, Verb as _, at, card, check_refusal, free, moment, stories};

stories! {
    on any store:
    a_card_has_to_be_announced_in_time,
    a_card_takes_effect_on_time_for_new_reservations_only,
    a_version_is_never_given_to_another_card,
    an_alias_is_another_name_of_the_same_model,
    a_card_is_looked_up_by_the_time_it_is_in_effect,
    prices_by_plan_and_per_image_are_data,
}

/// Earliest time for a new card that is announced at the start of the story.
const IN_A_WEEK: &str = "2025-06-17T09:00:00Z";

/// Returns a card without GPT-3.5, with GPT-4 at 40 credits, and with a new model that has aliases.
fn announced(version: &str, effective_at: &str) -> RateCard {
    let mut card = card(version, effective_at, &[("gpt-4", 40), ("gpt-5", 7), ("gpt-4o", 2)]);
    card.rates[1].aliases = vec!["gpt-5-latest".to_owned(), "gpt-5:2025".to_owned()];
    card
}

fn in_effect(stage: &Stage, time: Option<&str>) -> Result<String, Status> {
    let request = GetRateCardRequest { at: time.map(moment) };
    let answer = stage.wait_for(stage.accounts.clone().get_rate_card(request))?;
    Ok(answer.into_inner().rate_card.unwrap().version)
}

fn a_card_has_to_be_announced_in_time() {
    let stage = Stage::set(free());
    for (time, accepted) in [
        ("2025-06-10T09:00:00Z", false),
        ("2025-01-01T00:00:00Z", false),
        ("2025-06-17T08:59:59.999Z", false),
        (IN_A_WEEK, true),
    ] {
        match stage.announce(announced("v2", time)) {
            Ok(card) => assert!(accepted && at(card.effective_at) == time),
            Err(refused) => {
                check_refusal(&refused, Code::FailedPrecondition, "NOTICE_TOO_SHORT");
                assert!(!accepted && refused.message().contains(IN_A_WEEK), "{refused}");
                assert!(refused.message().contains("at least 168h ahead"), "{refused}");
            }
        }
    }
    stage.balance().next_rate_card("v2");
}

/// A card takes effect at its time. Reservations keep the card that they were priced with.
fn a_card_takes_effect_on_time_for_new_reservations_only() {
    let stage = Stage::set(free());
    stage.balance().next_rate_card("");
    stage.announce(announced("v2", IN_A_WEEK)).unwrap();
    stage.advance_to("2025-06-17T08:59:59.999Z");
    stage.balance().next_rate_card("v2");
    assert_eq!(stage.reserve("old").proceeds(25, Allotment).rate_card, "2025-01-22");
    stage.reserve("dropped").model("gpt-3.5").proceeds(5, Allotment);

    stage.advance_to(IN_A_WEEK);
    stage.balance().next_rate_card("");
    assert_eq!(stage.reserve("new").proceeds(40, Allotment).rate_card, "v2");
    stage.reserve("r3").model("gpt-3.5").fails(Code::InvalidArgument, "UNKNOWN_MODEL");

    // Repeats keep the old price, also for a model that the new card lacks. Commits use the old card as well.
    stage.reserve("old").replays(25, Allotment, Open);
    stage.reserve("dropped").model("gpt-3.5").replays(5, Allotment, Open);
    stage.commit("old").units(2).charges(50);
    stage.commit("dropped").model("gpt-4o-mini").charges(15);
    stage.commit("new").model("gpt-4o-mini").fails(Code::InvalidArgument, "UNKNOWN_MODEL");
    stage.commit("new").charges(40);
    stage.balance().used(105);
}

fn a_version_is_never_given_to_another_card() {
    let stage = Stage::set(free());
    let v2 = announced("v2", IN_A_WEEK);
    let accepted = stage.announce(v2.clone()).unwrap();
    assert_eq!(accepted, v2);
    assert_eq!(stage.announce(v2.clone()).unwrap(), v2, "the same again is fine");
    let mut dearer = v2.clone();
    dearer.rates[0].credits += 1;
    for other in [dearer, announced("v2", "2025-06-18T00:00:00Z"), announced("2025-01-22", IN_A_WEEK)] {
        check_refusal(&stage.announce(other).unwrap_err(), Code::AlreadyExists, "ID_REUSED");
    }
    stage.advance_to("2025-06-20T00:00:00Z");
    assert_eq!(stage.announce(v2.clone()).unwrap(), v2, "also when it is too late for a new one");
}

fn an_alias_is_another_name_of_the_same_model() {
    let stage = Stage::set(free());
    stage.announce(announced("v2", IN_A_WEEK)).unwrap();
    stage.advance_to(IN_A_WEEK);
    stage.reserve("r1").model("gpt-5-latest").proceeds(7, Allotment);
    stage.reserve("r1").model("gpt-5").replays(7, Allotment, Open);
    stage.reserve("r1").model("gpt-5:2025").replays(7, Allotment, Open);
    stage.reserve("r1").model("gpt-4o").fails(Code::AlreadyExists, "ID_REUSED");
    stage.commit("r1").model("gpt-5:2025").charges(7);
    stage.commit("r1").model("gpt-5-latest").replays(7);
    stage.reserve("r2").model("gpt-4").proceeds(40, Allotment);
    stage.commit("r2").model("gpt-5-latest").charges(7);
    assert_eq!(stage.look_up("r1").unwrap().model, "gpt-5");
    let rows: Vec<_> = stage.usage_rows().into_iter().map(|row| (row.model, row.calls, row.credits)).collect();
    assert_eq!(rows, [("gpt-5".to_owned(), 2, 14)]);
}

fn a_card_is_looked_up_by_the_time_it_is_in_effect() {
    let stage = Stage::set(free());
    stage.announce(announced("v3", "2025-07-01T00:00:00Z")).unwrap();
    stage.announce(announced("v2", IN_A_WEEK)).unwrap();
    stage.balance().next_rate_card("v2");
    for (time, version) in [
        (None, "2025-01-22"),
        (Some("2025-01-22T00:00:00Z"), "2025-01-22"),
        (Some("2025-06-17T08:59:59.999Z"), "2025-01-22"),
        (Some(IN_A_WEEK), "v2"),
        (Some("2025-06-30T23:59:59Z"), "v2"),
        (Some("2031-01-01T00:00:00Z"), "v3"),
    ] {
        assert_eq!(in_effect(&stage, time).unwrap(), version, "at {time:?}");
    }
    assert_eq!(in_effect(&stage, Some("2025-01-21T23:59:59Z")).unwrap_err().code(), Code::NotFound);
    stage.advance_to("2025-06-20T00:00:00Z");
    assert_eq!(in_effect(&stage, None).unwrap(), "v2");
    stage.balance().next_rate_card("v3");
}

fn prices_by_plan_and_per_image_are_data() {
    let stage = Stage::set(free());
    let mut v2 = announced("v2", IN_A_WEEK);
    v2.rates[0].set_unit(tollgate::proto::v1::Unit::Image);
    v2.rates[0].credits_by_plan = [("free".to_owned(), 1), ("professional".to_owned(), 0)].into();
    assert_eq!(stage.announce(v2.clone()).unwrap(), v2);
    stage.advance_to(IN_A_WEEK);
    for (plan, price) in [("free", 1), ("basic", 40), ("professional", 0)] {
        stage.put(super::stage::plan(plan).with_seat());
        stage.reserve(plan).proceeds(price, Allotment);
    }
}
