//! Commit, Release and Extend of reservations from a lease: by any sidecar with the grant, and by its own sidecar
//! without it.

use tollgate::{
    domain::{
        billing_cycle::Cycle,
        id::Id,
        reservation::{MAX_GRANT_BYTES, Reservation, State, write_leased},
    },
    gate::{
        GateError,
        calls::{ActualUse, Page, ReserveCall},
    },
};

use super::stage::{NOW_MS, Sidecars, account, commit, id, lease_of, open, reserve, settle, team};
use crate::suite::support::catch_up;

/// With its grant, a reservation is settled in one store call by a sidecar that never saw it.
#[tokio::test]
async fn any_sidecar_settles_with_the_grant_in_one_store_call() {
    let sidecars = Sidecars::on_redis().await;
    let granting = sidecars.one().await;
    let team = team(&granting, false, 100_000).await;
    let mut grants = Vec::new();
    for name in ["committed", "released", "extended", "less", "more"] {
        grants.push(open(&granting, name, 2).await);
    }
    drop(granting);
    let gate = sidecars.one().await;
    let mut monitor = sidecars.monitor();
    let mut cost_one_call = |what: &str| {
        let received = monitor.take();
        assert!(matches!(&received[..], [only] if only.contains("{team}")), "{what} cost {received:#?}");
    };
    let units = |units| ActualUse { units: Some(units), ..ActualUse::default() };

    let committed = commit(&gate, "committed", &grants[0]).await.unwrap();
    cost_one_call("a commit");
    assert_eq!((committed.credits, committed.replayed, committed.late), (50, false, false));
    gate.release(settle("released", &grants[1])).await.unwrap();
    cost_one_call("a release");
    let expires_at_ms = gate.extend(settle("extended", &grants[2]), 90_000).await.unwrap();
    cost_one_call("an extension");
    assert_eq!(expires_at_ms, NOW_MS + 90_000);
    let less = gate.commit(settle("less", &grants[3]), units(1)).await.unwrap();
    cost_one_call("a commit of less");
    assert_eq!(less.credits, 25);
    let more = gate.commit(settle("more", &grants[4]), units(3)).await.unwrap();
    assert_eq!(more.credits, 75);

    let account = account(&gate).await;
    assert_eq!((account.used, account.above_hold, account.held), (50 + 25 + 75, 0, 50));
    assert_eq!(gate.reservation(&team, &id("extended")).await.unwrap().state, State::Open);
}

/// Without its grant, a reservation that was opened from a lease is known to its own sidecar only.
#[tokio::test]
async fn without_its_grant_only_its_own_sidecar_can_settle() {
    let sidecars = Sidecars::in_memory().await;
    let (gate, other) = (sidecars.one().await, sidecars.one().await);
    let team = team(&gate, false, 10_000).await;
    open(&gate, "r", 1).await;
    let unknown = commit(&other, "r", b"").await;
    assert!(matches!(unknown, Err(GateError::ReservationNotFound)), "{unknown:?}");
    let unknown = other.reservation(&team, &id("r")).await;
    assert!(matches!(unknown, Err(GateError::ReservationNotFound)), "{unknown:?}");
    assert_eq!(gate.reservation(&team, &id("r")).await.unwrap().state, State::Open);
    assert_eq!(commit(&gate, "r", b"").await.unwrap().credits, 25);
    let settled = other.reservation(&team, &id("r")).await.unwrap();
    assert!(matches!(settled.state, State::Committed(_)), "once it is settled, every sidecar knows it: {settled:?}");
}

