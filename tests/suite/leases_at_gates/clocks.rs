//! Clocks that disagree: a sidecar that is paused, and a store whose clock is set.

use tollgate::{clock::ManualClock, domain::lease::MAX_LEASE_LIFETIME_MS};

use super::stage::{
    HOLD_MS, MARGIN_MS, NOW_MS, Sidecars, TERM_MS, account, call, commit, lease_of, open, reserve, team,
};
use crate::suite::support::{Leasing, catch_up};

/// A sidecar that was paused until after the lease term draws nothing from its lease.
#[tokio::test]
async fn a_sidecar_paused_past_the_term_draws_nothing() {
    let sidecars = Sidecars::in_memory().await;
    let gate = sidecars.one().await;
    team(&gate, false, 10_000).await;
    let first = reserve(&gate, call("first", 1)).await;
    sidecars.clock.advance_ms(TERM_MS - MARGIN_MS - 1);
    let last = reserve(&gate, call("last", 1)).await;
    assert!(lease_of(&last).is_some() && lease_of(&last) == lease_of(&first));
    sidecars.clock.advance_ms(1);
    let next = reserve(&gate, call("next", 1)).await;
    assert_ne!(lease_of(&next), lease_of(&first));
}

/// A hold that is drawn from a lease is not shorter than requested, although the sidecar's clock lags a little.
#[tokio::test]
async fn a_lagging_clock_does_not_shorten_a_leased_hold() {
    let sidecars = Sidecars::in_memory().await;
    let own = ManualClock::at(5_000);
    let gate = sidecars.with_clock(&own).await;
    team(&gate, false, 10_000).await;
    open(&gate, "first", 1).await;
    own.advance_ms(3_000);
    sidecars.clock.advance_ms(3_000);
    let proceed = reserve(&gate, call("second", 1)).await;
    assert!(lease_of(&proceed).is_some());
    assert_eq!(proceed.reservation.expires_at_ms, NOW_MS + 63_000);
}

#[tokio::test]
async fn leases_are_given_back_when_the_stores_clock_jumps() {
    for (jump_ms, kept) in [(MARGIN_MS, true), (MARGIN_MS + 2, false)] {
        let sidecars = Sidecars::in_memory().await;
        let gate = sidecars.with_clock(&ManualClock::at(5_000)).await;
        team(&gate, false, 10_000).await;
        let first = open(&gate, "first", 1).await;
        sidecars.clock.advance_ms(jump_ms);
        assert!(account(&gate).await.leased > 25);
        catch_up(&gate, 0).await;
        assert_eq!(account(&gate).await.leased > 25, kept, "{jump_ms}");
        // What was opened can still be settled.
        commit(&gate, "first", &first).await.unwrap();
    }
}

/// After a jump of the store's clock, a lease is reclaimed only when it cannot be in use any more.
#[tokio::test]
async fn after_a_clock_jump_no_lease_in_use_is_reclaimed() {
    let sidecars = Sidecars::in_memory().await;
    let (own, others) = (ManualClock::at(5_000), ManualClock::at(7_000));
    let gate = sidecars.with_clock(&own).await;
    let other = sidecars.with(Leasing::Off, &others).await;
    team(&gate, false, 10_000).await;
    open(&gate, "first", 1).await;
    let leased = account(&other).await.leased;

    // An hour passes in the store. On the sidecars' clocks no time passes, so the lease is in use.
    sidecars.clock.advance_ms(3_600_000);
    account(&other).await;
    other.sweep().await.unwrap();
    assert_eq!(account(&other).await.leased, leased);
    let second = reserve(&gate, call("second", 1)).await;
    assert!(lease_of(&second).is_some(), "its sidecar does not know of the jump");

    for clock in [&sidecars.clock, &own, &others] {
        clock.advance_ms(MAX_LEASE_LIFETIME_MS - 1);
    }
    other.sweep().await.unwrap();
    assert_eq!(account(&other).await.leased, leased);
    for clock in [&sidecars.clock, &own, &others] {
        clock.advance_ms(1);
    }
    other.sweep().await.unwrap();
    assert_eq!(account(&other).await.leased, 0);
}

/// A sidecar that learns of the clock's jump from the sweep itself ends no lease either.
#[tokio::test]
async fn a_clock_jump_seen_by_the_sweeper_ends_no_lease() {
    let sidecars = Sidecars::in_memory().await;
    let (own, others) = (ManualClock::at(5_000), ManualClock::at(7_000));
    let gate = sidecars.with_clock(&own).await;
    let other = sidecars.with(Leasing::Off, &others).await;
    team(&gate, false, 10_000).await;
    open(&gate, "first", 1).await;
    let leased = account(&other).await.leased;
    sidecars.clock.advance_ms(TERM_MS + HOLD_MS + MARGIN_MS);
    other.sweep().await.unwrap();
    assert_eq!(account(&other).await.leased, leased);
}
