//! Things that happen twice: two sidecars open one ID, a grant is used again, two sidecars end one lease.

use std::sync::Arc;

use bytes::Bytes;
use tollgate::{
    domain::{
        commit::{CommitAssumptions, commit as commit_step},
        expire::expire,
        hold::{Hold, Holder, HoldsQuery},
        id::Id,
        keys,
        lease::{Reclaim, ReclaimVerdict},
        policy::Policy,
        reservation::{BackedReservation, Backing, Charged, Content, State, read_grant},
        settlement::Settlement,
    },
    gate::{Gate, GateError, calls::ReserveCall},
    transaction::{Outcome, Read, Transaction, Write},
};

use super::stage::{
    HOLD_MS, MARGIN_MS, NOW_MS, Sidecars, TERM_MS, account, call, commit, id, open, reserve, settings, settle, team,
};
use crate::suite::support::catch_up;

/// Two sidecars have opened one reservation ID from their own leases. What the first opened has expired, and what the
/// second opened has not.
struct OpenedTwice {
    sidecars: Sidecars,
    first: Arc<Gate>,
    second: Arc<Gate>,
    third: Arc<Gate>,
    team: Id,
    first_grant: Bytes,
    second_grant: Bytes,
}

impl OpenedTwice {
    async fn stage() -> Self {
        let opened = Self::before_any_expires().await;
        opened.sidecars.clock.advance_ms(55_000);
        catch_up(&opened.first, 0).await;
        opened
    }

    async fn before_any_expires() -> Self {
        let sidecars = Sidecars::in_memory().await;
        let (first, second, third) = (sidecars.one().await, sidecars.one().await, sidecars.one().await);
        let team = team(&first, false, 1_000).await;
        let first_grant = open(&first, "r", 1).await;
        sidecars.clock.advance_ms(5_000);
        let second_grant = open(&second, "r", 1).await;
        Self { sidecars, first, second, third, team, first_grant, second_grant }
    }

    async fn state_at(&self, gate: &Gate) -> State {
        gate.reservation(&self.team, &id("r")).await.unwrap().state
    }

    /// Returns what the second sidecar opened, as a sidecar sees it that has found the expired record of the first.
    async fn second_in_place_of_the_first(&self) -> BackedReservation {
        let expired = self.third.reservation(&self.team, &id("r")).await.unwrap();
        let BackedReservation { reservation, mut backing } = read_grant(&self.second_grant, &id("r")).unwrap();
        if let Backing::Lease { replaces, .. } = &mut backing {
            *replaces = Some(Box::new(expired));
        }
        BackedReservation { reservation, backing }
    }

    async fn commits(&self, held: &BackedReservation, late: bool) -> bool {
        let Content { units, model, .. } = held.reservation.content.clone();
        let charged = Charged { credits: 25, units, model, late };
        let policy = Policy::default();
        self.is_done_by(commit_step(&self.team, &id("r"), held, &charged, CommitAssumptions::default(), &policy)).await
    }

    /// Sends a transaction with the assumptions that it was built from. Returns whether it was applied.
    async fn is_done_by(&self, mut step: Settlement) -> bool {
        let reply = self.sidecars.store.transact(step.transaction.take()).await.unwrap();
        matches!(reply.outcome, Outcome::Applied { .. })
    }

    /// Checks that after the end of the last lease it was charged this many times, and all other credits came back.
    async fn ends_with_charges(self, charges: i64) {
        self.sidecars.clock.advance_ms(TERM_MS + HOLD_MS + MARGIN_MS);
        for gate in [&self.first, &self.second] {
            catch_up(gate, 0).await;
        }
        self.third.sweep().await.unwrap();
        for (gate, grant) in [(&self.third, &self.first_grant), (&self.third, &self.second_grant)] {
            if charges == 1 {
                assert!(commit(gate, "r", grant).await.unwrap().replayed);
            }
        }
        let account = account(&self.third).await;
        assert_eq!((account.used, account.above_hold, account.held, account.leased), (25 * charges, 0, 0, 0));
    }
}

