//! Gates on one store, and the calls that tests send to them.

use std::sync::Arc;

use bytes::Bytes;
use tollgate::{
    clock::{Clock, ManualClock},
    domain::{
        account::Account,
        id::Id,
        plan::Plan,
        policy::Policy,
        reservation::{BackedReservation, Backing, read_grant},
        terms_change::TeamSettings,
    },
    gate::{
        Gate, GateError, GateOptions,
        calls::{ActualUse, CommitAnswer, Page, Proceed, ReserveAnswer, ReserveCall, ReserveDecision, SettleCall},
    },
    metrics::Metrics,
    store::{Store, StoreLocation, StoreOptions},
};

use crate::suite::{
    gates,
    support::{
        Leasing, STORE_WAIT, escrow,
        monitor::Monitor,
        servers::{Engine, Server},
    },
};

/// 2026-01-10T00:00:00Z.
pub(super) const NOW_MS: i64 = 1_768_003_200_000;

/// Lease term and maximum hold of the gates, in milliseconds.
pub(super) const TERM_MS: i64 = 10_000;
pub(super) const HOLD_MS: i64 = 120_000;

/// Maximum difference between clocks during the life of a lease, in milliseconds.
pub(super) const MARGIN_MS: i64 = 1_000;

/// Sidecars that share a store and its clock.
pub(super) struct Sidecars {
    pub(super) store: Store,
    pub(super) clock: ManualClock,
    server: Option<Server>,
}

impl Sidecars {
    pub(super) async fn in_memory() -> Self {
        Self::on(&StoreLocation::Memory, None).await
    }

    pub(super) async fn on_redis() -> Self {
        let server = Server::start(Engine::Redis);
        Self::on(&server.location(), Some(server)).await
    }

    async fn on(location: &StoreLocation, server: Option<Server>) -> Self {
        let clock = ManualClock::at(NOW_MS);
        let options = StoreOptions { clock: Clock::Manual(clock.clone()), wait: STORE_WAIT, ..StoreOptions::default() };
        Self { store: Store::open(location, options).await.unwrap(), clock, server }
    }

    /// Starts to record what the server receives.
    pub(super) fn monitor(&self) -> Monitor {
        Monitor::of(self.server.as_ref().expect("on Redis"))
    }

    /// Returns a gate that takes leases at once and does nothing in the background.
    pub(super) async fn one(&self) -> Arc<Gate> {
        self.with(Leasing::AtOnce, &self.clock).await
    }

    /// Returns a gate with a clock of its own.
    pub(super) async fn with_clock(&self, clock: &ManualClock) -> Arc<Gate> {
        self.with(Leasing::AtOnce, clock).await
    }

    /// Returns a gate that accepts rate cards at short notice.
    pub(super) async fn with(&self, leasing: Leasing, clock: &ManualClock) -> Arc<Gate> {
        self.with_policy(leasing, clock, Policy { rate_card_notice_ms: 0, ..Policy::default() }).await
    }

    /// Returns a gate with this retention of commits, in milliseconds.
    pub(super) async fn with_retention(&self, committed_retention_ms: i64) -> Arc<Gate> {
        let policy = Policy { committed_retention_ms, ..Policy::default() };
        self.with_policy(Leasing::AtOnce, &self.clock, policy).await
    }

    /// Returns a gate and its metrics.
    pub(super) async fn counted(&self, leasing: Leasing, clock: &ManualClock) -> (Arc<Gate>, Metrics) {
        let metrics = Metrics::new(&StoreLocation::Memory, 0).unwrap();
        let (clock, escrow) = (Clock::Manual(clock.clone()), escrow(leasing));
        let options = GateOptions { clock, escrow, metrics: Arc::clone(metrics.gate()), ..GateOptions::default() };
        let gate = Gate::open(self.store.clone(), options).await.unwrap();
        let looked_at = Arc::downgrade(&gate);
        metrics.gate().read_holdings_from(move || looked_at.upgrade().map(|gate| gate.holdings()).unwrap_or_default());
        (gate, metrics)
    }

    async fn with_policy(&self, leasing: Leasing, clock: &ManualClock, policy: Policy) -> Arc<Gate> {
        let escrow = escrow(leasing);
        let options = GateOptions { clock: Clock::Manual(clock.clone()), policy, escrow, ..GateOptions::default() };
        Gate::open(self.store.clone(), options).await.unwrap()
    }
}

pub(super) fn id(text: &str) -> Id {
    Id::parse(text).unwrap()
}

pub(super) fn settings(plan: Plan, paid_seat: bool, included: i64) -> TeamSettings {
    TeamSettings { plan, paid_seat, anchor_day: 1, included_override: Some(included) }
}

/// Creates a team on basic with these included credits.
pub(super) async fn team(gate: &Gate, paid_seat: bool, included: i64) -> Id {
    gate.put_team(&id("team"), &settings(Plan::Basic, paid_seat, included), "test").await.unwrap();
    id("team")
}

/// Returns a call that costs 25 credits per unit.
pub(super) fn call(reservation: &str, units: u32) -> ReserveCall {
    gates::call(&id("team"), reservation, units)
}

pub(super) fn settle(reservation: &str, grant: &[u8]) -> SettleCall {
    gates::settle(&id("team"), reservation, grant)
}

pub(super) fn granted(answer: ReserveAnswer) -> Proceed {
    match answer.decision {
        ReserveDecision::Proceed(proceed) => proceed,
        ReserveDecision::Suspend(suspend) => panic!("suspended: {suspend:?}"),
    }
}

pub(super) async fn reserve(gate: &Arc<Gate>, call: ReserveCall) -> Proceed {
    granted(gate.check_and_reserve(call).await.unwrap())
}

pub(super) async fn refused(gate: &Arc<Gate>, call: ReserveCall) -> GateError {
    gate.check_and_reserve(call).await.expect_err("the call is refused")
}

/// Returns the lease that the reservation was opened from. `None` if it has a record.
pub(super) fn lease_of(proceed: &Proceed) -> Option<Id> {
    let held = read_grant(&proceed.grant, proceed.id.as_ref()?)?;
    match held {
        BackedReservation { backing: Backing::Lease { id, .. }, .. } => Some(id),
        BackedReservation { backing: Backing::Record, .. } => None,
    }
}

/// Opens a reservation from a lease. Returns its grant.
pub(super) async fn open(gate: &Arc<Gate>, reservation: &str, units: u32) -> Bytes {
    let proceed = reserve(gate, call(reservation, units)).await;
    assert!(lease_of(&proceed).is_some(), "it is opened from a lease: {proceed:?}");
    proceed.grant
}

pub(super) async fn commit(gate: &Arc<Gate>, reservation: &str, grant: &[u8]) -> Result<CommitAnswer, GateError> {
    gate.commit(settle(reservation, grant), ActualUse::default()).await
}

/// Returns the team's account as the store has it.
pub(super) async fn account(gate: &Gate) -> Account {
    let page = Page { size: 1, token: String::new() };
    gate.usage(&id("team"), None, &page).await.unwrap().balance.account
}
