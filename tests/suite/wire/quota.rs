//! QuotaService's requests.

use prost_types::Duration;
use tollgate::proto::v1::{
    BeginRunRequest, CheckAndReserveRequest, CommitRequest, EndRunRequest, ExtendRequest, GetReservationRequest,
    ReleaseRequest, Trigger,
};
use tonic::Code;

use super::{
    super::stories::stage::TEAM,
    table::{Table, ids, no_ids},
};

pub(super) const RESERVE: &str = "/tollgate.v1.QuotaService/CheckAndReserve";
const COMMIT: &str = "/tollgate.v1.QuotaService/Commit";
const RELEASE: &str = "/tollgate.v1.QuotaService/Release";
const EXTEND: &str = "/tollgate.v1.QuotaService/Extend";
const GET_RESERVATION: &str = "/tollgate.v1.QuotaService/GetReservation";
const BEGIN_RUN: &str = "/tollgate.v1.QuotaService/BeginRun";
const END_RUN: &str = "/tollgate.v1.QuotaService/EndRun";

/// Ids of an open reservation, and of one that does not exist.
pub(super) const OPEN: &str = "open";
const NONE: &str = "none";

/// Id of a run that has begun.
pub(super) const RUN: &str = "run";

const NO_TEAM: (Code, &str) = (Code::NotFound, "TEAM_NOT_FOUND");
const NO_RESERVATION: (Code, &str) = (Code::NotFound, "RESERVATION_NOT_FOUND");
const NO_RUN: (Code, &str) = (Code::NotFound, "RUN_NOT_FOUND");

/// Numbers of units above the limit.
const NO_UNITS: [u32; 3] = [10_001, 1 << 31, u32::MAX];

fn no_holds() -> impl Iterator<Item = Duration> {
    let holds = [
        (0, 0),
        (0, 999_999_999),
        (0, -1),
        (-1, 0),
        (3_600, 1),
        (3_601, 0),
        (60, -1),
        (60, 1_000_000_000),
        (60, i32::MIN),
        (60, i32::MAX),
        (315_576_000_000, 0),
        (315_576_000_001, 0),
        (-315_576_000_000, -999_999_999),
        (i64::MAX, i32::MAX),
        (i64::MIN, i32::MIN),
    ];
    holds.into_iter().map(|(seconds, nanos)| Duration { seconds, nanos })
}

fn holds() -> impl Iterator<Item = Option<Duration>> {
    let holds = [(1, 0), (1, 999_999_999), (3_599, 999_999_999), (3_600, 0)];
    holds.into_iter().map(|(seconds, nanos)| Some(Duration { seconds, nanos })).chain([None])
}

/// Grants that no sidecar made.
fn no_grants() -> impl Iterator<Item = Vec<u8>> {
    let open = |credits: i64| {
        format!(
            "1|open|{credits}|allotment|1748736000000|1751328000000|2025-01-22|free|f|r|b|gpt-4|1|run|1|9999999999999"
        )
    };
    let texts = [
        "1".to_owned(),
        "|".repeat(10_000),
        "é|\0|{a}".to_owned(),
        "1|committed|0|allotment|0|0|c|free|f|r|b|m|1|run|1|2|1|1|m|0|3".to_owned(),
        open(25),
        open(0),
        open(-25),
        open((1 << 46) - 1),
        open(1 - (1 << 46)),
        open(i64::MAX),
    ];
    let bytes = [vec![0; 60_000], vec![0xff], vec![0xc3, 0x28]];
    texts.into_iter().map(String::into_bytes).chain(bytes)
}

pub(super) fn reserve() -> CheckAndReserveRequest {
    CheckAndReserveRequest {
        team_id: TEAM.to_owned(),
        flow_id: "flow".to_owned(),
        run_id: RUN.to_owned(),
        block_id: "block".to_owned(),
        reservation_id: "fresh".to_owned(),
        model: "gpt-4o".to_owned(),
        ..CheckAndReserveRequest::default()
    }
}

/// Adds the rows of this service.
pub(super) fn rows(table: &mut Table) {
    check_and_reserve(table);
    commit(table);
    release(table);
    extend(table);
    runs(table);
    table
        .rpc(GET_RESERVATION, GetReservationRequest { team_id: TEAM.to_owned(), reservation_id: OPEN.to_owned() })
        .id("team_id", |request, id| request.team_id = id)
        .fails_with(NO_TEAM, "team_id", ids(), |request, id| request.team_id = id)
        .id("reservation_id", |request, id| request.reservation_id = id)
        .fails_with(NO_RESERVATION, "reservation_id", ids(), |request, id| request.reservation_id = id);
}

