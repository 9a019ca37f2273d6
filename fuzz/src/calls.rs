//! The gRPC services: any bytes as requests, one after the other on one gate, as the services of both listeners receive
//! them.
//!
//! An input is a list of steps: one byte for the rpc (or for waiting), two bytes for a length, and that many bytes of
//! request. A request that can be decoded is answered, or refused with a code and reason of the contract that blames
//! the caller. The books stay valid.

use bytes::Bytes;
use prost::Message;
use prost_types::{Duration, Timestamp};
use tollgate::{
    gate::calls::Page,
    proto::v1::{check_and_reserve_response::Decision, *},
    service,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{
    input::Input,
    raw,
    world::{START_MS, World, id},
};

/// Maximum number of steps of an input.
const MAX_STEPS: usize = 24;

/// An rpc: its path, and whether bytes can be decoded as its request.
type Rpc = (&'static str, fn(&[u8]) -> bool);

const RPCS: [Rpc; 16] = [
    ("/tollgate.v1.QuotaService/CheckAndReserve", is::<CheckAndReserveRequest>),
    ("/tollgate.v1.QuotaService/Commit", is::<CommitRequest>),
    ("/tollgate.v1.QuotaService/Release", is::<ReleaseRequest>),
    ("/tollgate.v1.QuotaService/Extend", is::<ExtendRequest>),
    ("/tollgate.v1.QuotaService/GetReservation", is::<GetReservationRequest>),
    ("/tollgate.v1.QuotaService/BeginRun", is::<BeginRunRequest>),
    ("/tollgate.v1.QuotaService/EndRun", is::<EndRunRequest>),
    ("/tollgate.v1.AccountService/PutTeam", is::<PutTeamRequest>),
    ("/tollgate.v1.AccountService/GetTeam", is::<GetTeamRequest>),
    ("/tollgate.v1.AccountService/ListTeams", is::<ListTeamsRequest>),
    ("/tollgate.v1.AccountService/SetOverages", is::<SetOveragesRequest>),
    ("/tollgate.v1.AccountService/PutRateCard", is::<PutRateCardRequest>),
    ("/tollgate.v1.AccountService/GetRateCard", is::<GetRateCardRequest>),
    ("/tollgate.v1.AccountService/ListRateCards", is::<ListRateCardsRequest>),
    ("/tollgate.v1.UsageService/GetUsage", is::<GetUsageRequest>),
    ("/tollgate.v1.UsageService/ListCharges", is::<ListChargesRequest>),
];

/// The errors that blame the caller: code and reason.
const CALLER_ERRORS: [(Code, &str); 14] = [
    (Code::InvalidArgument, "INVALID_FIELD"),
    (Code::InvalidArgument, "UNKNOWN_MODEL"),
    (Code::NotFound, "TEAM_NOT_FOUND"),
    (Code::NotFound, "RESERVATION_NOT_FOUND"),
    (Code::NotFound, "RUN_NOT_FOUND"),
    (Code::NotFound, "RATE_CARD_NOT_FOUND"),
    (Code::AlreadyExists, "ID_REUSED"),
    (Code::FailedPrecondition, "RESERVATION_RELEASED"),
    (Code::FailedPrecondition, "RESERVATION_COMMITTED"),
    (Code::FailedPrecondition, "RESERVATION_EXPIRED"),
    (Code::FailedPrecondition, "RUN_ENDED"),
    (Code::FailedPrecondition, "OVERAGES_UNAVAILABLE"),
    (Code::FailedPrecondition, "NOTICE_TOO_SHORT"),
    (Code::OutOfRange, ""),
];

fn is<M: Message + Default>(bytes: &[u8]) -> bool {
    M::decode(bytes).is_ok()
}

/// Checks one input.
pub fn check(input: &[u8]) {
    let world = World::new();
    world.put_team("paid", tollgate::domain::plan::Plan::Professional, true, 1_000);
    world.put_team("free", tollgate::domain::plan::Plan::Free, false, 500);
    let mut input = Input(input);
    for _ in 0..MAX_STEPS {
        if input.is_empty() {
            break;
        }
        let (which, length) = (usize::from(input.byte()) % (RPCS.len() + 1), usize::from(input.u16()));
        let request = input.bytes(length);
        match RPCS.get(which) {
            Some((path, can_be_read)) => call(&world, path, request, can_be_read(request)),
            // Waits for up to three cycles.
            None => world.clock.advance_ms(i64::from(Input(request).u32()) % (93 * 86_400_000)),
        }
    }
    world.check_books();
    world.check_that_holds_come_back();
}

/// Maximum size of a message, in bytes. It is larger than any input, so no call is refused for its size.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

fn call(world: &World, path: &'static str, request: &[u8], can_be_read: bool) {
    let gate = || world.gate.clone();
    let bytes = Bytes::copy_from_slice(request);
    let answer = world.wait_for(async {
        if path.contains("QuotaService") {
            raw::call(service::quota(gate(), MAX_MESSAGE_BYTES), path, bytes).await
        } else if path.contains("AccountService") {
            raw::call(service::account(gate(), MAX_MESSAGE_BYTES), path, bytes).await
        } else {
            raw::call(service::usage(gate(), MAX_MESSAGE_BYTES), path, bytes).await
        }
    });
    match answer {
        Ok(answer) if path == RPCS[0].0 => check_proceed(world, request, &answer),
        Ok(_) => assert!(can_be_read, "{path} answers what it cannot read"),
        Err(status) if can_be_read => check_refusal(path, &status),
        Err(_) => {}
    }
}

fn check_refusal(path: &str, status: &Status) {
    let details = status.get_error_details();
    let info = details.error_info();
    let reason = info.map_or("", |info| info.reason.as_str());
    assert!(CALLER_ERRORS.contains(&(status.code(), reason)), "{path}: {status:?}");
    assert!(info.is_none_or(|info| info.domain == "tollgate"), "{path}: {status:?}");
    if status.code() == Code::InvalidArgument {
        let violations = &details.bad_request().expect("a BadRequest").field_violations;
        assert!(matches!(violations.as_slice(), [violation] if !violation.field.is_empty()), "{path}: {status:?}");
    }
}

/// Checks I1: a Proceed on the basis of allotment or overage keeps the reserved credits within it.
fn check_proceed(world: &World, request: &[u8], answer: &[u8]) {
    let request = CheckAndReserveRequest::decode(request).unwrap();
    let answer = CheckAndReserveResponse::decode(answer).unwrap();
    let Some(Decision::Proceed(proceed)) = answer.decision else { return };
    if proceed.replayed || request.dry_run || proceed.basis() == Basis::RunCompletion {
        return;
    }
    let page = Page { size: 1, token: String::new() };
    let usage = world.wait_for(world.gate.usage(&id(&request.team_id), None, &page)).unwrap();
    let account = usage.balance.account;
    assert!(account.shortfall(0) <= 0, "{account:?}");
    if proceed.basis() == Basis::Allotment {
        assert!(account.used + account.held + account.leased <= account.allotment(), "{account:?}");
    }
}

/// Returns the seeds: the calls of an executor and of an operator, and each rpc alone.
pub fn seeds() -> Vec<Vec<u8>> {
    let steps = valid_steps();
    let together = |places: &[usize]| places.iter().flat_map(|place| steps[*place].clone()).collect::<Vec<u8>>();
    let mut seeds = vec![
        together(&[0, 1, 4, 7, 15, 16]),
        together(&[6, 0, 2, 5, 8, 17, 0, 15]),
        together(&[11, 18, 1, 16, 15, 17, 18, 1, 16]),
        together(&[9, 10, 12, 13, 14, 0, 3, 0]),
        together(&[0, 17, 1, 0]),
    ];
    seeds.extend(steps);
    seeds
}

fn step(which: usize, request: &[u8]) -> Vec<u8> {
    let length = u16::try_from(request.len()).unwrap().to_le_bytes();
    [&[u8::try_from(which).unwrap()], &length[..], request].concat()
}

/// Returns one of each step as a client would send it, with two commits and two reserves.
fn valid_steps() -> Vec<Vec<u8>> {
    let team_id = || "paid".to_owned();
    let reservation_id = || "r".to_owned();
    let (flow_id, run_id) = (|| "f".to_owned(), || "u".to_owned());
    let at = |ms: i64| Some(Timestamp { seconds: ms / 1_000, nanos: 0 });
    let reserve = |id: &str, units| CheckAndReserveRequest {
        team_id: team_id(),
        flow_id: flow_id(),
        run_id: run_id(),
        block_id: "b".to_owned(),
        reservation_id: id.to_owned(),
        model: "gpt-4".to_owned(),
        units,
        trigger: 1,
        hold_for: Some(Duration { seconds: 60, nanos: 0 }),
        dry_run: false,
    };
    let commit = CommitRequest { team_id: team_id(), reservation_id: reservation_id(), ..CommitRequest::default() };
    let above = CommitRequest { units: Some(60), model: Some("gpt-4".to_owned()), ..commit.clone() };
    let release = ReleaseRequest { team_id: team_id(), reservation_id: reservation_id(), ..ReleaseRequest::default() };
    let hold_for = Some(Duration { seconds: 3_600, nanos: 0 });
    let extend =
        ExtendRequest { team_id: team_id(), reservation_id: reservation_id(), hold_for, ..ExtendRequest::default() };
    let team = Team {
        team_id: team_id(),
        plan: "professional".to_owned(),
        paid_seat: true,
        billing_anchor_day: 30,
        included_credits: Some(100),
        ..Team::default()
    };
    let credits_by_plan = [("free".to_owned(), 3)].into();
    let rate = Rate { model: "m".to_owned(), aliases: vec!["gpt-4".to_owned()], unit: 1, credits: 2, credits_by_plan };
    let card = RateCard { version: "v".to_owned(), effective_at: at(START_MS + 8 * 86_400_000), rates: vec![rate] };
    let (page_size, page_token) = (2, String::new);
    vec![
        step(0, &reserve("r", 1).encode_to_vec()),
        step(1, &commit.encode_to_vec()),
        step(2, &release.encode_to_vec()),
        step(3, &extend.encode_to_vec()),
        step(4, &GetReservationRequest { team_id: team_id(), reservation_id: reservation_id() }.encode_to_vec()),
        step(5, &BeginRunRequest { team_id: team_id(), flow_id: flow_id(), run_id: run_id() }.encode_to_vec()),
        step(5, &BeginRunRequest { team_id: "free".to_owned(), flow_id: flow_id(), run_id: run_id() }.encode_to_vec()),
        step(6, &EndRunRequest { team_id: team_id(), run_id: run_id() }.encode_to_vec()),
        step(7, &PutTeamRequest { team: Some(team) }.encode_to_vec()),
        step(8, &GetTeamRequest { team_id: team_id() }.encode_to_vec()),
        step(9, &ListTeamsRequest { page_size, page_token: page_token() }.encode_to_vec()),
        step(10, &SetOveragesRequest { team_id: team_id(), enabled: true, cap_blocks: Some(2) }.encode_to_vec()),
        step(11, &PutRateCardRequest { rate_card: Some(card) }.encode_to_vec()),
        step(12, &GetRateCardRequest { at: at(START_MS) }.encode_to_vec()),
        step(13, &ListRateCardsRequest { page_size, page_token: page_token() }.encode_to_vec()),
        step(
            14,
            &GetUsageRequest { team_id: team_id(), cycle_start: at(START_MS), page_size, page_token: page_token() }
                .encode_to_vec(),
        ),
        step(
            15,
            &ListChargesRequest { team_id: Some(team_id()), cycle_start: None, page_size, page_token: page_token() }
                .encode_to_vec(),
        ),
        step(16, &90_000_000_u32.to_le_bytes()),
        [step(0, &reserve("r", 39).encode_to_vec()), step(1, &above.encode_to_vec())].concat(),
    ]
}
