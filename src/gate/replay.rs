//! Answers to CheckAndReserve that proceed: the first one, and those of repeats.

use bytes::Bytes;

use super::{
    GateError,
    calls::{Balance, Proceed, ReserveAnswer, ReserveCall, ReserveDecision},
};
use crate::domain::{
    catalogue::VersionedCatalogue,
    id::Id,
    reservation::{Reservation, State},
};

/// A repeat returns the first result, if it asks for the same.
pub(super) fn replay(
    call: &ReserveCall,
    id: Id,
    existing: Reservation,
    grant: Bytes,
    catalogue: &VersionedCatalogue,
    balance: Balance,
) -> Result<ReserveAnswer, GateError> {
    let content = &existing.content;
    // The model may have been named by an alias, which the reservation's own card resolves.
    let rate = catalogue.catalogue.rate(existing.terms.rate_card.as_str(), call.model.as_str());
    let same_model = call.model == content.model || rate.is_some_and(|rate| rate.model == content.model.as_str());
    let same = same_model
        && content.flow == call.flow
        && content.run == call.run
        && content.block == call.block
        && content.units == call.units
        && content.trigger == call.trigger;
    if !same {
        return Err(GateError::IdReused { what: "reservation_id" });
    }
    if existing.state == State::Released {
        return Err(GateError::ReservationReleased);
    }
    let grant = if existing.state == State::Open { grant } else { Bytes::new() };
    Ok(proceed(Some(id), existing, grant, true, balance))
}

/// What the caller settles a reservation with that has a record.
pub(super) fn grant_of(reservation: &Reservation) -> Bytes {
    if reservation.state == State::Open { Bytes::from(reservation.packed()) } else { Bytes::new() }
}

/// Makes the answer to a call whose credits are held.
pub(super) fn proceed(
    id: Option<Id>,
    reservation: Reservation,
    grant: Bytes,
    replayed: bool,
    balance: Balance,
) -> ReserveAnswer {
    ReserveAnswer { decision: ReserveDecision::Proceed(Proceed { id, reservation, grant, replayed }), balance }
}