fn check_and_reserve(table: &mut Table) {
    table
        .rpc(RESERVE, reserve())
        .id("team_id", |request, id| request.team_id = id)
        .fails_with(NO_TEAM, "team_id", ids(), |request, id| request.team_id = id)
        .id("flow_id", |request, id| request.flow_id = id)
        .id("run_id", |request, id| request.run_id = id)
        .id("block_id", |request, id| request.block_id = id)
        .optional_id("reservation_id", |request, id| request.reservation_id = id)
        .id("model", |request, id| request.model = id)
        .refuses_models("model", &["gpt-5", "GPT-4o", "gpt-4o:", "-"], |request, model| request.model = model)
        .refuses("units", NO_UNITS, |request, units| request.units = units)
        .refuses("trigger", [3, 1_000, -1, i32::MAX, i32::MIN], |request, trigger| request.trigger = trigger)
        .refuses("hold_for", no_holds(), |request, hold| request.hold_for = Some(hold))
        .free("dry_run", "a switch");
    // Each row makes a new reservation in a new run.
    let without_id = CheckAndReserveRequest { reservation_id: String::new(), ..reserve() };
    table
        .also(RESERVE, without_id.clone())
        .accepts("flow_id", ids(), |request, id| {
            request.run_id = format!("of-{}", &id[..id.len().min(9)]);
            request.flow_id = id;
        })
        .accepts("run_id", ids(), |request, id| request.run_id = id)
        .accepts("block_id", ids(), |request, id| request.block_id = id)
        .accepts("reservation_id", ids().chain([String::new()]), |request, id| request.reservation_id = id)
        .accepts("units", [0, 1, 2, 9_999, 10_000], |request, units| request.units = units)
        .accepts("trigger", [0, 1, 2], |request, trigger| request.trigger = trigger)
        .accepts("hold_for", holds(), |request, hold| request.hold_for = hold);
    table
        .also(RESERVE, CheckAndReserveRequest { trigger: Trigger::Test.into(), ..without_id })
        .refuses("run_id", no_ids(), |request, id| request.run_id = id)
        .refuses("block_id", no_ids(), |request, id| request.block_id = id)
        .accepts("run_id", [String::new()], |request, id| request.run_id = id)
        .accepts("block_id", [String::new()], |request, id| request.block_id = id);
}

fn commit(table: &mut Table) {
    let commit = |id: &str| CommitRequest {
        team_id: TEAM.to_owned(),
        reservation_id: id.to_owned(),
        ..CommitRequest::default()
    };
    table
        .rpc(COMMIT, commit(OPEN))
        .id("team_id", |request, id| request.team_id = id)
        .fails_with(NO_TEAM, "team_id", ids(), |request, id| request.team_id = id)
        .id("reservation_id", |request, id| request.reservation_id = id)
        .fails_with(NO_RESERVATION, "reservation_id", ids(), |request, id| request.reservation_id = id)
        .refuses("units", NO_UNITS, |request, units| request.units = Some(units))
        .id("model", |request, id| request.model = Some(id))
        .refuses_models("model", &["gpt-5", "GPT-4o", "-"], |request, model| request.model = Some(model))
        .accepts("grant", no_grants(), |request, grant| request.grant = grant.into());
    table
        .also(COMMIT, commit(NONE))
        .fails_with(NO_RESERVATION, "grant", no_grants(), |request, grant| request.grant = grant.into())
        .fails_with(NO_RESERVATION, "units", [0, 1, 10_000], |request, units| request.units = Some(units))
        .fails_with(NO_RESERVATION, "model", ids(), |request, id| request.model = Some(id));
}

fn release(table: &mut Table) {
    let release = |id: &str| ReleaseRequest {
        team_id: TEAM.to_owned(),
        reservation_id: id.to_owned(),
        ..ReleaseRequest::default()
    };
    table
        .rpc(RELEASE, release("spare"))
        .id("team_id", |request, id| request.team_id = id)
        .fails_with(NO_TEAM, "team_id", ids(), |request, id| request.team_id = id)
        .id("reservation_id", |request, id| request.reservation_id = id)
        .fails_with(NO_RESERVATION, "reservation_id", ids(), |request, id| request.reservation_id = id)
        .accepts("grant", no_grants(), |request, grant| request.grant = grant.into());
    table
        .also(RELEASE, release(NONE))
        .fails_with(NO_RESERVATION, "grant", no_grants(), |request, grant| request.grant = grant.into());
}

fn extend(table: &mut Table) {
    let extend = |id: &str| ExtendRequest {
        team_id: TEAM.to_owned(),
        reservation_id: id.to_owned(),
        ..ExtendRequest::default()
    };
    table
        .rpc(EXTEND, extend("other"))
        .id("team_id", |request, id| request.team_id = id)
        .fails_with(NO_TEAM, "team_id", ids(), |request, id| request.team_id = id)
        .id("reservation_id", |request, id| request.reservation_id = id)
        .fails_with(NO_RESERVATION, "reservation_id", ids(), |request, id| request.reservation_id = id)
        .refuses("hold_for", no_holds(), |request, hold| request.hold_for = Some(hold))
        .accepts("hold_for", holds(), |request, hold| request.hold_for = hold)
        .accepts("grant", no_grants(), |request, grant| request.grant = grant.into());
    table
        .also(EXTEND, extend(NONE))
        .fails_with(NO_RESERVATION, "grant", no_grants(), |request, grant| request.grant = grant.into());
}

fn runs(table: &mut Table) {
    let (team_id, flow_id, run_id) = (TEAM.to_owned(), "flow".to_owned(), RUN.to_owned());
    table
        .rpc(BEGIN_RUN, BeginRunRequest { team_id: team_id.clone(), flow_id, run_id: run_id.clone() })
        .id("team_id", |request, id| request.team_id = id)
        .fails_with(NO_TEAM, "team_id", ids(), |request, id| request.team_id = id)
        .id("flow_id", |request, id| request.flow_id = id)
        .accepts("flow_id", ids(), |request, id| {
            request.run_id = format!("begun-{}", &id[..id.len().min(9)]);
            request.flow_id = id;
        })
        .id("run_id", |request, id| request.run_id = id)
        .accepts("run_id", ids(), |request, id| request.run_id = id);
    table
        .rpc(END_RUN, EndRunRequest { team_id, run_id })
        .id("team_id", |request, id| request.team_id = id)
        .fails_with(NO_TEAM, "team_id", ids(), |request, id| request.team_id = id)
        .id("run_id", |request, id| request.run_id = id)
        .fails_with(NO_RUN, "run_id", ids(), |request, id| request.run_id = id);
}
