//! Limits of calls in flight, and what happens to further calls.

use std::time::Duration;

use tokio::task::JoinSet;
use tollgate::serve::Limits;
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{
    Listeners, RESERVE, check, proceeds, reserve,
    wire::{DATA, END_STREAM, HEADERS, PING, RST_STREAM, Wire, frame, message, preface_without_window},
};
use crate::suite::support::{
    client::channel,
    servers::{Engine, Server},
    wait_for,
};

fn overloaded(status: &Status) {
    check(status, Code::ResourceExhausted, "OVERLOADED");
}

/// Calls beyond `max_calls` are asked to retry, and all others are served.
#[tokio::test]
async fn calls_beyond_the_limit_are_refused_and_others_served() {
    let server = Server::start(Engine::Redis);
    let limits = Limits { max_calls: 8, ..Limits::default() };
    let listeners = Listeners::start_on(server.location(), limits).await;
    redis::cmd("CLIENT").arg(&["PAUSE", "60000", "WRITE"]).exec(&mut server.connect()).unwrap();
    let mut calls = JoinSet::new();
    let refused = wait_for("no free slot", || {
        let (client, number) = (listeners.client(), calls.len());
        calls.spawn(async move { client.reserve(reserve(&format!("r-{number}"))).await });
        std::future::ready(calls.try_join_next())
    });
    let refused = [refused.await.unwrap()];
    let client = listeners.client();
    for number in 0..500 {
        overloaded(&client.reserve(reserve(&format!("more-{number}"))).await.unwrap_err());
    }
    // Health checks are answered, and the other listener has slots of its own.
    HealthClient::new(client.data.clone()).check(HealthCheckRequest::default()).await.unwrap();
    let admin = channel(&listeners.admin);
    HealthClient::new(admin).check(HealthCheckRequest::default()).await.unwrap();

    redis::cmd("CLIENT").arg("UNPAUSE").exec(&mut server.connect()).unwrap();
    let (served, refused): (Vec<_>, Vec<_>) =
        calls.join_all().await.into_iter().chain(refused).partition(Result::is_ok);
    assert_eq!(served.len(), 8);
    served.into_iter().for_each(proceeds);
    refused.into_iter().for_each(|answer| overloaded(&answer.unwrap_err()));
    wait_for("a free slot", || async { client.reserve(reserve("after")).await.ok() }).await;
}

/// Streams that stay open have a limit of their own and take no slots of calls.
#[tokio::test]
async fn streams_take_no_slots_of_calls() {
    let listeners = Listeners::start(Limits { max_streams: 2, max_calls: 1, ..Limits::default() }).await;
    let client = listeners.client();
    let mut health = HealthClient::new(client.data.clone());
    let first = health.watch(HealthCheckRequest::default()).await.unwrap();
    let _second = health.watch(HealthCheckRequest::default()).await.unwrap();
    overloaded(&health.watch(HealthCheckRequest::default()).await.unwrap_err());
    health.check(HealthCheckRequest::default()).await.unwrap();
    proceeds(client.reserve(reserve("r1")).await);
    drop(first);
    wait_for("the slot of the first watch", || async {
        HealthClient::new(client.data.clone()).watch(HealthCheckRequest::default()).await.ok()
    })
    .await;
}

/// Health checks have slots of their own, which have a limit too.
#[tokio::test]
async fn health_checks_have_a_limit_of_their_own() {
    let listeners = Listeners::start(Limits { max_calls: 1, ..Limits::default() }).await;
    let mut wire = Wire::open(&listeners.data).await;
    wire.begin_call(1, "/grpc.health.v1.Health/Check").await;
    let client = listeners.client();
    let refused = wait_for("no free slot", || async {
        HealthClient::new(client.data.clone()).check(HealthCheckRequest::default()).await.err()
    });
    overloaded(&refused.await);
    proceeds(client.reserve(reserve("meanwhile")).await);
}

/// A client that was refused may send the rest of its request. The stream is not reset.
#[tokio::test]
async fn a_refused_call_is_not_reset() {
    let listeners = Listeners::start(Limits { max_calls: 1, ..Limits::default() }).await;
    let mut holder = Wire::open(&listeners.data).await;
    holder.begin_call(1, RESERVE).await;
    let client = listeners.client();
    overloaded(&wait_for("no free slot", || async { client.reserve(reserve("no-room")).await.err() }).await);
    let mut wire = Wire::open(&listeners.data).await;
    wire.begin_call(1, RESERVE).await;
    wire.receive(HEADERS).await;
    let rest = frame(DATA, END_STREAM, 1, &message(&reserve("rest")));
    wire.send(&[rest, frame(PING, 0, 0, &[0; 8])].concat()).await.unwrap();
    let came = wire.receive(PING).await;
    assert!(!came.contains(&RST_STREAM), "{came:?}");
}

/// A connection may have `max_calls_per_connection` calls in flight. HTTP/2 refuses the next one.
#[tokio::test]
async fn http2_refuses_calls_beyond_the_limit_of_a_connection() {
    // Calls that time out are reset as well, so the timeout is long.
    let max_call_time = Duration::from_secs(600);
    let listeners = Listeners::start(Limits { max_calls_per_connection: 2, max_call_time, ..Limits::default() }).await;
    let mut wire = Wire::open(&listeners.data).await;
    // A client that knows the limit waits. One that does not gets RST_STREAM.
    for stream in [1, 3, 5] {
        wire.begin_call(stream, RESERVE).await;
    }
    wire.receive(RST_STREAM).await;
    proceeds(listeners.client().reserve(reserve("meanwhile")).await);
}

/// A response that its client does not read ends the connection, and frees the call's slot.
#[tokio::test]
async fn an_unread_response_ends_its_connection() {
    let limits = Limits { max_calls: 1, max_call_time: Duration::from_millis(200), ..Limits::default() };
    let listeners = Listeners::start(limits).await;
    let mut wire = Wire::connect(&listeners.data).await;
    wire.send(&preface_without_window()).await.unwrap();
    wire.begin_call(1, RESERVE).await;
    wire.send(&frame(DATA, END_STREAM, 1, &message(&reserve("untaken")))).await.unwrap();
    wire.receive(HEADERS).await;
    overloaded(&listeners.client().reserve(reserve("too-early")).await.unwrap_err());
    wire.ended("a response that the client does not read").await;
    wait_for("a free slot", || async { listeners.client().reserve(reserve("after")).await.ok() }).await;
}

#[tokio::test]
async fn a_cancelled_call_frees_its_slot() {
    let listeners = Listeners::start(Limits { max_calls: 1, ..Limits::default() }).await;
    let mut wire = Wire::open(&listeners.data).await;
    wire.begin_call(1, RESERVE).await;
    let client = listeners.client();
    wait_for("no free slot", || async { client.reserve(reserve("no-room")).await.err() }).await;
    wire.send(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])).await.unwrap();
    wait_for("a free slot", || async { client.reserve(reserve("room")).await.ok() }).await;
    // A call that ends with its connection frees its slot too. The previous call may still have its slot when this one comes.
    let mut streams = (3..400).step_by(2);
    loop {
        wire.begin_call(streams.next().expect("a slot for one of these"), RESERVE).await;
        if client.reserve(reserve("no-room-2")).await.is_err() {
            break;
        }
    }
    drop(wire);
    wait_for("a free slot", || async { client.reserve(reserve("room-2")).await.ok() }).await;
}
