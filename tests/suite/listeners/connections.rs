//! Limits of connections: how many there may be, which one is evicted, and how long each may last.

use std::time::Duration;

use tollgate::serve::Limits;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{
    Listeners, RESERVE, proceeds, reserve,
    wire::{DATA, END_STREAM, GOAWAY, HEADERS, PREFACE, Wire, frame, message, preface},
};
use crate::suite::support::wait_for;

const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
async fn what_is_not_http2_is_closed_at_once() {
    let listeners = Listeners::start(Limits { handshake_timeout: LONG, ..Limits::default() }).await;
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(50);
    for (what, bytes) in [
        ("HTTP/1", &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..]),
        ("HTTP/1 that begins alike", b"PUT / HTTP/1.1\r\n\r\n"),
        ("TLS", &tls),
        ("zeros", &[0; 64]),
        ("a preface and no frame", &[PREFACE, &[0xff; 64]].concat()),
        ("a frame of 16 MiB", &[&preface()[..], b"\xff\xff\xff\0\0\0\0\0\x01"].concat()),
        ("data of no stream", &[preface(), frame(DATA, 0, 1, b"abc")].concat()),
        ("headers that do not decode", &[preface(), frame(HEADERS, 4, 1, &[0xff; 32])].concat()),
        ("a stream of the server's", &[preface(), frame(HEADERS, 4, 2, &[0x83])].concat()),
    ] {
        let mut wire = Wire::connect(&listeners.data).await;
        wire.send(bytes).await.unwrap();
        wire.ended(what).await;
    }
    proceeds(listeners.client().reserve(reserve("after")).await);
}

#[tokio::test]
async fn a_connection_without_a_preface_in_time_is_closed() {
    let listeners =
        Listeners::start(Limits { handshake_timeout: Duration::from_millis(1_500), ..Limits::default() }).await;
    let open = Wire::open(&listeners.data).await;
    let whole = preface();
    for bytes in [0, 1, PREFACE.len(), PREFACE.len() + 3, whole.len() - 1] {
        let mut wire = Wire::connect(&listeners.data).await;
        wire.send(&whole[..bytes]).await.unwrap();
        wire.ended(&format!("after {bytes} bytes")).await;
    }
    assert!(!open.has_ended());
}

/// Opens a connection that has sent a call and received its response.
async fn worker(listeners: &Listeners, id: &str) -> Wire {
    let mut wire = Wire::open(&listeners.data).await;
    wire.begin_call(1, RESERVE).await;
    wire.send(&frame(DATA, END_STREAM, 1, &message(&reserve(id)))).await.unwrap();
    wire.receive(DATA).await;
    wire
}

/// When the listener is full, one more connection evicts the lowest-ranked one.
#[tokio::test]
async fn one_more_connection_evicts_the_lowest_ranked() {
    let listeners = Listeners::start(Limits { max_connections: 3, ..Limits::default() }).await;
    let mut first_worker = worker(&listeners, "first").await;
    let mut second_worker = worker(&listeners, "second").await;
    let mut idle = Wire::open(&listeners.data).await;
    // A connection without calls is evicted first, although it is the newest, and then the one that has been idle for longest.
    let mut third_worker = worker(&listeners, "third").await;
    idle.ended("the idle one").await;
    assert!(!first_worker.has_ended() && !second_worker.has_ended());
    let fourth_worker = worker(&listeners, "fourth").await;
    first_worker.ended("the one that was idle for longest").await;
    for worker in [&second_worker, &third_worker, &fourth_worker] {
        assert!(!worker.has_ended());
    }
    drop(fourth_worker);

    // If all have calls in flight, the new one is refused.
    let mut busy = worker(&listeners, "fifth").await;
    for wire in [&mut second_worker, &mut third_worker, &mut busy] {
        wire.begin_call(3, RESERVE).await;
        wire.send(&frame(super::wire::PING, 0, 0, &[0; 8])).await.unwrap();
        wire.receive(super::wire::PING).await;
    }
    wait_for("a connection that is refused", || async {
        let mut one_more = Wire::connect(&listeners.data).await;
        let _ = one_more.send(&preface()).await;
        one_more.ended("one too many").await;
        let all_stay = [&second_worker, &third_worker, &busy].iter().all(|wire| !wire.has_ended());
        assert!(all_stay, "a connection with a call in flight is not evicted");
        Some(())
    })
    .await;
    for wire in [&mut second_worker, &mut third_worker, &mut busy] {
        wire.send(&frame(DATA, END_STREAM, 3, &message(&reserve("late")))).await.unwrap();
        wire.receive(DATA).await;
    }
}

/// Connections that only watch the health do not keep other clients out.
#[tokio::test]
async fn health_watches_keep_no_client_out() {
    let listeners = Listeners::start(Limits { max_connections: 2, ..Limits::default() }).await;
    let mut watches = Vec::new();
    for _ in 0..2 {
        let mut health = HealthClient::new(listeners.client().data.clone());
        let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        watch.message().await.unwrap().unwrap();
        watches.push((health, watch));
    }
    worker(&listeners, "work").await;
    assert!(watches[0].1.message().await.is_err(), "the one that was idle for longest was evicted");
}

/// A client that is gone is noticed by keepalive, and one that is only silent keeps its connection.
#[tokio::test]
async fn keepalive_ends_dead_connections_only() {
    let (keepalive_interval, keepalive_timeout) = (Duration::from_millis(100), Duration::from_millis(3_000));
    let listeners = Listeners::start(Limits { keepalive_interval, keepalive_timeout, ..Limits::default() }).await;
    let client = listeners.client();
    let mut watch =
        HealthClient::new(client.data.clone()).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    let mut gone = Wire::open(&listeners.data).await;
    gone.ended("one that does not answer").await;
    assert!(futures::poll!(Box::pin(watch.message())).is_pending(), "the watch is still open");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected() {
    let listeners =
        Listeners::start(Limits { keepalive_timeout: Duration::from_millis(500), ..Limits::default() }).await;
    let mut wire = Wire::open(&listeners.data).await;
    // Each ping is answered. When the answers fill all buffers, the sidecar stops reading.
    let pings = frame(super::wire::PING, 0, 0, &[0; 8]).repeat(4_096);
    wire.send_until_ended(&pings, "a client that does not read").await;
    proceeds(listeners.client().reserve(reserve("after")).await);
}

#[tokio::test]
async fn an_old_connection_is_asked_to_end_and_then_closed() {
    let (max_connection_age, max_call_time) = (Duration::from_millis(300), Duration::from_millis(300));
    let listeners = Listeners::start(Limits { max_connection_age, max_call_time, ..Limits::default() }).await;
    let mut wire = Wire::open(&listeners.data).await;
    wire.begin_call(1, "/grpc.health.v1.Health/Watch").await;
    wire.send(&frame(DATA, END_STREAM, 1, &[0; 5])).await.unwrap();
    wire.receive(DATA).await;
    wire.receive(GOAWAY).await;
    wire.ended("a watch on an old connection").await;
    // A client that follows HTTP/2 notices nothing, over many connections.
    let client = listeners.client();
    for number in 0..50 {
        wait_for("an answer", || async { client.reserve(reserve(&format!("r{number}"))).await.ok() }).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    listeners.sidecar.shutdown().await;
}
