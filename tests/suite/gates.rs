//! The gate on a store in memory: two sidecars on one store, and sidecars whose clocks, views or grants are wrong.

use std::sync::Arc;

use super::support::{STORE_WAIT, alive, wait_for};
use bytes::Bytes;
use tollgate::{
    clock::{Clock, ManualClock},
    domain::{
        commit::{CommitAssumptions, commit},
        id::Id,
        keys,
        plan::Plan,
        policy::Policy,
        rate_card::RateCard,
        reservation::{Charged, Reservation, Trigger},
        run_admission::{EndRun, EndVerdict},
        terms_change::TeamSettings,
    },
    gate::{
        Gate, GateOptions,
        calls::{ActualUse, Page, Proceed, ReserveAnswer, ReserveCall, ReserveDecision, SettleCall},
    },
    store::{Store, StoreLocation, StoreOptions},
    transaction::{Outcome, Read, Transaction, Write},
};

/// 2026-01-10T00:00:00Z.
const NOW_MS: i64 = 1_768_003_200_000;
const DAY_MS: i64 = 86_400_000;

/// Sidecars that share a store and its clock.
struct Sidecars {
    store: Store,
    clock: ManualClock,
}

fn id(text: &str) -> Id {
    Id::parse(text).unwrap()
}

impl Sidecars {
    async fn new() -> Self {
        let clock = ManualClock::at(NOW_MS);
        let options = StoreOptions { clock: Clock::Manual(clock.clone()), wait: STORE_WAIT, ..StoreOptions::default() };
        Self { store: Store::open(&StoreLocation::Memory, options).await.unwrap(), clock }
    }

    async fn one(&self) -> Arc<Gate> {
        self.with_clock(&self.clock).await
    }

    /// A sidecar with a clock of its own. It accepts rate cards without notice.
    async fn with_clock(&self, clock: &ManualClock) -> Arc<Gate> {
        let policy = Policy { rate_card_notice_ms: 0, ..Policy::default() };
        let options = GateOptions { clock: Clock::Manual(clock.clone()), policy, ..GateOptions::default() };
        Gate::open(self.store.clone(), options).await.unwrap()
    }
}

/// Creates a team with these included credits. Switches overages on if it is professional.
async fn team(gate: &Gate, team: &str, plan: Plan, paid_seat: bool, included: i64) -> Id {
    let settings = TeamSettings { plan, paid_seat, anchor_day: 1, included_override: Some(included) };
    gate.put_team(&id(team), &settings, "test").await.unwrap();
    if plan == Plan::Professional {
        gate.set_overages(&id(team), true, None, "test").await.unwrap();
    }
    id(team)
}

/// A call that costs 25 credits a unit.
pub(super) fn call(team: &Id, reservation: &str, units: u32) -> ReserveCall {
    ReserveCall {
        team: team.clone(),
        flow: id("flow"),
        run: Some(id("run")),
        block: Some(id("block")),
        reservation: Some(id(reservation)),
        model: id("gpt-4"),
        units,
        trigger: Trigger::Run,
        hold_ms: 60_000,
        dry_run: false,
    }
}

pub(super) fn settle(team: &Id, reservation: &str, grant: &[u8]) -> SettleCall {
    SettleCall { team: team.clone(), reservation: id(reservation), grant: Bytes::copy_from_slice(grant) }
}

fn granted(answer: ReserveAnswer) -> Proceed {
    match answer.decision {
        ReserveDecision::Proceed(proceed) => proceed,
        ReserveDecision::Suspend(suspend) => panic!("suspended: {suspend:?}"),
    }
}

async fn reserve(gate: &Arc<Gate>, call: ReserveCall) -> Proceed {
    granted(gate.check_and_reserve(call).await.unwrap())
}

fn page() -> Page {
    Page { size: 100, token: String::new() }
}

/// Several commits that each buy overage blocks are applied in one batch: none has to try again because of another.
#[tokio::test]
async fn commits_that_buy_blocks_do_not_conflict() {
    let sidecars = Sidecars::new().await;
    let gate = sidecars.one().await;
    let team = team(&gate, "team", Plan::Professional, true, 100).await;
    let mut steps = Vec::new();
    let mut account = None;
    let mut made = Vec::new();
    for name in ["a", "b", "c"] {
        let answer = gate.check_and_reserve(call(&team, name, 60)).await.unwrap();
        account = Some(answer.balance.account.clone());
        made.push((id(name), granted(answer).reservation.into()));
    }
    for (name, reservation) in &made {
        let charged = Charged { credits: 1_500, units: 60, model: id("gpt-4"), late: false };
        let assumptions = CommitAssumptions { account: account.as_ref(), ..CommitAssumptions::default() };
        let mut step = commit(&team, name, reservation, &charged, assumptions, &Policy::default());
        steps.push(step.transaction.take());
    }
    for reply in sidecars.store.transact_all(steps).await.unwrap() {
        assert!(matches!(reply.as_ref().unwrap().outcome, Outcome::Applied { .. }), "{reply:?}");
    }
    let charges = gate.charges(Some(&team), None, &page()).await.unwrap().items;
    let blocks: Vec<_> = charges.iter().map(|charge| charge.block).collect();
    assert_eq!(blocks, [1, 2, 3, 4, 5], "4,500 credits were used, and 100 are included");
}

