//! The contract's table of errors: for each rpc its fields, and what is not there.

use prost_types::{Duration, Timestamp};
use tollgate::proto::v1::{
    GetRateCardRequest, GetTeamRequest, GetUsageRequest, ListChargesRequest, ListTeamsRequest, PutRateCardRequest,
    PutTeamRequest, SetOveragesRequest, Team,
};
use tonic::{Code, Status};

use super::stage::{MORNING, Stage, Verb, check_refusal, free, violated_field};

/// A text that no id is.
const NO_ID: &str = "a/b";

fn no_id() -> String {
    NO_ID.to_owned()
}

#[track_caller]
fn names(status: Status, field: &str) {
    check_refusal(&status, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(violated_field(&status), field);
}

/// A call that is made again and again, each time spoiled in one place.
struct Spoiling<F>(F);

impl<V: Verb, F: Fn() -> V> Spoiling<F> {
    /// Spoiled like this, it is refused for the field.
    #[track_caller]
    fn names(self, field: &str, spoil: impl FnOnce(&mut V)) -> Self {
        let mut call = self.0();
        spoil(&mut call);
        names(call.ask().unwrap_err(), field);
        self
    }
}

#[test]
fn an_id_has_1_to_128_letters_digits_and_a_few_signs() {
    let stage = Stage::set(free());
    let longest = "x".repeat(128);
    for id in ["a", "Z-9._:", &longest] {
        stage.begin_run(id).admits();
    }
    for id in ["", " ", "a b", "é", "a/b", "a|b", "{a}", "a\n", &"x".repeat(129)] {
        names(stage.begin_run(id).ask().unwrap_err(), "run_id");
    }
}

#[test]
fn each_malformed_field_of_a_reserve_is_named() {
    let stage = Stage::set(free());
    let seconds = |seconds| Some(Duration { seconds, nanos: 0 });
    Spoiling(|| stage.reserve("r1"))
        .names("team_id", |call| call.request.team_id = no_id())
        .names("team_id", |call| call.request.team_id.clear())
        .names("flow_id", |call| call.request.flow_id = no_id())
        .names("flow_id", |call| call.request.flow_id.clear())
        .names("run_id", |call| call.request.run_id = no_id())
        .names("run_id", |call| call.request.run_id.clear())
        .names("block_id", |call| call.request.block_id = no_id())
        .names("block_id", |call| call.request.block_id.clear())
        .names("reservation_id", |call| call.request.reservation_id = no_id())
        .names("model", |call| call.request.model = no_id())
        .names("model", |call| call.request.model.clear())
        .names("units", |call| call.request.units = 10_001)
        .names("units", |call| call.request.units = u32::MAX)
        .names("trigger", |call| call.request.trigger = 3);
    for held in [seconds(0), seconds(-1), seconds(3_601), seconds(i64::MAX), Some(Duration { seconds: 1, nanos: -1 })] {
        let mut call = stage.reserve("r1");
        call.request.hold_for = held;
        names(call.ask().unwrap_err(), "hold_for");
    }
    let mut test = stage.reserve("r1").test();
    test.request.run_id = no_id();
    names(test.ask().unwrap_err(), "run_id");
    stage.reserve("r1").held_for(1).test().answer();
    stage.reserve("r2").held_for(3_600).test().answer();
}

#[test]
fn each_malformed_field_of_an_executors_other_calls_is_named() {
    let stage = Stage::set(free());
    Spoiling(|| stage.commit("r1"))
        .names("team_id", |call| call.request.team_id = no_id())
        .names("reservation_id", |call| call.request.reservation_id = no_id())
        .names("reservation_id", |call| call.request.reservation_id.clear())
        .names("units", |call| call.request.units = Some(10_001))
        .names("model", |call| call.request.model = Some(no_id()))
        .names("model", |call| call.request.model = Some(String::new()));
    Spoiling(|| stage.release("r1"))
        .names("team_id", |call| call.request.team_id = no_id())
        .names("reservation_id", |call| call.request.reservation_id.clear());
    Spoiling(|| stage.extend("r1", 60))
        .names("team_id", |call| call.request.team_id = no_id())
        .names("reservation_id", |call| call.request.reservation_id.clear())
        .names("hold_for", |call| call.request.hold_for = Some(Duration { seconds: 3_601, nanos: 0 }))
        .names("hold_for", |call| call.request.hold_for = Some(Duration::default()));
    Spoiling(|| stage.begin_run("run"))
        .names("team_id", |call| call.request.team_id = no_id())
        .names("flow_id", |call| call.request.flow_id.clear())
        .names("run_id", |call| call.request.run_id.clear());
    Spoiling(|| stage.end_run("run"))
        .names("team_id", |call| call.request.team_id = no_id())
        .names("run_id", |call| call.request.run_id.clear());
    names(stage.look_up(NO_ID).unwrap_err(), "reservation_id");
}

#[test]
fn each_malformed_field_of_an_operators_calls_is_named() {
    let stage = Stage::set(free());
    let put = |team| {
        let request = PutTeamRequest { team };
        stage.wait_for(stage.accounts.clone().put_team(request)).unwrap_err()
    };
    names(put(None), "team");
    type Spoil = fn(&mut Team);
    let table: [(&str, Spoil); 8] = [
        ("team.team_id", |team| team.team_id = no_id()),
        ("team.team_id", |team| team.team_id.clear()),
        ("team.plan", |team| team.plan = "gold".to_owned()),
        ("team.plan", |team| team.plan = "Free".to_owned()),
        ("team.plan", |team| team.plan.clear()),
        ("team.billing_anchor_day", |team| team.billing_anchor_day = 0),
        ("team.billing_anchor_day", |team| team.billing_anchor_day = 32),
        ("team.included_credits", |team| team.included_credits = Some(-1)),
    ];
    for (field, spoil) in table {
        let mut team = stage.team();
        spoil(&mut team);
        names(put(Some(team)), field);
    }

    let (mut accounts, mut usage) = (stage.accounts.clone(), stage.usage.clone());
    let nonsense = Some(Timestamp { seconds: 0, nanos: -1 });
    stage.wait_for(async {
        names(accounts.get_team(GetTeamRequest { team_id: no_id() }).await.unwrap_err(), "team_id");
        let request = SetOveragesRequest { team_id: no_id(), enabled: true, cap_blocks: None };
        names(accounts.set_overages(request).await.unwrap_err(), "team_id");
        names(accounts.put_rate_card(PutRateCardRequest::default()).await.unwrap_err(), "rate_card");
        names(accounts.get_rate_card(GetRateCardRequest { at: nonsense }).await.unwrap_err(), "at");
        let request = ListTeamsRequest { page_token: no_id(), ..ListTeamsRequest::default() };
        names(accounts.list_teams(request).await.unwrap_err(), "page_token");

        let team_id = || "team".to_owned();
        let request = GetUsageRequest { team_id: no_id(), ..GetUsageRequest::default() };
        names(usage.get_usage(request).await.unwrap_err(), "team_id");
        let request = GetUsageRequest { team_id: team_id(), cycle_start: nonsense, ..GetUsageRequest::default() };
        names(usage.get_usage(request).await.unwrap_err(), "cycle_start");
        let request = GetUsageRequest { team_id: team_id(), page_token: no_id(), ..GetUsageRequest::default() };
        names(usage.get_usage(request).await.unwrap_err(), "page_token");
        for team in [no_id(), String::new()] {
            let request = ListChargesRequest { team_id: Some(team), ..ListChargesRequest::default() };
            names(usage.list_charges(request).await.unwrap_err(), "team_id");
        }
        let request = ListChargesRequest { cycle_start: nonsense, ..ListChargesRequest::default() };
        names(usage.list_charges(request).await.unwrap_err(), "cycle_start");
        let request = ListChargesRequest { page_token: no_id(), ..ListChargesRequest::default() };
        names(usage.list_charges(request).await.unwrap_err(), "page_token");
    });
}

#[test]
fn what_is_not_there_is_not_found() {
    let stage = Stage::set(free());
    let missing = |status: Status, what: &str| check_refusal(&status, Code::NotFound, what);
    let reservation = "RESERVATION_NOT_FOUND";
    stage.commit("none").fails(Code::NotFound, reservation);
    stage.release("none").fails(Code::NotFound, reservation);
    stage.extend("none", 60).fails(Code::NotFound, reservation);
    missing(stage.look_up("none").unwrap_err(), reservation);
    stage.end_run("none").fails(Code::NotFound, "RUN_NOT_FOUND");
}

#[test]
fn a_team_that_is_not_there_is_not_found_by_any_call() {
    let stage = Stage::empty(&tollgate::store::StoreLocation::Memory, MORNING, Default::default());
    let (code, reason) = (Code::NotFound, "TEAM_NOT_FOUND");
    stage.reserve("r1").fails(code, reason);
    stage.reserve("r1").dry_run().fails(code, reason);
    stage.commit("r1").fails(code, reason);
    stage.release("r1").fails(code, reason);
    stage.extend("r1", 60).fails(code, reason);
    stage.begin_run("run").fails(code, reason);
    stage.end_run("run").fails(code, reason);
    check_refusal(&stage.look_up("r1").unwrap_err(), code, reason);
    check_refusal(&stage.set_overages(true, None).unwrap_err(), code, reason);
    check_refusal(&stage.usage_of(None).unwrap_err(), code, reason);
    check_refusal(&stage.usage_of(Some(MORNING)).unwrap_err(), code, reason);
    let (mut accounts, mut usage) = (stage.accounts.clone(), stage.usage.clone());
    stage.wait_for(async {
        let request = GetTeamRequest { team_id: "team".to_owned() };
        check_refusal(&accounts.get_team(request).await.unwrap_err(), code, reason);
        let request = ListChargesRequest { team_id: Some("team".to_owned()), ..ListChargesRequest::default() };
        check_refusal(&usage.list_charges(request).await.unwrap_err(), code, reason);
    });
}
