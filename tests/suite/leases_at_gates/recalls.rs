//! A call is not suspended, does not buy a block and does not pass the limit while another sidecar holds undrawn
//! credits. And a lease does not outlast the terms under which it was granted.

use std::sync::Arc;

use bytes::Bytes;
use tollgate::{
    clock::Clock,
    domain::{plan::Plan, reservation::Basis},
    gate::{
        Gate,
        calls::{ActualUse, ReserveCall, ReserveDecision, RunDecision},
    },
};

use super::stage::{Sidecars, account, call, id, lease_of, open, reserve, settings, settle, team};
use crate::suite::support::{Leasing, alive, catch_up};

/// Returns a sidecar with idle credits, another one, and a grant of the second. The team has 100 credits: the first
/// sidecar has drawn 25 from a lease of 50, and the second has reserved the remaining 50.
async fn one_has_idle_credits(sidecars: &Sidecars, paid_seat: bool) -> (Arc<Gate>, Arc<Gate>, Bytes) {
    let (idle, asking) = (sidecars.one().await, sidecars.with(Leasing::Off, &sidecars.clock).await);
    team(&idle, paid_seat, 100).await;
    open(&idle, "drawn", 1).await;
    assert_eq!(account(&idle).await.leased, 50);
    let made = reserve(&asking, call("made", 2)).await;
    assert_eq!((lease_of(&made), account(&idle).await.remaining()), (None, 0));
    (idle, asking, made.grant)
}

/// A call is not suspended while another sidecar holds idle credits.
#[tokio::test]
async fn idle_leases_are_recalled_before_a_suspend() {
    let sidecars = Sidecars::in_memory().await;
    let (idle, asking, _) = one_has_idle_credits(&sidecars, false).await;
    let _alive = alive(&idle);
    let proceed = reserve(&asking, call("asked", 1)).await;
    assert_eq!(proceed.reservation.terms.basis, Basis::Allotment);
    let account = account(&asking).await;
    assert_eq!((account.held, account.leased), (75, 25));
}

/// A current run does not pass the limit while another sidecar holds idle credits.
#[tokio::test]
async fn idle_leases_are_recalled_before_run_completion() {
    let sidecars = Sidecars::in_memory().await;
    let (idle, asking, _) = one_has_idle_credits(&sidecars, true).await;
    let _alive = alive(&idle);
    assert_eq!(reserve(&asking, call("asked", 1)).await.reservation.terms.basis, Basis::Allotment);
    assert_eq!(reserve(&asking, call("more", 1)).await.reservation.terms.basis, Basis::RunCompletion);
}

/// Overages are not used while another sidecar holds idle credits.
#[tokio::test]
async fn idle_leases_are_recalled_before_overages() {
    let sidecars = Sidecars::in_memory().await;
    let (idle, asking) = (sidecars.one().await, sidecars.with(Leasing::Off, &sidecars.clock).await);
    let team = id("team");
    idle.put_team(&team, &settings(Plan::Professional, true, 100), "test").await.unwrap();
    idle.set_overages(&team, true, None, "test").await.unwrap();
    let _alive = alive(&idle);
    open(&idle, "drawn", 1).await;
    reserve(&asking, call("made", 2)).await;
    assert_eq!(reserve(&asking, call("asked", 1)).await.reservation.terms.basis, Basis::Allotment);
    assert_eq!(reserve(&asking, call("more", 1)).await.reservation.terms.basis, Basis::Overage);
}

#[tokio::test]
async fn a_run_is_admitted_while_another_sidecar_has_idle_credits() {
    let sidecars = Sidecars::in_memory().await;
    let (idle, asking, _) = one_has_idle_credits(&sidecars, false).await;
    let _alive = alive(&idle);
    let decision = asking.begin_run(&id("team"), &id("flow"), &id("new")).await.unwrap().decision;
    assert!(matches!(decision, RunDecision::Admitted { replayed: false, .. }), "{decision:?}");
}

