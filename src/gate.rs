//! Placeholder until the gate lands: signatures only.
#![allow(missing_docs, clippy::todo, unused_variables)]
pub mod calls;
mod error;
use crate::{
    clock::Clock,
    domain::{
        charge::Charge, id::Id, policy::Policy, rate_card::RateCard, reservation::Reservation, terms::Terms,
        terms_change::TeamSettings,
    },
    store::Store,
};
use calls::*;
pub use error::GateError;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[derive(Clone, Debug, Default)]
pub struct GateOptions {
    pub policy: Policy,
    pub clock: Clock,
}
#[derive(Debug)]
pub struct Gate;
impl Gate {
    /// Seeds the catalogue if there is none, and fetches it.
    pub async fn open(store: Store, options: GateOptions) -> Result<Arc<Self>, GateError> {
        todo!()
    }
    /// Sweeps and refreshes until cancelled.
    pub async fn run(&self, stop: CancellationToken) {
        todo!()
    }
    /// From now on CheckAndReserve and BeginRun are refused with GateError::Draining.
    pub fn begin_drain(&self) {
        todo!()
    }
    /// Waits until commits and releases that are being carried out have finished.
    pub async fn settled(&self) {
        todo!()
    }
    pub async fn check_and_reserve(&self, call: ReserveCall) -> Result<ReserveAnswer, GateError> {
        todo!()
    }
    /// Carried out even if the caller goes away (spawned inside).
    pub async fn commit(self: &Arc<Self>, call: SettleCall, actual: ActualUse) -> Result<CommitAnswer, GateError> {
        todo!()
    }
    pub async fn release(self: &Arc<Self>, call: SettleCall) -> Result<ReleaseAnswer, GateError> {
        todo!()
    }
    /// When the hold runs out now, in Unix milliseconds.
    pub async fn extend(&self, call: SettleCall, hold_ms: i64) -> Result<i64, GateError> {
        todo!()
    }
    pub async fn reservation(&self, team: &Id, id: &Id) -> Result<Reservation, GateError> {
        todo!()
    }
    pub async fn begin_run(&self, team: &Id, flow: &Id, run: &Id) -> Result<BeginRunAnswer, GateError> {
        todo!()
    }
    pub async fn end_run(&self, team: &Id, run: &Id) -> Result<EndRunAnswer, GateError> {
        todo!()
    }
    pub async fn put_team(&self, team: &Id, settings: &TeamSettings, caller: &str) -> Result<Terms, GateError> {
        todo!()
    }
    pub async fn set_overages(
        &self,
        team: &Id,
        enabled: bool,
        cap_blocks: Option<u32>,
        caller: &str,
    ) -> Result<Terms, GateError> {
        todo!()
    }
    pub async fn team(&self, team: &Id) -> Result<Terms, GateError> {
        todo!()
    }
    pub async fn teams(&self, page: &Page) -> Result<Paged<(Id, Terms)>, GateError> {
        todo!()
    }
    pub async fn put_rate_card(&self, card: RateCard, caller: &str) -> Result<RateCard, GateError> {
        todo!()
    }
    pub async fn rate_card(&self, at_ms: Option<i64>) -> Result<RateCard, GateError> {
        todo!()
    }
    pub async fn rate_cards(&self, page: &Page) -> Result<Paged<RateCard>, GateError> {
        todo!()
    }
    pub async fn usage(&self, team: &Id, at_ms: Option<i64>, page: &Page) -> Result<UsageAnswer, GateError> {
        todo!()
    }
    pub async fn charges(
        &self,
        team: Option<&Id>,
        at_ms: Option<i64>,
        page: &Page,
    ) -> Result<Paged<Charge>, GateError> {
        todo!()
    }
}
