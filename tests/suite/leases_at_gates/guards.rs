//! The store keeps leases within the allotment and the terms of their team, whatever a sidecar assumes. Each test sends
//! transactions that a sidecar with outdated assumptions would send.

use std::sync::Arc;

use tollgate::{
    domain::{
        assumptions::Assumptions,
        catalogue::Catalogue,
        hold::{Hold, Holder, HoldsQuery},
        id::Id,
        keys,
        lease::{
            LeaseGrant, LeaseRemainder, LeaseReturn, LeaseTerms, LeaseVerdict, MAX_LEASE_LIFETIME_MS, RECALL_PAUSE_MS,
            Recall, Reclaim, ReclaimVerdict,
        },
        plan::Plan,
        policy::Policy,
        terms::Terms,
        terms_change::{Change, TermsChange, TermsVerdict},
    },
    gate::{Gate, calls::ReserveDecision},
    transaction::{Read, Transaction},
};

use super::stage::{HOLD_MS, MARGIN_MS, NOW_MS, Sidecars, TERM_MS, account, call, id, settings, team};
use crate::suite::support::Leasing;

const INCLUDED: i64 = 100;

/// More than half of the allotment.
const LEASE_CREDITS: i64 = 60;

/// A team without calls, and what was assumed of it when it was created.
struct StaleSidecar {
    sidecars: Sidecars,
    gate: Arc<Gate>,
    team: Id,
    terms: Terms,
    now_ms: i64,
}

impl StaleSidecar {
    async fn stage() -> Self {
        let sidecars = Sidecars::in_memory().await;
        let gate = sidecars.with(Leasing::Off, &sidecars.clock).await;
        let team = team(&gate, false, INCLUDED).await;
        let terms = Terms { version: 1, ..settings(Plan::Basic, false, INCLUDED).first_terms() };
        Self { sidecars, gate, team, terms, now_ms: NOW_MS }
    }

    /// Requests a lease of [`LEASE_CREDITS`], or else of a quarter of that.
    async fn take(&self, lease: &str) -> LeaseVerdict {
        let terms = LeaseTerms { term_ms: TERM_MS, hold_ms: HOLD_MS };
        let catalogue = Catalogue::shipped();
        let mut step = LeaseGrant::new(&self.team, &id(lease), LEASE_CREDITS, &self.assumptions(&catalogue), &terms);
        let reply = self.sidecars.store.transact(step.transaction.take()).await.unwrap();
        step.verdict(&reply).unwrap()
    }

    fn assumptions<'a>(&'a self, catalogue: &'a Catalogue) -> Assumptions<'a> {
        let (terms, now_ms) = (&self.terms, self.now_ms);
        let remaining = Some(INCLUDED);
        Assumptions { terms, catalogue, account_exists: false, remaining, recall_leases_first: true, now_ms }
    }

    async fn send(&self, transaction: Transaction) {
        self.sidecars.store.transact(transaction).await.unwrap();
    }

    async fn leased(&self) -> i64 {
        account(&self.gate).await.leased
    }

    /// Changes the terms that are assumed to be in force.
    async fn change(&self, paid_seat: bool) -> TermsVerdict {
        let changed = settings(Plan::Basic, paid_seat, INCLUDED);
        let terms = changed.first_terms();
        let catalogue = Catalogue::shipped();
        let assumptions = self.assumptions(&catalogue);
        let mut step = TermsChange::replace(&self.team, &assumptions, &Change::Settings(changed), &terms, "test");
        let reply = self.sidecars.store.transact(step.transaction.take()).await.unwrap();
        step.verdict(&reply).unwrap()
    }

    /// Reclaims a lease, with this assumption about the store's time.
    async fn reclaim(&self, lease: &str, assumed_now_ms: i64) -> ReclaimVerdict {
        let mut query = HoldsQuery::new(&self.team);
        let reply = self.sidecars.store.transact(query.transaction.take()).await.unwrap();
        let hold = query.holds(&reply).unwrap().pop().unwrap_or_else(|| self.hold_of(lease));
        let mut step = Reclaim::new(&self.team, &id(lease), &hold, assumed_now_ms, &Policy::default());
        let reply = self.sidecars.store.transact(step.transaction.take()).await.unwrap();
        step.verdict(&reply).unwrap()
    }