#[tokio::test]
async fn an_excess_draws_what_another_sidecar_has_idle() {
    let sidecars = Sidecars::in_memory().await;
    let (idle, asking, grant) = one_has_idle_credits(&sidecars, false).await;
    let _alive = alive(&idle);
    let more = ActualUse { units: Some(3), ..ActualUse::default() };
    assert_eq!(asking.commit(settle("made", &grant), more).await.unwrap().credits, 75);
    let account = account(&asking).await;
    assert_eq!((account.used, account.above_hold, account.leased), (75, 0, 25));
}

/// A call waits only a short time for the lease of a dead sidecar.
#[tokio::test]
async fn a_call_does_not_wait_long_for_a_dead_sidecar() {
    let sidecars = Sidecars::in_memory().await;
    let (_dead, asking, _) = one_has_idle_credits(&sidecars, false).await;
    for name in ["first", "second"] {
        let begun_ms = Clock::System.monotonic_ms();
        let answer = asking.check_and_reserve(call(name, 1)).await.unwrap();
        let waited_ms = Clock::System.monotonic_ms() - begun_ms;
        assert!(matches!(answer.decision, ReserveDecision::Suspend(_)), "{answer:?}");
        assert!(waited_ms < 2_000, "it waited for {waited_ms} ms instead of 250");
    }
}

/// Credits that are returned too late for one call are there for the next one.
#[tokio::test]
async fn credits_returned_too_late_serve_the_next_call() {
    let sidecars = Sidecars::in_memory().await;
    let (idle, asking, _) = one_has_idle_credits(&sidecars, false).await;
    let answer = asking.check_and_reserve(call("asked", 1)).await.unwrap();
    assert!(matches!(answer.decision, ReserveDecision::Suspend(_)), "{answer:?}");
    catch_up(&idle, 0).await;
    sidecars.clock.advance_ms(1_001);
    reserve(&asking, call("asked", 1)).await;
}

#[tokio::test]
async fn a_change_of_terms_acts_at_once_on_calls_of_every_sidecar() {
    let sidecars = Sidecars::in_memory().await;
    let (gate, other) = (sidecars.one().await, sidecars.one().await);
    let team = id("team");
    let image = |name| ReserveCall { model: id("dall-e-3"), ..call(name, 1) };
    other.put_team(&team, &settings(Plan::Free, true, 10_000), "test").await.unwrap();
    let _alive = alive(&gate);
    let before = reserve(&gate, image("before")).await;
    assert!(lease_of(&before).is_some());
    assert_eq!(before.reservation.terms.credits, 10);
    other.put_team(&team, &settings(Plan::Basic, true, 10_000), "test").await.unwrap();
    assert_eq!(reserve(&gate, image("after")).await.reservation.terms.credits, 5);
    sidecars.clock.advance_ms(1_001);
    let again = reserve(&gate, image("again")).await;
    assert!(lease_of(&again).is_some(), "leases are granted again soon");
    assert_eq!(again.reservation.terms.credits, 5);
}

/// Switching overages on and off applies at once, although a lease is held.
#[tokio::test]
async fn switching_overages_applies_at_once_despite_a_lease() {
    let sidecars = Sidecars::in_memory().await;
    let (gate, other) = (sidecars.one().await, sidecars.one().await);
    let team = id("team");
    other.put_team(&team, &settings(Plan::Professional, true, 100), "test").await.unwrap();
    let _alive = alive(&gate);
    open(&gate, "from-lease", 1).await;
    other.set_overages(&team, true, None, "test").await.unwrap();
    let other_run = |name, units| ReserveCall { run: Some(id(name)), ..call(name, units) };
    assert_eq!(reserve(&gate, other_run("overage", 4)).await.reservation.terms.basis, Basis::Overage);
    other.set_overages(&team, false, None, "test").await.unwrap();
    let answer = gate.check_and_reserve(other_run("none", 5)).await.unwrap();
    assert!(matches!(answer.decision, ReserveDecision::Suspend(_)), "{answer:?}");
}