#[tokio::test]
async fn the_expiry_of_one_opening_makes_no_commit_of_the_other_late() {
    for by_third in [false, true] {
        let opened = OpenedTwice::stage().await;
        assert_eq!(opened.state_at(&opened.first).await, State::Expired);
        assert_eq!(opened.state_at(&opened.second).await, State::Open, "its own sidecar knows that it is open");
        let again = reserve(&opened.second, call("r", 1)).await;
        assert!(again.replayed && again.grant == opened.second_grant, "{again:?}");

        let by = if by_third { &opened.third } else { &opened.second };
        let committed = commit(by, "r", &opened.second_grant).await.unwrap();
        assert_eq!((committed.credits, committed.late, committed.replayed), (25, false, false));
        assert!(matches!(opened.state_at(&opened.first).await, State::Committed(_)));
        opened.ends_with_charges(1).await;
    }
}

/// Two sidecars opened the same reservation ID and both holds last. One is charged, and a commit of the other is
/// answered with that charge.
#[tokio::test]
async fn of_two_live_openings_only_one_is_charged() {
    for by_third in [false, true] {
        let opened = OpenedTwice::before_any_expires().await;
        let by = if by_third { &opened.third } else { &opened.second };
        assert!(!commit(&opened.first, "r", &opened.first_grant).await.unwrap().replayed);
        for _ in 0..2 {
            let again = commit(by, "r", &opened.second_grant).await.unwrap();
            assert_eq!((again.credits, again.late, again.replayed), (25, false, true));
        }
        opened.ends_with_charges(1).await;
    }
}

/// A reservation replaces the expired record of another one with its ID once, and only while its own hold lasts.
#[tokio::test]
async fn a_live_opening_replaces_an_expired_record_once() {
    for expires in [true, false] {
        let opened = OpenedTwice::stage().await;
        let held = opened.second_in_place_of_the_first().await;
        if !expires {
            assert!(opened.commits(&held, false).await);
            assert!(!opened.commits(&held, false).await);
            opened.ends_with_charges(1).await;
            continue;
        }
        opened.sidecars.clock.advance_ms(5_000);
        for late in [false, true] {
            assert!(!opened.commits(&held, late).await, "what was held for it may have come back: {late}");
        }
        assert!(!opened.is_done_by(expire(&opened.team, &id("r"), &held, &Policy::default())).await);
        opened.ends_with_charges(0).await;
    }
}

/// The expiry of one opening does not prevent that the other one is released or extended.
#[tokio::test]
async fn an_expired_opening_does_not_block_the_other_one() {
    let opened = OpenedTwice::stage().await;
    let call = settle("r", &opened.second_grant);
    assert!(!opened.third.release(call).await.unwrap().replayed);
    let late = commit(&opened.third, "r", &opened.first_grant).await;
    assert!(matches!(late, Err(GateError::ReservationReleased)), "{late:?}");
    opened.ends_with_charges(0).await;

    let opened = OpenedTwice::stage().await;
    let expires_at_ms = opened.third.extend(settle("r", &opened.second_grant), 600_000).await.unwrap();
    assert_eq!(expires_at_ms, NOW_MS + 660_000);
    opened.sidecars.clock.advance_ms(500_000);
    opened.third.sweep().await.unwrap();
    assert!(
        !commit(&opened.third, "r", b"").await.unwrap().late,
        "an extended reservation has a record that is not purged"
    );
    opened.ends_with_charges(1).await;
}

#[tokio::test]
async fn of_two_openings_that_both_expired_one_is_committed_late() {
    for first_grant in [true, false] {
        let opened = OpenedTwice::stage().await;
        opened.sidecars.clock.advance_ms(5_000);
        catch_up(&opened.second, 0).await;
        let grant = if first_grant { &opened.first_grant } else { &opened.second_grant };
        let committed = commit(&opened.third, "r", grant).await.unwrap();
        assert_eq!((committed.credits, committed.late, committed.replayed), (25, true, false));
        opened.ends_with_charges(1).await;
    }
}