/// A commit buys only the blocks that it needs now, although its sidecar has not seen that the allotment has grown.
#[tokio::test]
async fn commit_with_stale_view_buys_only_needed_blocks() {
    let sidecars = Sidecars::new().await;
    let (gate, other) = (sidecars.one().await, sidecars.one().await);
    let included = |credits| TeamSettings {
        plan: Plan::Professional,
        paid_seat: true,
        anchor_day: 1,
        included_override: Some(credits),
    };
    let team = team(&gate, "team", Plan::Professional, true, 500).await;
    reserve(&gate, call(&team, "a", 120)).await;
    other.put_team(&team, &included(2_900), "test").await.unwrap();
    let answer = gate.commit(settle(&team, "a", b""), ActualUse::default()).await.unwrap();
    let account = answer.balance.account;
    assert_eq!(
        (account.used, account.blocks),
        (3_000, 1),
        "the hold needed three blocks when it was made, and needs one now"
    );
}

/// 2026-02-01T00:00:00Z, when a cycle that starts on the first of a month ends.
const TURN_MS: i64 = 1_769_904_000_000;

/// A call belongs to the cycle that contains the store's time, although the sidecar's clock is behind.
#[tokio::test]
async fn store_time_decides_the_cycle_when_the_sidecar_clock_lags() {
    let sidecars = Sidecars::new().await;
    sidecars.clock.advance_to(TURN_MS - 2_000);
    let gate = sidecars.with_clock(&ManualClock::at(TURN_MS - 2_000)).await;
    let team = team(&gate, "team", Plan::Basic, true, 100).await;
    let before = reserve(&gate, call(&team, "before", 4)).await.reservation;
    sidecars.clock.advance_to(TURN_MS);
    let after = reserve(&gate, call(&team, "after", 4)).await.reservation;
    assert_eq!((before.terms.cycle.end_ms, after.terms.cycle.start_ms), (TURN_MS, TURN_MS));
}

/// A commit after its hold has run out is late by the store's time, although the sidecar's clock is behind.
#[tokio::test]
async fn commit_after_expiry_is_late_when_the_sidecar_clock_lags() {
    let sidecars = Sidecars::new().await;
    let gate = sidecars.with_clock(&ManualClock::at(NOW_MS)).await;
    let team = team(&gate, "team", Plan::Basic, true, 100).await;
    let mut short = call(&team, "short", 4);
    short.hold_ms = 2_000;
    reserve(&gate, short).await;
    sidecars.clock.advance_ms(2_000);
    assert!(gate.commit(settle(&team, "short", b""), ActualUse::default()).await.unwrap().late);
}

/// EndRun is applied at the first attempt and reports all commits, also one that came after it was prepared.
#[tokio::test]
async fn run_ends_in_one_step_despite_a_concurrent_commit() {
    let sidecars = Sidecars::new().await;
    let gate = sidecars.one().await;
    let team = team(&gate, "team", Plan::Basic, true, 1_000).await;
    reserve(&gate, call(&team, "a", 1)).await;
    let mut step = EndRun::new(&team, &id("run"));
    gate.commit(settle(&team, "a", b""), ActualUse::default()).await.unwrap();
    let reply = sidecars.store.transact(step.transaction.take()).await.unwrap();
    let Ok(EndVerdict::Ended(run)) = step.verdict(&reply) else { panic!("{reply:?}") };
    assert_eq!(run.ended_credits, 25);
    let again = gate.end_run(&team, &id("run")).await.unwrap();
    assert_eq!((again.credits, again.replayed), (25, true));
}

/// A cycle without charges has an empty list, not that of the cycle before it.
#[tokio::test]
async fn cycle_without_charges_does_not_list_those_of_others() {
    let sidecars = Sidecars::new().await;
    let gate = sidecars.one().await;
    let team = team(&gate, "team", Plan::Professional, true, 0).await;
    reserve(&gate, call(&team, "a", 1)).await;
    gate.commit(settle(&team, "a", b""), ActualUse::default()).await.unwrap();
    sidecars.clock.advance_ms(31 * DAY_MS);
    for (at_ms, expected) in [(NOW_MS, 1), (NOW_MS + 31 * DAY_MS, 0), (NOW_MS - 31 * DAY_MS, 0)] {
        let of_team = gate.charges(Some(&team), Some(at_ms), &page()).await.unwrap().items;
        let of_all = gate.charges(None, Some(at_ms), &page()).await.unwrap().items;
        assert_eq!((of_team.len(), of_all.len()), (expected, expected), "at {at_ms}");
    }
}

