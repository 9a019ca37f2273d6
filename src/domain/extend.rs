//! Extend: the credits of an open reservation are held longer, never shorter.

use super::{account::before, id::Id, policy::MAX_HOLD_AGE_MS, reservation::BackedReservation, settlement::Settlement};
use crate::transaction::{Guard, Linear, Value};

/// Builds the transaction that writes a record for a reservation that was opened from a lease. The hold keeps its end.
pub fn record(team: &Id, id: &Id, held: &BackedReservation) -> Settlement {
    let expires_at_ms = held.reservation.expires_at_ms;
    let mut step = Settlement::of(team, id, held);
    step.transaction.require(before(expires_at_ms));
    if step.held_counter().is_some() {
        let recorded = step.extend(expires_at_ms.into());
        step.transaction.option(Vec::new(), recorded);
    }
    step
}

/// Builds the transaction that sets the end of a hold to max(current end, now + `hold_ms`), at most [`MAX_HOLD_AGE_MS`]
/// after the reservation was made. It assumes that the reservation is open and not due.
///
/// If the lease that the reservation was opened from was reclaimed, no credits are held any more, even if the grant
/// says so. Then the transaction has no option and only reads.
pub fn extend(team: &Id, id: &Id, held: &BackedReservation, hold_ms: i64) -> Settlement {
    let reservation = &held.reservation;
    let mut step = Settlement::of(team, id, held);
    step.transaction.require(before(reservation.expires_at_ms));
    if step.held_counter().is_none() {
        return step;
    }
    let latest_ms = reservation.created_at_ms + MAX_HOLD_AGE_MS;
    let current_end = Linear::constant(reservation.expires_at_ms);
    let extended_end = Value::Greatest(vec![current_end, Linear::now_plus(hold_ms)]);
    let within = Guard::AtMostZero(Linear::now_plus(hold_ms - latest_ms));
    let extended = step.extend(extended_end);
    step.transaction.option(vec![within], extended);
    let capped = step.extend(latest_ms.into());
    step.transaction.option(Vec::new(), capped);
    step
}
