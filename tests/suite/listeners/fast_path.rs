//! The fast path answers every request as tonic does.
//!
//! Each request is sent twice: as it is, and with the first byte of its body in a frame of its own, which makes it go through tonic.
//! Both responses have to be the same: status, headers, messages and trailers.

use bytes::Bytes;
use http::{HeaderMap, Method};
use tollgate::{
    proto::v1::{CommitRequest, GetReservationRequest, check_and_reserve_response::Decision},
    serve::Limits,
};

use super::{
    Listeners, RESERVE, TEAM, reserve,
    wire::{Exchange, exchange, framed, message},
};

const GET_RESERVATION: &str = "/tollgate.v1.QuotaService/GetReservation";
const COMMIT: &str = "/tollgate.v1.QuotaService/Commit";

const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc"), ("te", "trailers")];

/// A request of the table.
struct Row {
    what: String,
    method: Method,
    path: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<Bytes>,
}

fn row(
    what: &str,
    method: Method,
    path: &'static str,
    headers: &[(&'static str, &'static str)],
    body: &[Bytes],
) -> Row {
    let what = format!("{method} {path} {what}");
    Row { what, method, path, headers: headers.to_vec(), body: body.to_vec() }
}

/// Requests with every method and content type, and with unusual paths, headers and bodies. Each can be sent repeatedly, with the
/// same answer.
fn rows() -> Vec<Row> {
    let repeat = message(&reserve("r"));
    let whole = std::slice::from_ref(&repeat);
    let look_up = GetReservationRequest { team_id: TEAM.to_owned(), reservation_id: "r".to_owned() };
    let settled = CommitRequest { team_id: TEAM.to_owned(), reservation_id: "done".to_owned(), ..Default::default() };
    let post = |what: &str, path, headers: &[(&'static str, &'static str)], body: &[Bytes]| {
        row(what, Method::POST, path, headers, body)
    };
    let mut rows = vec![
        post("a repeat", RESERVE, GRPC, whole),
        post("a reservation", GET_RESERVATION, GRPC, &[message(&look_up)]),
        post("a repeat", COMMIT, GRPC, &[message(&settled)]),
        post("no message", RESERVE, GRPC, &[]),
        post("an empty message", RESERVE, GRPC, &[framed(0, b"")]),
        post("a message in two frames", RESERVE, GRPC, &[repeat.slice(..9), repeat.slice(9..)]),
        post("half a message", RESERVE, GRPC, &[repeat.slice(..9)]),
        post("two messages", RESERVE, GRPC, &[repeat.clone(), repeat.clone()]),
        post("a message and garbage", RESERVE, GRPC, &[repeat.clone(), Bytes::from_static(b"garbage")]),
        post("a compressed message", RESERVE, GRPC, &[framed(1, b"\x1f\x8b")]),
        post("an undecodable message", RESERVE, GRPC, &[framed(0, b"\x0a\x01\xff")]),
        post("a large message", RESERVE, GRPC, &[framed(0, &vec![0; 64 * 1024 + 1])]),
    ];
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
        rows.push(row("a repeat", method.clone(), RESERVE, GRPC, whole));
        rows.push(row("without a body", method, GET_RESERVATION, GRPC, &[]));
    }
    for headers in [
        &[("content-type", "application/grpc")][..],
        &[("content-type", "application/grpc+proto")],
        &[("content-type", "application/grpc+json")],
        &[("content-type", "application/grpc;charset=utf-8")],
        &[("content-type", "application/grpc-web")],
        &[("content-type", "application/GRPC")],
        &[("content-type", "application/json")],
        &[("content-type", "text/plain")],
        &[("content-type", "")],
        &[],
        &[("content-type", "application/grpc"), ("content-type", "application/json")],
        &[("content-type", "application/grpc"), ("grpc-accept-encoding", "gzip,identity")],
        &[("content-type", "application/grpc"), ("grpc-encoding", "identity")],
        &[("content-type", "application/grpc"), ("grpc-encoding", "gzip")],
    ] {
        rows.push(post(&format!("{headers:?}"), RESERVE, headers, whole));
    }
    for path in [
        "/tollgate.v1.QuotaService/CheckAndReserve?query",
        "/tollgate.v1.QuotaService/CheckAndReserve/",
        "/tollgate.v1.QuotaService/checkandreserve",
        "/tollgate.v1.QuotaService/Check%41ndReserve",
        "/tollgate.v1.QuotaService/",
        "/tollgate.v1.QuotaService",
        "/tollgate.v1.AccountService/PutTeam",
        "//tollgate.v1.QuotaService/CheckAndReserve",
        "/",
    ] {
        rows.push(post("a repeat", path, GRPC, whole));
    }
    rows
}

async fn send(listeners: &Listeners, row: &Row, body: Vec<Bytes>) -> Result<Exchange, Option<h2::Reason>> {
    let mut request = http::Request::builder().method(row.method.clone()).uri(format!("http://localhost{}", row.path));
    for (name, value) in &row.headers {
        request = request.header(*name, *value);
    }
    let mut exchange = exchange(&listeners.data, request.body(()).unwrap(), body).await?;
    // Without a body, tonic's router announces a length of zero. HTTP/2 has the end of the stream for that.
    remove_zero_length(&mut exchange.headers);
    Ok(exchange)
}

/// Returns a body with its first byte in a frame of its own.
fn split(body: &[Bytes]) -> Vec<Bytes> {
    let mut pieces = body.to_vec();
    if let Some(first) = pieces.first_mut() {
        let byte = first.split_to(1);
        pieces.insert(0, byte);
    }
    pieces
}

fn remove_zero_length(headers: &mut HeaderMap) {
    if headers.get("content-length").is_some_and(|length| length == "0") {
        headers.remove("content-length");
    }
}

#[tokio::test]
async fn the_fast_path_answers_every_request_as_tonic_does() {
    let listeners = Listeners::start(Limits::default()).await;
    let client = listeners.client();
    for id in ["r", "done"] {
        let reserved = client.reserve(reserve(id)).await.unwrap();
        assert!(matches!(reserved, Decision::Proceed(_)), "{reserved:?}");
    }
    client.commit(TEAM, "done", &[]).await.unwrap();
    let mut differences = Vec::new();
    for row in rows() {
        let as_it_is = send(&listeners, &row, row.body.clone()).await;
        let through_tonic = send(&listeners, &row, split(&row.body)).await;
        if as_it_is != through_tonic {
            differences.push(format!("{}: {as_it_is:#?}\nthrough tonic: {through_tonic:#?}", row.what));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