/// A forged grant with numbers that no store can contain has the same effect as no grant.
#[tokio::test]
async fn grant_with_impossible_numbers_is_ignored() {
    let sidecars = Sidecars::new().await;
    let gate = sidecars.one().await;
    let team = team(&gate, "team", Plan::Basic, true, 1_000).await;
    for (place, number) in [i64::MAX, i64::MIN, 1 << 60, -(1 << 60)].into_iter().enumerate() {
        let spoils: [fn(&mut Reservation, i64); 5] = [
            |made, number| made.terms.credits = number,
            |made, number| made.terms.cycle.start_ms = number,
            |made, number| made.terms.cycle.end_ms = number,
            |made, number| made.created_at_ms = number,
            |made, number| made.expires_at_ms = number,
        ];
        for (field, spoil) in spoils.into_iter().enumerate() {
            let name = format!("r-{place}-{field}");
            let mut forged = reserve(&gate, call(&team, &name, 1)).await.reservation;
            spoil(&mut forged, number);
            let grant = forged.packed();
            gate.extend(settle(&team, &name, grant.as_bytes()), 90_000).await.unwrap();
            let committed = gate.commit(settle(&team, &name, grant.as_bytes()), ActualUse::default()).await.unwrap();
            assert_eq!(committed.credits, 25, "{grant}");
        }
    }
}

/// The store's time decides which rate card prices a call, also when the sidecar's clock runs ahead or stood still.
#[tokio::test]
async fn store_time_decides_the_rate_card() {
    let sidecars = Sidecars::new().await;
    let own = ManualClock::at(0);
    let (gate, other) = (sidecars.with_clock(&own).await, sidecars.one().await);
    let team = team(&gate, "team", Plan::Basic, true, 1_000).await;
    let card = RateCard { version: "next".to_owned(), effective_at_ms: NOW_MS + 10_000, ..RateCard::shipped() };
    other.put_rate_card(card, "test").await.unwrap();
    let card_of = async |name| reserve(&gate, call(&team, name, 1)).await.reservation.terms.rate_card.to_string();

    gate.rate_card(None).await.unwrap();
    own.advance_ms(20_000);
    assert_eq!(card_of("early").await, "2025-01-22", "the sidecar's clock ran ahead");

    sidecars.clock.advance_ms(9_999);
    assert_eq!(card_of("last").await, "2025-01-22");
    sidecars.clock.advance_ms(1);
    assert_eq!(card_of("first").await, "next");

    let card = RateCard { version: "last".to_owned(), effective_at_ms: NOW_MS + 20_000, ..RateCard::shipped() };
    other.put_rate_card(card, "test").await.unwrap();
    sidecars.clock.advance_ms(3_600_000);
    assert_eq!(card_of("late").await, "last", "the sidecar's machine slept, and has not seen the announcement");
}

/// A hold that has run out by the sidecar's estimate, but not by the store's clock, is extended.
#[tokio::test]
async fn hold_that_only_seems_expired_is_extended() {
    let sidecars = Sidecars::new().await;
    let own = ManualClock::at(0);
    let gate = sidecars.with_clock(&own).await;
    let team = team(&gate, "team", Plan::Basic, true, 1_000).await;
    reserve(&gate, call(&team, "a", 1)).await;
    own.advance_ms(60_000);
    let expires_at_ms = gate.extend(settle(&team, "a", b""), 90_000).await.unwrap();
    assert_eq!(expires_at_ms, NOW_MS + 90_000);
}

/// A team with more abandoned reservations than one visit expires is visited again at once.
#[tokio::test]
async fn large_backlog_of_a_team_is_swept_without_pause() {
    let sidecars = Sidecars::new().await;
    let gate = sidecars.one().await;
    let busy = team(&gate, "busy", Plan::Professional, true, 1_000_000).await;
    for number in 0..4_200 {
        reserve(&gate, call(&busy, &format!("r-{number}"), 1)).await;
    }
    sidecars.clock.advance_ms(DAY_MS);

    let next = sidecars.one().await;
    let (stop, running) = alive(&next);
    let held = async || gate.usage(&busy, None, &page()).await.unwrap().balance.account.held;
    wait_for("all credits to come back", async || (held().await == 0).then_some(())).await;
    drop(stop);
    running.await.unwrap();
}

/// A team whose records are damaged does not keep the sweeper from giving the credits of other teams back.
#[tokio::test]
async fn damaged_team_does_not_stop_the_sweep_of_others() {
    let sidecars = Sidecars::new().await;
    let gate = sidecars.one().await;
    let damaged = team(&gate, "a", Plan::Basic, true, 1_000).await;
    let sound = team(&gate, "b", Plan::Basic, true, 1_000).await;
    reserve(&gate, call(&sound, "r", 1)).await;
    let mut step = Transaction::on(keys::team(&damaged));
    let holds = step.record(keys::open_holds(), Read::Nothing);
    step.option(vec![], vec![Write::IndexPut(holds, "no hold".to_owned(), 0.into())]);
    sidecars.store.transact(step).await.unwrap();
    sidecars.clock.advance_ms(60_000);

    let held = async || gate.usage(&sound, None, &page()).await.unwrap().balance.account.held;
    assert_eq!(held().await, 25);
    gate.sweep().await.unwrap();
    assert_eq!(held().await, 0);
}
