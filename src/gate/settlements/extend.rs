//! Extend: holds the credits of a reservation longer.

use super::Settlements;
use crate::{
    domain::{
        extend::extend,
        reservation::{Backing, State},
        settlement::read_reservation,
    },
    gate::{calls::SettleCall, error::GateError},
};

impl Settlements {
    /// Holds the credits of a reservation longer. Returns when the hold runs out, in Unix milliseconds.
    pub(crate) async fn extend(&self, call: SettleCall, hold_ms: i64) -> Result<i64, GateError> {
        let store = &self.store;
        let catalogue = store.fresh_catalogue().await?;
        let mut target = self.target(&call).await?;
        loop {
            let assumed = &target.assumed;
            if matches!(assumed.backing, Backing::Lease { reclaimed: true, .. }) {
                // The store says that the lease has ended. The grant may name a later end.
                return Err(GateError::ReservationExpired);
            }
            let is_open = assumed.reservation.clone().at(store.now_ms()).state == State::Open;
            let step = if is_open {
                extend(&call.team, &call.reservation, assumed, hold_ms)
            } else {
                read_reservation(&call.team, &call.reservation, assumed)
            };
            let Some(settled) = self.round(&catalogue, &mut target, step).await? else {
                continue;
            };
            let extended = settled.reservation;
            return match extended.state {
                // The hold only seemed to have run out: the estimate was ahead of the store's time, which the reply has
                // corrected.
                State::Open if !is_open => {
                    target.attempts.stale(store.metrics())?;
                    continue;
                }
                State::Open => {
                    self.recent.remember(&call.team, &call.reservation, &extended);
                    Ok(extended.expires_at_ms)
                }
                State::Committed(_) => Err(GateError::ReservationCommitted),
                State::Released => Err(GateError::ReservationReleased),
                State::Expired => Err(GateError::ReservationExpired),
            };
        }
    }
}