    /// Returns the hold of a lease as it was before another sidecar ended the lease.
    fn hold_of(&self, lease: &str) -> Hold {
        Hold {
            holder: Holder::Lease(id(lease)),
            cycle_start_ms: self.terms.anchor.cycle_at(self.now_ms).start_ms,
            credits: LEASE_CREDITS,
            expires_at_ms: self.now_ms + TERM_MS + HOLD_MS + MARGIN_MS,
        }
    }
}

fn granted(credits: i64) -> LeaseVerdict {
    LeaseVerdict::Granted { credits, granted_at_ms: NOW_MS }
}

/// Sidecars that all assume that the whole allotment remains take no more than there is.
#[tokio::test]
async fn leases_of_stale_sidecars_stay_within_the_allotment() {
    let stale = StaleSidecar::stage().await;
    for (lease, verdict) in [
        ("a.1", granted(LEASE_CREDITS)),
        ("b.1", granted(LEASE_CREDITS / 4)),
        ("c.1", granted(LEASE_CREDITS / 4)),
        ("d.1", LeaseVerdict::NotNow),
    ] {
        assert_eq!(stale.take(lease).await, verdict, "{lease}");
    }
    assert_eq!(stale.leased().await, LEASE_CREDITS + LEASE_CREDITS / 4 * 2);
}

/// A lease whose grant was not answered is requested again and granted once, while nothing of it was settled or
/// returned.
#[tokio::test]
async fn an_unanswered_lease_grant_is_retried_and_granted_once() {
    let stale = StaleSidecar::stage().await;
    for _ in 0..2 {
        assert_eq!(stale.take("a.1").await, granted(LEASE_CREDITS));
        assert_eq!(stale.leased().await, LEASE_CREDITS);
    }
    let cycle_start_ms = stale.terms.anchor.cycle_at(NOW_MS).start_ms;
    let rest = LeaseRemainder { id: id("a.1"), cycle_start_ms, credits: LEASE_CREDITS, undrawn: 20 };
    for _ in 0..2 {
        stale.send(LeaseReturn::new(&stale.team, &rest).transaction).await;
        assert_eq!(stale.leased().await, LEASE_CREDITS - 20, "what was not drawn comes back once");
    }
    assert_eq!(stale.take("a.1").await, LeaseVerdict::NotNow);
}

/// A lease that was reclaimed is not granted by a repeated request, although nothing was drawn from it.
#[tokio::test]
async fn a_reclaimed_lease_is_not_granted_again() {
    let mut stale = StaleSidecar::stage().await;
    assert_eq!(stale.take("a.1").await, granted(LEASE_CREDITS));
    stale.now_ms += TERM_MS + HOLD_MS + MARGIN_MS;
    stale.sidecars.clock.advance_to(stale.now_ms);
    assert_eq!(stale.reclaim("a.1", stale.now_ms).await, ReclaimVerdict::Done);
    assert_eq!(stale.take("a.1").await, LeaseVerdict::NotNow);
    assert_eq!(stale.leased().await, 0);
}

/// No lease is granted under terms that were replaced, or in a cycle that is not current.
#[tokio::test]
async fn no_lease_is_granted_under_old_terms_or_in_another_cycle() {
    let mut stale = StaleSidecar::stage().await;
    team(&stale.gate, true, INCLUDED).await;
    assert_eq!(stale.take("a.1").await, LeaseVerdict::NotNow);
    stale.terms.version += 1;
    assert_eq!(stale.take("a.1").await, granted(LEASE_CREDITS));
    let turn_ms = stale.terms.anchor.cycle_at(NOW_MS).end_ms;
    stale.sidecars.clock.advance_to(turn_ms);
    assert_eq!(stale.take("a.2").await, LeaseVerdict::NotNow);
    stale.now_ms = stale.terms.anchor.cycle_at(turn_ms).end_ms;
    assert_eq!(stale.take("a.2").await, LeaseVerdict::NotNow, "that cycle has not begun");
    stale.now_ms = turn_ms;
    assert_eq!(stale.take("a.2").await, LeaseVerdict::Granted { credits: LEASE_CREDITS, granted_at_ms: turn_ms });
}

#[tokio::test]
async fn no_lease_is_granted_for_a_second_after_a_recall() {
    let stale = StaleSidecar::stage().await;
    stale.send(Recall::new(&stale.team).transaction).await;
    stale.sidecars.clock.advance_ms(RECALL_PAUSE_MS - 1);
    assert_eq!(stale.take("a.1").await, LeaseVerdict::NotNow);
    stale.sidecars.clock.advance_ms(1);
    assert_ne!(stale.take("a.1").await, LeaseVerdict::NotNow);
}