/// However short the retention of commits is set, a grant is charged once.
#[tokio::test]
async fn a_short_commit_retention_still_charges_a_grant_once() {
    for extended in [false, true] {
        let sidecars = Sidecars::in_memory().await;
        let (dead, other) = (sidecars.with_retention(1_000).await, sidecars.with_retention(1_000).await);
        let team = team(&dead, false, 1_000).await;
        let long = ReserveCall { hold_ms: HOLD_MS, ..call("committed", 1) };
        let grant = reserve(&dead, long).await.grant;
        // The rest of the lease would pay for it again.
        open(&dead, "abandoned", 1).await;
        drop(dead);
        if extended {
            other.extend(settle("committed", &grant), HOLD_MS + 1_000).await.unwrap();
        }
        commit(&other, "committed", &grant).await.unwrap();
        for _ in 0..120 {
            sidecars.clock.advance_ms(5_000);
            other.sweep().await.unwrap();
            let again = commit(&other, "committed", &grant).await;
            assert!(
                matches!(&again, Ok(answer) if answer.replayed) || matches!(again, Err(GateError::ReservationNotFound)),
                "{again:?}"
            );
        }
        let forgotten = other.reservation(&team, &id("committed")).await;
        assert!(matches!(forgotten, Err(GateError::ReservationNotFound)), "{forgotten:?}");
        let account = account(&other).await;
        assert_eq!((account.used, account.held, account.leased), (25, 0, 0));
    }
}

async fn holds(sidecars: &Sidecars, team: &Id) -> Vec<Hold> {
    let mut query = HoldsQuery::new(team);
    let reply = sidecars.store.transact(query.transaction.take()).await.unwrap();
    query.holds(&reply).unwrap()
}

/// The second sidecar that ends a lease finds it ended. A hold without a lease is recognized.
#[tokio::test]
async fn a_lease_ends_once_and_an_orphaned_hold_is_recognized() {
    let sidecars = Sidecars::in_memory().await;
    let gate = sidecars.one().await;
    let team = team(&gate, false, 1_000).await;
    for (name, is_damaged) in [("r", false), ("s", true)] {
        // The whole lease is drawn and settled, so that its record is removed.
        for name in [format!("{name}-1"), format!("{name}-2")] {
            let grant = open(&gate, &name, 1).await;
            commit(&gate, &name, &grant).await.unwrap();
        }
        assert_eq!(account(&gate).await.leased, 0);
        let hold = holds(&sidecars, &team).await.pop().unwrap();
        let Holder::Lease(lease) = &hold.holder else { panic!("it is a lease's: {hold:?}") };
        sidecars.clock.advance_ms(TERM_MS + HOLD_MS + MARGIN_MS);
        if is_damaged {
            let mut damage = Transaction::on(keys::team(&team));
            let record = damage.record(keys::lease(lease), Read::Nothing);
            damage.option(Vec::new(), vec![Write::Delete(record)]);
            sidecars.store.transact(damage).await.unwrap();
        }
        let mut verdicts = Vec::new();
        for _ in 0..2 {
            let now_ms = sidecars.clock.now_ms();
            let mut step = Reclaim::new(&team, lease, &hold, now_ms, &Policy::default());
            let reply = sidecars.store.transact(step.transaction.take()).await.unwrap();
            verdicts.push(step.verdict(&reply).unwrap());
        }
        let expected = if is_damaged { ReclaimVerdict::NoLease } else { ReclaimVerdict::Done };
        assert_eq!(verdicts, [expected; 2]);
        gate.sweep().await.unwrap();
        assert_eq!(holds(&sidecars, &team).await, [], "a sweep removes the rest");
    }
}

/// Leases that were being returned when the background tasks were stopped are returned with the others.
#[tokio::test]
async fn a_return_in_flight_at_shutdown_is_completed() {
    let sidecars = Sidecars::on_redis().await;
    let gate = sidecars.one().await;
    let teams: Vec<Id> = (0..40).map(|number| id(&format!("team-{number}"))).collect();
    for team in &teams {
        gate.put_team(team, &settings(tollgate::domain::plan::Plan::Basic, false, 1_000), "test").await.unwrap();
        let grant = reserve(&gate, ReserveCall { team: team.clone(), ..call("r", 1) }).await.grant;
        assert!(!grant.is_empty());
    }
    {
        let mut giving_back = std::pin::pin!(gate.give_everything_back());
        assert!(futures::poll!(&mut giving_back).is_pending(), "it waits for the store");
    }
    gate.give_everything_back().await;
    for team in &teams {
        let page = tollgate::gate::calls::Page { size: 1, token: String::new() };
        let account = gate.usage(team, None, &page).await.unwrap().balance.account;
        assert_eq!((account.leased, account.held), (0, 25), "{team}");
    }
}
