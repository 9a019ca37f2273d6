//! Commit: charges what a call has used.

use std::sync::Arc;

use super::{Settled, Settlements};
use crate::{
    domain::{
        catalogue::VersionedCatalogue,
        commit::{CommitAssumptions, commit},
        id::Id,
        reservation::{Charged, Reservation, ReservationTerms, State},
        settlement::read_reservation,
    },
    gate::{
        calls::{ActualUse, CommitAnswer, SettleCall},
        error::GateError,
    },
};

impl Settlements {
    /// Finalizes the cost of a reservation.
    pub(crate) async fn commit(
        self: &Arc<Self>,
        call: SettleCall,
        actual: ActualUse,
    ) -> Result<CommitAnswer, GateError> {
        let settlements = Arc::clone(self);
        self.carry_out(async move { settlements.commit_now(call, actual).await }).await
    }

    async fn commit_now(&self, call: SettleCall, actual: ActualUse) -> Result<CommitAnswer, GateError> {
        let store = &self.store;
        let catalogue = store.fresh_catalogue().await?;
        let mut target = self.target(&call).await?;
        loop {
            let assumed = &target.assumed;
            let reservation = &assumed.reservation;
            let now_ms = store.now_ms();
            let standing = reservation.clone().at(now_ms).state;
            let late = standing == State::Expired;
            let forgotten = assumed.is_forgotten(now_ms, store.policy());
            let is_charged = matches!(standing, State::Open | State::Expired) && !forgotten;
            let charge = is_charged.then(|| charged(reservation, &actual, &catalogue, late)).transpose();
            let step = match &charge {
                Ok(Some(charged)) => {
                    let assumptions = CommitAssumptions {
                        account: target.account.as_ref(),
                        recall_leases_first: target.attempts.may_recall(),
                    };
                    commit(&call.team, &call.reservation, assumed, charged, assumptions, store.policy())
                }
                // A forged grant may name any rate card. So an error of the price is returned only after the store has
                // confirmed the reservation.
                Ok(None) | Err(_) => read_reservation(&call.team, &call.reservation, assumed),
            };
            let Some(settled) = self.round(&catalogue, &mut target, step).await? else {
                continue;
            };
            let Settled { reservation: settled, balance, applied } = settled;
            return match settled.state.clone() {
                State::Committed(done) => {
                    self.recent.remember(&call.team, &call.reservation, &settled);
                    if !applied {
                        let again = charged(&settled, &actual, &catalogue, done.late)?;
                        if (again.units, &again.model) != (done.units, &done.model) {
                            return Err(GateError::IdReused { what: "reservation_id" });
                        }
                    }
                    Ok(CommitAnswer { credits: done.credits, balance, replayed: !applied, late: done.late })
                }
                State::Released => Err(GateError::ReservationReleased),
                State::Open | State::Expired => Err(charge.err().unwrap_or(GateError::Unverified)),
            };
        }
    }
}

/// Returns what a commit charges: the actual use, at the reservation's card and plan (rule 7).
fn charged(
    reservation: &Reservation,
    actual: &ActualUse,
    catalogue: &VersionedCatalogue,
    late: bool,
) -> Result<Charged, GateError> {
    let (content, terms) = (&reservation.content, &reservation.terms);
    let units = actual.units.unwrap_or(content.units);
    let Some(named) = &actual.model else {
        let model = content.model.clone();
        if units == content.units {
            return Ok(Charged { credits: terms.credits, units, model, late });
        }
        let credits = price(catalogue, terms, &model, units)?.0;
        return Ok(Charged { credits, units, model, late });
    };
    let (credits, model) = price(catalogue, terms, named, units)?;
    Ok(Charged { credits, units, model, late })
}

/// Returns the price of a model at the reservation's card and plan, and the card's name of the model.
fn price(
    catalogue: &VersionedCatalogue,
    terms: &ReservationTerms,
    model: &Id,
    units: u32,
) -> Result<(i64, Id), GateError> {
    let unknown = || GateError::UnknownModel { model: model.to_string(), rate_card: terms.rate_card.to_string() };
    let rate = catalogue.catalogue.rate(terms.rate_card.as_str(), model.as_str()).ok_or_else(unknown)?;
    let canonical = Id::parse(&rate.model).map_err(|_| unknown())?;
    Ok((rate.price(terms.plan, units), canonical))
}
