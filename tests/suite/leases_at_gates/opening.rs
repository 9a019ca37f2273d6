//! Which calls are answered from a lease, and what they cost.

use std::cell::Cell;

use tollgate::{
    domain::reservation::State,
    gate::{GateError, calls::ReserveCall},
};

use super::stage::{Sidecars, account, call, commit, id, lease_of, open, refused, reserve, settle, team};
use crate::suite::support::{Leasing, catch_up, wait_for};

#[tokio::test]
async fn a_call_of_a_busy_team_costs_no_store_call() {
    let sidecars = Sidecars::on_redis().await;
    let gate = sidecars.with(Leasing::Auto, &sidecars.clock).await;
    team(&gate, false, 1_000_000).await;
    let number = Cell::new(0);
    wait_for("the team to have a lease", async || {
        number.set(number.get() + 1);
        let proceed = reserve(&gate, call(&format!("busy-{}", number.get()), 1)).await;
        lease_of(&proceed)
    })
    .await;
    let mut monitor = sidecars.monitor();
    let mut from_leases = 0;
    for number in 0..100 {
        let proceed = reserve(&gate, call(&format!("counted-{number}"), 1)).await;
        from_leases += u32::from(lease_of(&proceed).is_some());
    }
    let received = monitor.take();
    assert!(from_leases >= 90, "{from_leases} of 100");
    let of_calls = received.iter().filter(|line| line.contains("counted")).count();
    assert_eq!(of_calls, 100 - from_leases as usize, "{received:#?}");
    assert!(received.len() < 25, "leases are requested rarely: {received:#?}");
}

/// The calls of a team that asks seldom are written through.
#[tokio::test]
async fn a_team_with_few_calls_is_written_through() {
    let sidecars = Sidecars::on_redis().await;
    let gate = sidecars.with(Leasing::Auto, &sidecars.clock).await;
    team(&gate, false, 1_000_000).await;
    let mut monitor = sidecars.monitor();
    for number in 0..20 {
        sidecars.clock.advance_ms(3_000);
        assert_eq!(lease_of(&reserve(&gate, call(&format!("r-{number}"), 1)).await), None);
    }
    gate.settled().await;
    let received = monitor.take();
    assert!(received.iter().all(|line| !line.contains("lease:")), "no lease is requested: {received:#?}");
    assert_eq!(account(&gate).await.leased, 0);
}

#[tokio::test]
async fn on_a_store_in_this_process_no_team_is_leased_to() {
    let sidecars = Sidecars::in_memory().await;
    let gate = sidecars.with(Leasing::Auto, &sidecars.clock).await;
    team(&gate, false, 1_000_000).await;
    for number in 0..50 {
        assert_eq!(lease_of(&reserve(&gate, call(&format!("r-{number}"), 1)).await), None);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_hold_that_outlasts_leases_is_written_through() {
    let sidecars = Sidecars::in_memory().await;
    let gate = sidecars.one().await;
    team(&gate, false, 10_000).await;
    let held_for = |name, hold_ms| ReserveCall { hold_ms, ..call(name, 1) };
    assert!(lease_of(&reserve(&gate, held_for("longest", 120_000)).await).is_some());
    assert_eq!(lease_of(&reserve(&gate, held_for("longer", 120_001)).await), None);
}

#[tokio::test]
async fn a_dry_run_draws_nothing_from_a_lease() {
    let sidecars = Sidecars::in_memory().await;
    let gate = sidecars.one().await;
    let team = team(&gate, false, 200).await;
    open(&gate, "first", 1).await;
    let idle = account(&gate).await.leased - 25;
    assert!(idle >= 25, "{idle} credits are idle");
    for number in 0..20 {
        let dry_run = ReserveCall { dry_run: true, ..call(&format!("dry-{number}"), 1) };
        assert!(reserve(&gate, dry_run).await.grant.is_empty());
        let looked_up = gate.reservation(&team, &id(&format!("dry-{number}"))).await;
        assert!(matches!(looked_up, Err(GateError::ReservationNotFound)), "{looked_up:?}");
    }
    open(&gate, "second", 1).await;
}

#[tokio::test]
async fn a_repeat_at_the_same_sidecar_is_replayed_with_the_same_grant() {
    let sidecars = Sidecars::on_redis().await;
    let gate = sidecars.one().await;
    let team = team(&gate, false, 10_000).await;
    let first = open(&gate, "r", 2).await;
    // Other content is refused each time and leaves the first reservation unchanged.
    for _ in 0..3 {
        let other = refused(&gate, call("r", 3)).await;
        assert!(matches!(other, GateError::IdReused { what: "reservation_id" }), "{other:?}");
        let again = reserve(&gate, call("r", 2)).await;
        assert!(again.replayed && again.reservation.state == State::Open);
        assert_eq!(again.grant, first);
    }
    assert_eq!(account(&gate).await.held, 0, "no second reservation was made");
    assert_eq!(gate.reservation(&team, &id("r")).await.unwrap().terms.credits, 50);
}

#[tokio::test]
async fn a_repeat_reports_what_another_sidecar_did() {
    let sidecars = Sidecars::in_memory().await;
    let (gate, other) = (sidecars.one().await, sidecars.one().await);
    team(&gate, false, 10_000).await;
    let grant = open(&gate, "committed", 1).await;
    commit(&other, "committed", &grant).await.unwrap();
    let again = reserve(&gate, call("committed", 1)).await;
    assert!(again.replayed && matches!(again.reservation.state, State::Committed(_)), "{again:?}");

    let grant = open(&gate, "committed-2", 1).await;
    commit(&other, "committed-2", &grant).await.unwrap();
    let released = gate.release(settle("committed-2", b"")).await;
    assert!(matches!(released, Err(GateError::ReservationCommitted)), "{released:?}");
    let again = reserve(&gate, call("committed-2", 1)).await;
    assert!(again.replayed && matches!(again.reservation.state, State::Committed(_)), "{again:?}");

    let grant = open(&gate, "released", 1).await;
    other.release(settle("released", &grant)).await.unwrap();
    let again = refused(&gate, call("released", 1)).await;
    assert!(matches!(again, GateError::ReservationReleased), "{again:?}");

    let grant = open(&gate, "settled-and-due", 1).await;
    commit(&other, "settled-and-due", &grant).await.unwrap();
    sidecars.clock.advance_ms(60_000);
    catch_up(&gate, 0).await;
    let again = reserve(&gate, call("settled-and-due", 1)).await;
    assert!(again.replayed && matches!(again.reservation.state, State::Committed(_)), "{again:?}");
}
