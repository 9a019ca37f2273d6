//! What happens to reservations that are never settled, and to the leases of dead sidecars.

use tollgate::{domain::reservation::State, gate::GateError};

use super::stage::{
    HOLD_MS, MARGIN_MS, NOW_MS, Sidecars, TERM_MS, account, call, commit, id, open, reserve, settle, team,
};
use crate::suite::support::catch_up;

/// An abandoned reservation is expired on time by its own sidecar and can be committed late.
#[tokio::test]
async fn an_abandoned_leased_reservation_expires_on_time() {
    let sidecars = Sidecars::in_memory().await;
    let (gate, other) = (sidecars.one().await, sidecars.one().await);
    let team = team(&gate, false, 10_000).await;
    let grant = open(&gate, "r", 1).await;
    // The hold ends within a second of the clock, not at its end.
    sidecars.clock.advance_ms(59_999);
    catch_up(&gate, 0).await;
    assert_eq!(account(&other).await.leased, 25, "what was not drawn is idle by now, and given back");
    assert_eq!(gate.reservation(&team, &id("r")).await.unwrap().state, State::Open);
    sidecars.clock.advance_ms(1);
    catch_up(&gate, 0).await;
    assert_eq!(account(&other).await.leased, 0);
    let expired = other.reservation(&team, &id("r")).await.unwrap();
    assert_eq!((expired.state, expired.settled_at_ms), (State::Expired, Some(NOW_MS + 60_000)));

    sidecars.clock.advance_ms(3_600_000);
    let committed = commit(&other, "r", &grant).await.unwrap();
    assert_eq!((committed.credits, committed.late, committed.replayed), (25, true, false));
    assert!(commit(&gate, "r", &grant).await.unwrap().replayed);
    let account = account(&gate).await;
    assert_eq!((account.used, account.held, account.leased), (25, 0, 0));
}

/// A sidecar that slept expires the reservations it opened, although their lease was reclaimed in the meantime.
#[tokio::test]
async fn a_sidecar_that_slept_expires_what_it_opened() {
    let sidecars = Sidecars::in_memory().await;
    let (gate, other) = (sidecars.one().await, sidecars.one().await);
    let team = team(&gate, false, 10_000).await;
    open(&gate, "r", 1).await;
    open(&gate, "s", 1).await;
    sidecars.clock.advance_ms(TERM_MS + HOLD_MS + MARGIN_MS);
    other.sweep().await.unwrap();
    assert_eq!(account(&other).await.leased, 0);
    catch_up(&gate, 0).await;
    for name in ["r", "s"] {
        let expired = other.reservation(&team, &id(name)).await.unwrap();
        assert_eq!(expired.state, State::Expired);
    }
    assert_eq!(account(&other).await.leased, 0, "nothing comes back twice");
    // A repeat at its own sidecar is answered the same.
    let again = reserve(&gate, call("r", 1)).await;
    assert!(again.replayed && again.reservation.state == State::Expired, "{again:?}");
}

/// The lease of a dead sidecar is reclaimed after its quarantine and not before.
#[tokio::test]
async fn the_lease_of_a_dead_sidecar_returns_after_quarantine() {
    let sidecars = Sidecars::in_memory().await;
    let (dead, other) = (sidecars.one().await, sidecars.one().await);
    team(&dead, false, 1_000).await;
    open(&dead, "r", 1).await;
    drop(dead);
    let leased = account(&other).await.leased;
    assert!(leased > 25, "{leased}");
    sidecars.clock.advance_ms(TERM_MS + HOLD_MS + MARGIN_MS - 1);
    other.sweep().await.unwrap();
    assert_eq!(account(&other).await.leased, leased);
    sidecars.clock.advance_ms(1);
    other.sweep().await.unwrap();
    assert_eq!(account(&other).await.leased, 0);
    open(&other, "half-of-all", 20).await;
}

/// A call that needs the credits of a dead sidecar's lease reclaims it and does not wait for the sweeper.
#[tokio::test]
async fn a_call_reclaims_the_lease_it_needs_without_a_sweep() {
    let sidecars = Sidecars::in_memory().await;
    let (dead, other) = (sidecars.one().await, sidecars.one().await);
    team(&dead, false, 100).await;
    open(&dead, "r", 1).await;
    drop(dead);
    sidecars.clock.advance_ms(TERM_MS + HOLD_MS + MARGIN_MS);
    let all = reserve(&other, call("all", 4)).await;
    assert_eq!(all.reservation.terms.credits, 100);
}

