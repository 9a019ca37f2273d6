//! A lease ends with its cycle, and prices by the rate card in effect.

use tollgate::domain::rate_card::RateCard;

use super::stage::{NOW_MS, Sidecars, account, call, commit, lease_of, reserve, team};

/// 2026-02-01T00:00:00Z, when a cycle from the first of a month turns.
const TURN_MS: i64 = 1_769_904_000_000;

#[tokio::test]
async fn a_lease_does_not_outlive_its_cycle() {
    let sidecars = Sidecars::in_memory().await;
    sidecars.clock.advance_to(TURN_MS - 2_000);
    let (gate, other) = (sidecars.one().await, sidecars.one().await);
    team(&gate, false, 1_000).await;
    let first = reserve(&gate, call("first", 1)).await;
    sidecars.clock.advance_to(TURN_MS - 1);
    let last = reserve(&gate, call("last", 1)).await;
    assert!(lease_of(&last).is_some() && lease_of(&last) == lease_of(&first), "from the same lease");
    assert_eq!(last.reservation.terms.cycle.end_ms, TURN_MS);

    sidecars.clock.advance_to(TURN_MS);
    let answer = gate.check_and_reserve(call("next", 1)).await.unwrap();
    let of_next = answer.balance.account.cycle.start_ms;
    let next = super::stage::granted(answer);
    assert_eq!((next.reservation.terms.cycle.start_ms, of_next), (TURN_MS, TURN_MS));
    assert!(lease_of(&next).is_some_and(|lease| Some(lease) != lease_of(&last)), "from a lease of its own");

    // A hold is charged to the cycle that it was opened in.
    let charged = commit(&other, "last", &last.grant).await.unwrap();
    assert_eq!((charged.balance.account.cycle.end_ms, charged.balance.account.used), (TURN_MS, 25));
    assert_eq!(account(&gate).await.used, 0);
    let charged = commit(&other, "next", &next.grant).await.unwrap();
    assert_eq!((charged.balance.account.cycle.start_ms, charged.balance.account.used), (TURN_MS, 25));
}

/// A rate card prices calls from the very time it takes effect, although a lease was granted before.
#[tokio::test]
async fn a_rate_card_takes_effect_on_time_despite_a_lease() {
    let sidecars = Sidecars::in_memory().await;
    let (gate, other) = (sidecars.one().await, sidecars.one().await);
    team(&gate, false, 10_000).await;
    let mut card = RateCard { version: "next".to_owned(), effective_at_ms: NOW_MS + 10_000, ..RateCard::shipped() };
    for rate in &mut card.rates {
        rate.credits += 15;
    }
    other.put_rate_card(card, "test").await.unwrap();
    sidecars.clock.advance_ms(8_000);
    gate.rate_card(None).await.unwrap();
    let first = reserve(&gate, call("first", 1)).await;
    assert!(lease_of(&first).is_some());
    sidecars.clock.advance_ms(1_999);
    let last = reserve(&gate, call("last", 1)).await;
    assert_eq!((last.reservation.terms.credits, lease_of(&last)), (25, lease_of(&first)));
    sidecars.clock.advance_ms(1);
    let next = reserve(&gate, call("next", 1)).await;
    assert_eq!((next.reservation.terms.credits, next.reservation.terms.rate_card.as_str()), (40, "next"));
    // A reservation made before keeps its card.
    assert_eq!(commit(&other, "last", &last.grant).await.unwrap().credits, 25);
    assert_eq!(commit(&other, "next", &next.grant).await.unwrap().credits, 40);
}
