//! Release: gives the credits of a reservation back.

use std::sync::Arc;

use super::{Settled, Settlements};
use crate::{
    domain::{expire::expire, release::release, reservation::State, settlement::read_reservation},
    gate::{
        calls::{ReleaseAnswer, SettleCall},
        error::GateError,
    },
};

impl Settlements {
    /// Gives the credits of a reservation back.
    pub(crate) async fn release(self: &Arc<Self>, call: SettleCall) -> Result<ReleaseAnswer, GateError> {
        let settlements = Arc::clone(self);
        self.carry_out(async move { settlements.release_now(call).await }).await
    }

    async fn release_now(&self, call: SettleCall) -> Result<ReleaseAnswer, GateError> {
        let store = &self.store;
        let catalogue = store.fresh_catalogue().await?;
        let mut target = self.target(&call).await?;
        loop {
            let assumed = &target.assumed;
            let is_due = assumed.reservation.is_due(store.now_ms());
            let is_open = assumed.reservation.state == State::Open;
            let step = match (is_open, is_due) {
                (true, false) => release(&call.team, &call.reservation, assumed, store.policy()),
                (true, true) => expire(&call.team, &call.reservation, assumed, store.policy()),
                (false, _) => read_reservation(&call.team, &call.reservation, assumed),
            };
            let Some(settled) = self.round(&catalogue, &mut target, step).await? else {
                continue;
            };
            let Settled { reservation: settled, balance, applied } = settled;
            return match settled.state {
                State::Released => {
                    self.recent.remember(&call.team, &call.reservation, &settled);
                    Ok(ReleaseAnswer { balance, replayed: !applied })
                }
                // The hold ran out first, so its credits are back already.
                State::Expired => Ok(ReleaseAnswer { balance, replayed: false }),
                State::Committed(_) => Err(GateError::ReservationCommitted),
                State::Open => Err(GateError::Unverified),
            };
        }
    }
}
