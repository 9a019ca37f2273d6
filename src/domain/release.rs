//! Release: the caller gives an open reservation's credits back.

use super::{
    account::before,
    id::Id,
    policy::Policy,
    reservation::{BackedReservation, State},
    settlement::Settlement,
};
use crate::transaction::Linear;

/// Builds the transaction that releases a reservation. It assumes that the reservation is open and not due.
pub fn release(team: &Id, id: &Id, held: &BackedReservation, policy: &Policy) -> Settlement {
    let reservation = &held.reservation;
    let mut step = Settlement::of(team, id, held);
    step.transaction.require(before(reservation.expires_at_ms));
    let mut writes = step.settle(&State::Released, Linear::now_plus(0), policy.unsettled_retention_ms);
    writes.extend(step.give_back());
    step.transaction.option(Vec::new(), writes);
    step
}
