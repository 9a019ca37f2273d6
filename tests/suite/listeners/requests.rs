//! Invalid requests: too large, not decodable, with too many headers, or too late.

use std::time::Duration;

use bytes::Bytes;
use tollgate::{
    proto::v1::{CheckAndReserveRequest, PutTeamRequest},
    serve::Limits,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{
    Listeners, TEAM, check, proceeds, reserve,
    wire::{self, END_HEADERS, HEADERS, Wire, frame, framed, headers, message},
};
use crate::suite::support::{
    client::team_without_seat,
    servers::{Engine, Server},
};

const AT_ONCE: Duration = Duration::ZERO;

fn field(status: &Status) -> String {
    status.get_details_bad_request().unwrap().field_violations[0].field.clone()
}

/// A request that cannot be decoded is refused with the contract's error, which names the field.
#[tokio::test]
async fn undecodable_requests_are_refused_naming_the_field() {
    let listeners = Listeners::start(Limits::default()).await;
    let good = message(&reserve("r"));
    for (what, body, named) in [
        ("a message of more than 64 KiB", framed(0, &vec![0; 64 * 1024 + 1]), "request"),
        ("the length of a large one", Bytes::from_static(b"\0\xff\xff\xff\xff"), "request"),
        ("half a message", good.slice(..good.len() / 2), "request"),
        ("no message", Bytes::new(), "request"),
        ("an invalid flag", framed(7, b""), "request"),
        ("a compressed message without an encoding", framed(1, b""), "request"),
        ("bytes that are not a message", framed(0, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), "request"),
        ("a team that is not UTF-8", framed(0, b"\x0a\x01\xff"), "team_id"),
        ("a truncated flow", framed(0, b"\x12\x05a"), "flow_id"),
    ] {
        let status = wire::call(&listeners.data, None, vec![body], AT_ONCE).await;
        assert_eq!((status.code(), field(&status).as_str()), (Code::InvalidArgument, named), "{what}: {status}");
        check(&status, Code::InvalidArgument, "INVALID_FIELD");
    }
    proceeds(listeners.client().reserve(reserve("after")).await);
}

#[tokio::test]
async fn a_request_is_understood_however_it_is_split() {
    let listeners = Listeners::start(Limits::default()).await;
    let whole = message(&CheckAndReserveRequest { team_id: "nobody".to_owned(), ..reserve("r") });
    let cut = |cuts: &[usize]| {
        let ends = cuts.iter().copied().chain([whole.len()]);
        ends.scan(0, |begin, end| Some(whole.slice(std::mem::replace(begin, end)..end))).collect::<Vec<_>>()
    };
    let mut requests = [&[][..], &[0], &[0, whole.len()], &[1], &[5], &[5, 6], &[whole.len() - 1]].map(cut).to_vec();
    // What follows the first message is read and ignored.
    requests.push(vec![whole.clone(), whole.clone()]);
    for pieces in requests {
        let lengths: Vec<_> = pieces.iter().map(Bytes::len).collect();
        let status = wire::call(&listeners.data, None, pieces, Duration::from_millis(1)).await;
        assert_eq!(status.code(), Code::NotFound, "{lengths:?}: {status}");
    }
}

/// A message of a mebibyte is refused by both listeners, and the connection stays open.
#[tokio::test]
async fn a_mebibyte_is_refused_and_the_connection_stays_open() {
    let listeners = Listeners::start(Limits::default()).await;
    let client = listeners.client();
    for _ in 0..20 {
        let mut request = reserve("large");
        request.block_id = "b".repeat(1024 * 1024);
        check(&client.reserve(request).await.unwrap_err(), Code::InvalidArgument, "INVALID_FIELD");
        let mut team = team_without_seat(TEAM, 1);
        team.plan = "p".repeat(1024 * 1024);
        let refused = client.accounts.clone().put_team(PutTeamRequest { team: Some(team) }).await.unwrap_err();
        check(&refused, Code::InvalidArgument, "INVALID_FIELD");
        assert_eq!(field(&refused), "request");
    }
    proceeds(client.reserve(reserve("after")).await);
}

#[tokio::test]
async fn headers_have_a_size_limit() {
    let limits = Limits { max_header_bytes: 2_048, ..Limits::default() };
    let listeners = Listeners::start(limits).await;
    let client = listeners.client();
    for (bytes, is_read) in [(1_000, true), (4_000, false)] {
        let mut request = tonic::Request::new(reserve("r"));
        request.metadata_mut().insert("padding", "p".repeat(bytes).parse().unwrap());
        let answer = client.quota.clone().check_and_reserve(request).await;
        assert_eq!(answer.is_ok(), is_read, "{bytes}: {answer:?}");
    }
    // Headers that never end are not waited for.
    let mut wire = Wire::open(&listeners.data).await;
    wire.send(&frame(HEADERS, 0, 1, &headers(super::RESERVE))).await.unwrap();
    wire.send_often(&frame(wire::CONTINUATION, 0, 1, &[0x40; 8_192]), 100).await;
    wire.ended("headers that do not end").await;
    // A small block that expands to a large one: one long header, and a thousand references to it.
    let mut wire = Wire::open(&listeners.data).await;
    let mut bomb = headers(super::RESERVE);
    bomb.extend(b"\x40\x01x\x7f\x81\x07");
    bomb.extend([b'v'; 1_024]);
    bomb.extend([0xbe; 8_000]);
    wire.send(&frame(HEADERS, END_HEADERS, 1, &bomb)).await.unwrap();
    proceeds(client.reserve(reserve("after")).await);
}

/// A call is answered before its deadline, even if the store does not answer.
#[tokio::test]
async fn a_call_is_answered_before_its_deadline() {
    let server = Server::start(Engine::Redis);
    let listeners = Listeners::start_on(server.location(), Limits::default()).await;
    redis::cmd("CLIENT").arg(&["PAUSE", "60000", "WRITE"]).exec(&mut server.connect()).unwrap();
    for timeout in ["100m", "300m", "1S"] {
        let status = wire::call(&listeners.data, Some(timeout), vec![message(&reserve("r"))], AT_ONCE).await;
        check(&status, Code::Unavailable, "STORE_UNAVAILABLE");
    }
}

#[tokio::test]
async fn max_call_time_applies_without_a_client_deadline() {
    let server = Server::start(Engine::Redis);
    let limits = Limits { max_call_time: Duration::from_millis(200), ..Limits::default() };
    let listeners = Listeners::start_on(server.location(), limits).await;
    redis::cmd("CLIENT").arg(&["PAUSE", "60000", "WRITE"]).exec(&mut server.connect()).unwrap();
    let status = wire::call(&listeners.data, None, vec![message(&reserve("r"))], AT_ONCE).await;
    check(&status, Code::Unavailable, "STORE_UNAVAILABLE");
}

#[tokio::test]
async fn a_request_sent_byte_by_byte_times_out() {
    let limits = Limits { max_call_time: Duration::from_millis(300), ..Limits::default() };
    let listeners = Listeners::start(limits).await;
    let request = message(&reserve("slow"));
    let bytes = || (0..request.len()).map(|at| request.slice(at..=at)).collect::<Vec<_>>();
    let status = wire::call(&listeners.data, None, bytes(), Duration::from_millis(50)).await;
    check(&status, Code::DeadlineExceeded, "REQUEST_INCOMPLETE");
    let status = wire::call(&listeners.data, Some("100m"), bytes(), Duration::from_millis(50)).await;
    check(&status, Code::DeadlineExceeded, "REQUEST_INCOMPLETE");
    proceeds(listeners.client().reserve(reserve("after")).await);
}