/// Whichever sidecar repeats the commit of a reservation from a lease, it is charged once.
#[tokio::test]
async fn repeated_commits_on_any_sidecar_charge_once() {
    let sidecars = Sidecars::in_memory().await;
    let (gate, other) = (sidecars.one().await, sidecars.one().await);
    team(&gate, false, 10_000).await;
    for (number, first, second) in [(0, &gate, &other), (1, &other, &gate), (2, &gate, &gate), (3, &other, &other)] {
        let name = format!("r-{number}");
        let grant = open(&gate, &name, 1).await;
        assert!(!commit(first, &name, &grant).await.unwrap().replayed);
        for (by, grant) in [(second, &grant[..]), (first, &grant[..]), (&gate, b""), (&other, b"")] {
            let again = commit(by, &name, grant).await.unwrap();
            assert_eq!((again.credits, again.replayed), (25, true), "{name}");
        }
        let more = ActualUse { units: Some(2), ..ActualUse::default() };
        let reused = second.commit(settle(&name, &grant), more).await;
        assert!(matches!(reused, Err(GateError::IdReused { .. })), "{reused:?}");
    }
    gate.give_everything_back().await;
    other.give_everything_back().await;
    let account = account(&gate).await;
    assert_eq!((account.used, account.held, account.leased), (100, 0, 0));
}

/// A reservation from a lease is either committed, released or expired.
#[tokio::test]
async fn a_leased_reservation_is_settled_in_one_way_only() {
    let sidecars = Sidecars::in_memory().await;
    let (gate, other) = (sidecars.one().await, sidecars.one().await);
    team(&gate, false, 10_000).await;
    let grant = open(&gate, "released", 1).await;
    assert!(!other.release(settle("released", &grant)).await.unwrap().replayed);
    for by in [&gate, &other] {
        let refused = commit(by, "released", &grant).await;
        assert!(matches!(refused, Err(GateError::ReservationReleased)), "{refused:?}");
        let refused = by.extend(settle("released", &grant), 60_000).await;
        assert!(matches!(refused, Err(GateError::ReservationReleased)), "{refused:?}");
        assert!(by.release(settle("released", &grant)).await.unwrap().replayed);
    }
    let grant = open(&gate, "committed", 1).await;
    commit(&gate, "committed", &grant).await.unwrap();
    for by in [&gate, &other] {
        let refused = by.release(settle("committed", &grant)).await;
        assert!(matches!(refused, Err(GateError::ReservationCommitted)), "{refused:?}");
        let refused = by.extend(settle("committed", &grant), 60_000).await;
        assert!(matches!(refused, Err(GateError::ReservationCommitted)), "{refused:?}");
    }
}

/// After it was extended, a reservation from a lease is like any other.
#[tokio::test]
async fn an_extended_leased_reservation_has_a_record() {
    let sidecars = Sidecars::in_memory().await;
    let (gate, other) = (sidecars.one().await, sidecars.one().await);
    let team = team(&gate, false, 10_000).await;
    for (number, by) in [&gate, &other].into_iter().enumerate() {
        let name = format!("r-{number}");
        let grant = open(&gate, &name, 1).await;
        let before = account(&gate).await;
        assert_eq!(by.extend(settle(&name, &grant), 3_600_000).await.unwrap(), NOW_MS + 3_600_000);
        let after = account(&gate).await;
        assert_eq!((after.held, after.leased), (before.held + 25, before.leased - 25));
        for at in [&gate, &other] {
            let seen = at.reservation(&team, &id(&name)).await.unwrap();
            assert_eq!((seen.state, seen.expires_at_ms), (State::Open, NOW_MS + 3_600_000));
        }
    }
    // The old grant settles it, long after its lease is over.
    sidecars.clock.advance_ms(3_000_000);
    for name in ["r-0", "r-1"] {
        assert!(!commit(&other, name, b"").await.unwrap().late);
    }
}

/// An ID that the store has forgotten can be used again. It is settled with the new grant, even by a sidecar that
/// remembers the old one.
#[tokio::test]
async fn a_reused_id_is_settled_with_its_new_grant() {
    let sidecars = Sidecars::in_memory().await;
    let (gate, other) = (sidecars.one().await, sidecars.one().await);
    team(&gate, false, 10_000).await;
    let long = super::stage::call("r", 1);
    reserve(&gate, ReserveCall { hold_ms: 200_000, ..long }).await;
    sidecars.clock.advance_ms(200_000);
    other.sweep().await.unwrap();
    sidecars.clock.advance_ms(24 * 3_600_000);
    let grant = open(&other, "r", 2).await;
    assert_eq!(commit(&gate, "r", &grant).await.unwrap().credits, 50);
}