/// A commit after its lease was reclaimed is late, and all of it is excess.
#[tokio::test]
async fn a_commit_after_its_lease_was_reclaimed_is_all_excess() {
    for (others, used, above_hold) in [(0, 25, 0), (4, 100, 25)] {
        let sidecars = Sidecars::in_memory().await;
        let (dead, other) = (sidecars.one().await, sidecars.one().await);
        team(&dead, false, 100).await;
        let grant = open(&dead, "r", 1).await;
        drop(dead);
        sidecars.clock.advance_ms(TERM_MS + HOLD_MS + MARGIN_MS);
        other.sweep().await.unwrap();
        if others > 0 {
            let made = reserve(&other, call("others", others)).await;
            commit(&other, "others", &made.grant).await.unwrap();
        }
        for replayed in [false, true] {
            let committed = commit(&other, "r", &grant).await.unwrap();
            assert_eq!((committed.credits, committed.late, committed.replayed), (25, true, replayed));
        }
        let account = account(&other).await;
        assert_eq!((account.used, account.above_hold), (used, above_hold));
        assert_eq!((account.held, account.leased), (0, 0));
    }
}

/// Once the record of a commit may have been removed, a grant alone charges nothing.
#[tokio::test]
async fn a_grant_older_than_commit_records_charges_nothing() {
    let sidecars = Sidecars::in_memory().await;
    let (dead, other) = (sidecars.one().await, sidecars.one().await);
    team(&dead, false, 1_000).await;
    let committed = open(&dead, "committed", 1).await;
    let abandoned = open(&dead, "abandoned", 1).await;
    drop(dead);
    commit(&other, "committed", &committed).await.unwrap();
    // Its lease was reclaimed, and still has the credits of the other reservation for a late commit.
    sidecars.clock.advance_ms(TERM_MS + HOLD_MS + MARGIN_MS);
    other.sweep().await.unwrap();
    sidecars.clock.advance_ms(2 * 3_600_000);
    for (name, grant) in [("committed", &committed), ("abandoned", &abandoned)] {
        let refused = commit(&other, name, grant).await;
        assert!(matches!(refused, Err(GateError::ReservationNotFound)), "{name}: {refused:?}");
    }
    let account = account(&other).await;
    assert_eq!((account.used, account.held, account.leased), (25, 0, 0));
}

/// A sidecar that slept for hours takes nothing back for reservations that others committed in the meantime.
#[tokio::test]
async fn a_sidecar_that_slept_leaves_commits_of_others_alone() {
    let sidecars = Sidecars::in_memory().await;
    let (slept, other) = (sidecars.one().await, sidecars.one().await);
    let team = team(&slept, false, 1_000).await;
    let committed = open(&slept, "committed", 1).await;
    open(&slept, "abandoned", 1).await;
    commit(&other, "committed", &committed).await.unwrap();
    sidecars.clock.advance_ms(2 * 3_600_000);
    catch_up(&slept, 0).await;
    assert_eq!(
        account(&other).await.leased,
        25,
        "the abandoned reservation is still leased, and what was not drawn came back"
    );
    let unknown = slept.reservation(&team, &id("committed")).await;
    assert!(matches!(unknown, Err(GateError::ReservationNotFound)), "{unknown:?}");
    other.sweep().await.unwrap();
    let account = account(&other).await;
    assert_eq!((account.used, account.held, account.leased), (25, 0, 0));
}

/// A sidecar that shuts down returns its leases and writes records for the reservations it opened from them.
#[tokio::test]
async fn a_shutdown_returns_leases_and_records_reservations() {
    let sidecars = Sidecars::in_memory().await;
    let (ending, other) = (sidecars.one().await, sidecars.one().await);
    let team = team(&ending, false, 1_000).await;
    let mut grants = Vec::new();
    for number in 0..8 {
        grants.push(open(&ending, &format!("r-{number}"), 1).await);
    }
    ending.begin_drain();
    ending.settled().await;
    ending.give_everything_back().await;
    drop(ending);
    let left = account(&other).await;
    assert_eq!((left.leased, left.held, left.remaining()), (0, 200, 800));
    let seen = other.reservation(&team, &id("r-0")).await.unwrap();
    assert_eq!((seen.state, seen.expires_at_ms), (State::Open, NOW_MS + 60_000));
    commit(&other, "r-0", b"").await.unwrap();
    commit(&other, "r-1", &grants[1]).await.unwrap();
    other.release(settle("r-2", b"")).await.unwrap();
    sidecars.clock.advance_ms(60_000);
    other.sweep().await.unwrap();
    let account = account(&other).await;
    assert_eq!((account.used, account.held, account.leased), (50, 0, 0));
}
