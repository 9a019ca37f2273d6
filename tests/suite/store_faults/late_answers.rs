//! Late answers of a server that is well. Only the calls whose answers are late fail; the store stays in use.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures::future::join_all;

use super::stage::{Stage, TEAM, asks_to_repeat, now_ms};
use crate::suite::support::{
    client::{prompt_test, until_answered},
    servers::Engine,
    wait_for,
};

/// Text of every request that makes a reservation.
const RESERVATION: &str = "reservation:";

/// Delay of a late answer: longer than the timeout of a call, which is 250 ms.
const LATE: Duration = Duration::from_millis(400);

/// Exactly one call fails for each late answer. A repeat of it finds what it did.
#[tokio::test]
async fn only_the_call_with_a_late_answer_fails() {
    let mut stage = Stage::set(Engine::Redis).await;
    let health = stage.store.health();
    for _ in 0..3 {
        stage.proxy.delay_answer_to(RESERVATION, LATE);
        assert!(stage.is_refused().await);
        for number in 1..=20 {
            assert!(!stage.is_refused().await, "call {number} after the late one fails");
        }
    }
    assert!(!health.has_changed().unwrap(), "{:?}", stage.health());
    let repeated = stage.client.proceed(prompt_test(TEAM, "call-1", "gpt-4o")).await;
    assert!(repeated.replayed, "{repeated:?}");
    assert_eq!(stage.client.books(TEAM).await.balance.held, 2 * 63);
}

/// An answer that is later than two timeouts, but within the bound after which a connection counts as hung.
#[tokio::test]
async fn an_answer_later_than_two_timeouts_is_no_outage() {
    let mut stage = Stage::set(Engine::Redis).await;
    let health = stage.store.health();
    stage.proxy.delay_answer_to(RESERVATION, Duration::from_millis(600));
    assert!(stage.is_refused().await);
    stage.serves_again().await;
    assert!(!health.has_changed().unwrap(), "{:?}", stage.health());
}

#[tokio::test]
async fn sporadically_late_answers_are_no_outage() {
    const WORKERS: i64 = 8;
    const CALLS: i64 = 50;
    let stage = Stage::set(Engine::Redis).await;
    let health = stage.store.health();
    stage.proxy.delay_one_answer_in(40, RESERVATION, LATE);
    let working = (0..WORKERS).map(|worker| {
        let client = stage.client.clone();
        async move {
            let late = AtomicUsize::default();
            for call in 0..CALLS {
                let request = prompt_test(TEAM, &format!("{worker}-{call}"), "gpt-4o");
                until_answered("a reservation", || async {
                    let answer = client.reserve(request.clone()).await;
                    if let Err(status) = &answer {
                        asks_to_repeat(status);
                        late.fetch_add(1, Ordering::Relaxed);
                    }
                    answer
                })
                .await;
            }
            late.into_inner()
        }
    });
    let late: usize = join_all(working).await.into_iter().sum();
    assert!(late > 0, "no answer was late");
    assert!(!health.has_changed().unwrap(), "{:?}", stage.health());
    assert_eq!(stage.client.books(TEAM).await.balance.held, 2 * WORKERS * CALLS);
}

/// The server answers on other connections, but the shared one passes nothing on. It is replaced soon.
#[tokio::test]
async fn a_connection_that_hangs_is_replaced() {
    let mut stage = Stage::set(Engine::Redis).await;
    stage.proxy.silence_connection_of(RESERVATION);
    let begun_ms = now_ms();
    assert!(stage.is_refused().await);
    wait_for("the connection to be replaced", || async { (!stage.health().is_up()).then_some(()) }).await;
    let hung_ms = now_ms() - begun_ms;
    assert!(hung_ms < 2_000, "the connection was used for {hung_ms} ms");
    stage.serves_again().await;
}
