//! Runs whose first call was answered from a lease.

use tollgate::{
    domain::reservation::Basis,
    gate::{
        GateError,
        calls::{ReserveCall, RunDecision},
    },
};

use super::stage::{NOW_MS, Sidecars, account, call, commit, id, open, refused, reserve, team};
use crate::suite::support::{alive, catch_up, wait_for};

#[tokio::test]
async fn a_run_that_began_from_memory_is_recorded_behind_the_answer() {
    let sidecars = Sidecars::in_memory().await;
    let (gate, other) = (sidecars.one().await, sidecars.one().await);
    let team = team(&gate, true, 1_000).await;
    open(&gate, "first", 1).await;
    let unknown = other.end_run(&team, &id("run")).await;
    assert!(matches!(unknown, Err(GateError::RunNotFound)), "nothing is recorded before the answer: {unknown:?}");
    let _alive = alive(&gate);
    wait_for("the run to be recorded", async || match other.end_run(&team, &id("run")).await {
        Err(GateError::RunNotFound) => None,
        ended => Some(ended.unwrap()),
    })
    .await;
}

/// Once a run is recorded, it may pass the limit on any sidecar.
#[tokio::test]
async fn a_recorded_run_may_pass_the_limit_on_any_sidecar() {
    let sidecars = Sidecars::in_memory().await;
    let (gate, other) = (sidecars.one().await, sidecars.one().await);
    let team = team(&gate, true, 100).await;
    open(&gate, "first", 1).await;
    catch_up(&gate, 0).await;
    gate.give_everything_back().await;
    let decision = other.begin_run(&team, &id("flow"), &id("run")).await.unwrap().decision;
    let RunDecision::Admitted { replayed: true, expires_at_ms } = decision else { panic!("{decision:?}") };
    assert_eq!(expires_at_ms, NOW_MS + 24 * 3_600_000);
    assert_eq!(reserve(&other, call("past", 4)).await.reservation.terms.basis, Basis::RunCompletion);
}

/// The next call of a run may pass the limit before the run was recorded.
#[tokio::test]
async fn an_unrecorded_run_may_pass_the_limit() {
    let sidecars = Sidecars::in_memory().await;
    let gate = sidecars.one().await;
    team(&gate, true, 100).await;
    open(&gate, "first", 1).await;
    assert_eq!(reserve(&gate, call("past", 4)).await.reservation.terms.basis, Basis::RunCompletion);
}

/// BeginRun of a run that began with an answer from memory finds it current before it was recorded.
#[tokio::test]
async fn begin_run_knows_an_unrecorded_run() {
    let sidecars = Sidecars::in_memory().await;
    let gate = sidecars.one().await;
    let team = team(&gate, true, 100).await;
    open(&gate, "first", 1).await;
    let decision = gate.begin_run(&team, &id("flow"), &id("run")).await.unwrap().decision;
    assert!(matches!(decision, RunDecision::Admitted { replayed: true, .. }), "{decision:?}");
}

/// A run that ends right after its first call counts its commits.
#[tokio::test]
async fn a_run_that_ends_after_one_call_counts_its_commits() {
    let sidecars = Sidecars::in_memory().await;
    let (gate, other) = (sidecars.one().await, sidecars.one().await);
    let team = team(&gate, true, 10_000).await;
    let grant = open(&gate, "first", 1).await;
    let open_still = open(&gate, "second", 1).await;
    commit(&other, "first", &grant).await.unwrap();
    let ended = gate.end_run(&team, &id("run")).await.unwrap();
    assert_eq!((ended.credits, ended.replayed), (25, false));
    commit(&other, "second", &open_still).await.unwrap();
    let again = other.end_run(&team, &id("run")).await.unwrap();
    assert_eq!((again.credits, again.replayed), (25, true));
}

/// A run without commits ends, although it was not recorded yet.
#[tokio::test]
async fn an_unrecorded_run_without_commits_can_end() {
    let sidecars = Sidecars::in_memory().await;
    let gate = sidecars.one().await;
    let team = team(&gate, true, 10_000).await;
    open(&gate, "first", 1).await;
    let ended = gate.end_run(&team, &id("run")).await.unwrap();
    assert_eq!((ended.credits, ended.replayed), (0, false));
}

#[tokio::test]
async fn an_ended_run_and_one_of_another_flow_are_refused_from_memory() {
    let sidecars = Sidecars::on_redis().await;
    let gate = sidecars.one().await;
    let team = team(&gate, true, 10_000).await;
    open(&gate, "first", 1).await;
    let other_flow = |name| ReserveCall { flow: id("another"), ..call(name, 1) };
    let mut monitor = sidecars.monitor();
    let reused = refused(&gate, other_flow("second")).await;
    assert!(matches!(reused, GateError::IdReused { what: "run_id" }), "{reused:?}");
    assert_eq!(monitor.take(), [""; 0], "nothing was asked");

    gate.end_run(&team, &id("run")).await.unwrap();
    monitor.take();
    let ended = refused(&gate, call("third", 1)).await;
    assert!(matches!(ended, GateError::RunEnded), "{ended:?}");
    assert_eq!(monitor.take(), [""; 0], "nothing was asked");
    assert_eq!(account(&gate).await.used, 0);
}

/// A run past its maximum age is not current, and its ID can be used again after the run was forgotten.
#[tokio::test]
async fn a_run_past_its_maximum_age_is_not_current() {
    let sidecars = Sidecars::in_memory().await;
    let gate = sidecars.one().await;
    let team = team(&gate, true, 10_000).await;
    open(&gate, "first", 1).await;
    gate.end_run(&team, &id("run")).await.unwrap();
    sidecars.clock.advance_ms(24 * 3_600_000);
    assert!(matches!(refused(&gate, call("second", 1)).await, GateError::RunEnded));
    sidecars.clock.advance_ms(3 * 24 * 3_600_000);
    let of_another_flow = ReserveCall { flow: id("another"), ..call("third", 1) };
    reserve(&gate, of_another_flow).await;
}