/// A change of terms while leases are held recalls them in the same transaction.
#[tokio::test]
async fn a_change_of_terms_recalls_leases_in_the_same_step() {
    for with_lease in [false, true] {
        let mut stale = StaleSidecar::stage().await;
        if with_lease {
            assert_eq!(stale.take("a.1").await, granted(LEASE_CREDITS));
        }
        assert!(matches!(stale.change(true).await, TermsVerdict::Done(_)));
        stale.terms.version += 1;
        let expected = if with_lease { LeaseVerdict::NotNow } else { granted(LEASE_CREDITS) };
        assert_eq!(stale.take("b.1").await, expected);
    }
}

/// A change that was made from other terms than those in force is refused.
#[tokio::test]
async fn a_change_of_outdated_terms_is_refused() {
    let stale = StaleSidecar::stage().await;
    assert!(matches!(stale.change(true).await, TermsVerdict::Done(Terms { version: 2, paid_seat: true, .. })));
    let again = stale.change(false).await;
    assert!(matches!(again, TermsVerdict::Stale(Some(Terms { version: 2, paid_seat: true, .. }))), "{again:?}");
}

/// A due lease is ended once, by a sidecar whose clock agrees with the store's.
#[tokio::test]
async fn a_due_lease_is_ended_once_if_the_clocks_agree() {
    let stale = StaleSidecar::stage().await;
    assert_eq!(stale.take("a.1").await, granted(LEASE_CREDITS));
    let due_ms = NOW_MS + TERM_MS + HOLD_MS + MARGIN_MS;
    let clock = &stale.sidecars.clock;
    clock.advance_to(due_ms - 1);
    assert_eq!(stale.reclaim("a.1", due_ms).await, ReclaimVerdict::Stale, "it is not due");
    clock.advance_to(due_ms);
    for off_ms in [-MARGIN_MS - 1, MARGIN_MS + 1] {
        assert_eq!(stale.reclaim("a.1", due_ms + off_ms).await, ReclaimVerdict::Stale, "off by {off_ms}");
    }
    for verdict in [ReclaimVerdict::Done, ReclaimVerdict::Stale] {
        assert_eq!(stale.reclaim("a.1", due_ms).await, verdict);
        let mut query = Transaction::on(keys::team(&stale.team));
        let cycle_start_ms = stale.terms.anchor.cycle_at(NOW_MS).start_ms;
        let record = query.record(keys::account(cycle_start_ms), Read::Whole);
        let reply = stale.sidecars.store.transact(query).await.unwrap();
        assert_eq!(reply.hash(record).and_then(|fields| fields.number("leased")), Some(0));
    }
}

/// The end of a lease is postponed only while the lease is due and has not ended.
#[tokio::test]
async fn only_a_due_lease_that_has_not_ended_is_postponed() {
    let stale = StaleSidecar::stage().await;
    assert_eq!(stale.take("a.1").await, granted(LEASE_CREDITS));
    let hold = stale.hold_of("a.1");
    let postpone = async || {
        let mut step = Reclaim::postpone(&stale.team, &id("a.1"), &hold, MAX_LEASE_LIFETIME_MS);
        let reply = stale.sidecars.store.transact(step.transaction.take()).await.unwrap();
        step.verdict(&reply).unwrap()
    };
    assert_eq!(postpone().await, ReclaimVerdict::Stale, "it is not due");
    stale.sidecars.clock.advance_to(hold.expires_at_ms);
    // Another sidecar has seen the same and postponed it before.
    for verdict in [ReclaimVerdict::Done, ReclaimVerdict::Stale] {
        assert_eq!(postpone().await, verdict);
    }
    let due_ms = hold.expires_at_ms + MAX_LEASE_LIFETIME_MS;
    stale.sidecars.clock.advance_to(due_ms);
    assert_eq!(stale.reclaim("a.1", due_ms).await, ReclaimVerdict::Done);
    assert_eq!(postpone().await, ReclaimVerdict::Stale, "it has come");
    stale.sidecars.clock.advance_ms(MAX_LEASE_LIFETIME_MS);
    let answer = stale.gate.check_and_reserve(call("too-much", 5)).await.unwrap();
    assert!(
        matches!(answer.decision, ReserveDecision::Suspend(_)),
        "a hold that stayed due would block the call: {answer:?}"
    );
}
