//! NOT_FOUND, for unknown ids and teams. tests/suite/wire tests malformed fields.

use tollgate::proto::v1::{GetTeamRequest, ListChargesRequest};
use tonic::{Code, Status};

use super::stage::{MORNING, Stage, Verb as _, check_refusal, free, stories};

stories! {
    on any store:
    unknown_ids_are_not_found,
    every_call_rejects_an_unknown_team,
}

fn unknown_ids_are_not_found() {
    let stage = Stage::set(free());
    let missing = |status: Status, what: &str| check_refusal(&status, Code::NotFound, what);
    let reservation = "RESERVATION_NOT_FOUND";
    stage.commit("none").fails(Code::NotFound, reservation);
    stage.release("none").fails(Code::NotFound, reservation);
    stage.extend("none", 60).fails(Code::NotFound, reservation);
    missing(stage.look_up("none").unwrap_err(), reservation);
    stage.end_run("none").fails(Code::NotFound, "RUN_NOT_FOUND");
}

fn every_call_rejects_an_unknown_team() {
    let stage = Stage::without_team();
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
