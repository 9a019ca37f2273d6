//! Builds the Proceed answers of CheckAndReserve: for a new reservation, and for a repeated call.

use bytes::Bytes;

use crate::{
    domain::{
        catalogue::VersionedCatalogue,
        id::Id,
        reservation::{Reservation, State},
    },
    gate::{
        calls::{Balance, Proceed, ReserveAnswer, ReserveCall, ReserveDecision},
        error::GateError,
    },
};

/// Answers a call whose id has a reservation. The answer is that of the first call, if this one has the same content.
///
/// # Errors
/// [`GateError::IdReused`] if the content differs, [`GateError::ReservationReleased`] if the reservation was released.
pub(super) fn replay(
    call: &ReserveCall,
    id: Id,
    existing: Reservation,
    grant: Bytes,
    catalogue: &VersionedCatalogue,
    balance: Balance,
) -> Result<ReserveAnswer, GateError> {
    let content = &existing.content;
    // The call may name the model by an alias. The reservation's own card resolves it.
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

/// Returns the grant of a reservation that has a record. It is empty unless the reservation is open.
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