/// Returns a made-up grant.
fn made_up(name: &str, lease: &Id, reservation: &Reservation) -> Vec<u8> {
    let mut bytes = [0; MAX_GRANT_BYTES];
    let length = write_leased(&id(name), lease, reservation, &mut bytes).unwrap();
    bytes[..length].to_vec()
}

#[tokio::test]
async fn a_made_up_grant_is_worth_no_more_than_is_left_of_its_lease() {
    let sidecars = Sidecars::in_memory().await;
    let (gate, other) = (sidecars.one().await, sidecars.one().await);
    team(&gate, false, 1_000).await;
    let real = reserve(&gate, super::stage::call("real", 1)).await;
    let lease = lease_of(&real).unwrap();
    let leased = account(&gate).await.leased;
    let worth = |credits| {
        let mut reservation = real.reservation.clone();
        reservation.terms.credits = credits;
        reservation
    };
    let refusals = [
        ("too-much", made_up("too-much", &lease, &worth(leased + 1))),
        ("no-lease", made_up("no-lease", &id("none.1"), &worth(1))),
        ("real-one", real.grant.to_vec()),
        ("garbage", b"\x9f\x01".to_vec()),
    ];
    for (name, grant) in &refusals {
        let refused = commit(&other, name, grant).await;
        assert!(matches!(refused, Err(GateError::ReservationNotFound)), "{name}: {refused:?}");
    }
    let mut other_cycle = worth(1);
    let day_ms = 86_400_000;
    let Cycle { start_ms, .. } = other_cycle.terms.cycle;
    other_cycle.terms.cycle = Cycle { start_ms: start_ms - 31 * day_ms, end_ms: start_ms };
    let refused = commit(&other, "other-cycle", &made_up("other-cycle", &lease, &other_cycle)).await;
    assert!(matches!(refused, Err(GateError::ReservationNotFound)), "{refused:?}");

    // The rest of the lease is spent once.
    assert_eq!(commit(&other, "all", &made_up("all", &lease, &worth(leased))).await.unwrap().credits, leased);
    let refused = commit(&other, "one-more", &made_up("one-more", &lease, &worth(1))).await;
    assert!(matches!(refused, Err(GateError::ReservationNotFound)), "{refused:?}");
    let account = account(&gate).await;
    assert_eq!((account.used, account.leased), (leased, 0));
}

/// A made-up grant takes nothing in another cycle than that of its lease.
#[tokio::test]
async fn a_made_up_grant_takes_nothing_in_another_cycle() {
    let sidecars = Sidecars::in_memory().await;
    let (gate, other) = (sidecars.one().await, sidecars.one().await);
    let team = team(&gate, false, 1_000).await;
    let before = reserve(&gate, super::stage::call("before", 1)).await;
    commit(&gate, "before", &before.grant).await.unwrap();
    sidecars.clock.advance_to(before.reservation.terms.cycle.end_ms);
    catch_up(&gate, 0).await;
    open(&gate, "first", 1).await;
    let real = reserve(&gate, super::stage::call("real", 1)).await;
    let mut of_before = real.reservation.clone();
    of_before.terms.cycle = before.reservation.terms.cycle;
    let grant = made_up("of-before", &lease_of(&real).unwrap(), &of_before);
    let refused = commit(&other, "of-before", &grant).await;
    assert!(matches!(refused, Err(GateError::ReservationNotFound)), "{refused:?}");
    let page = Page { size: 1, token: String::new() };
    let ended = Some(before.reservation.terms.cycle.start_ms);
    let ended = other.usage(&team, ended, &page).await.unwrap().balance.account;
    assert_eq!((ended.used, ended.held, ended.leased), (25, 0, 0));
}
