//! What a call to CheckAndReserve costs, and what its decision starts from.

use super::{GateError, calls::ReserveCall};
use crate::{
    cache::TeamSnapshot,
    domain::{
        account::Account, assumptions::Assumptions, catalogue::VersionedCatalogue, id::Id, rate_card::Rate,
        reservation::Content, reserve::Price, terms::Terms,
    },
};

/// A call that has been priced, on what is believed now.
pub(super) struct Priced {
    pub(super) content: Content,
    pub(super) price: Price,
}

/// What is believed of a call before the store is asked.
pub(super) struct Beliefs<'a> {
    pub(super) priced: &'a Priced,
    pub(super) believed: &'a TeamSnapshot,
    pub(super) catalogue: &'a VersionedCatalogue,
    /// Our clock, in milliseconds.
    pub(super) at_ms: i64,
    /// What the store's clock showed then, in Unix milliseconds.
    pub(super) now_ms: i64,
}

/// What a transaction on the current cycle is built from.
pub(super) fn belief<'a>(
    believed: &'a TeamSnapshot,
    catalogue: &'a VersionedCatalogue,
    now_ms: i64,
) -> Assumptions<'a> {
    let cycle = believed.terms.anchor.cycle_at(now_ms);
    let account = believed.account.as_ref().filter(|account| account.cycle == cycle);
    Assumptions {
        terms: &believed.terms,
        catalogue: &catalogue.catalogue,
        account_exists: account.is_some(),
        remaining: account.map(Account::remaining),
        recall_leases_first: true,
        now_ms,
    }
}

/// Prices a call by the card that is in effect at a time of the store, in Unix milliseconds.
///
/// # Errors
/// [`GateError::UnknownModel`] if the card has no rate for the model.
pub(super) fn price(
    call: &ReserveCall,
    terms: &Terms,
    catalogue: &VersionedCatalogue,
    now_ms: i64,
) -> Result<Priced, GateError> {
    let unknown = |card: &str| GateError::UnknownModel { model: call.model.to_string(), rate_card: card.to_owned() };
    let card = catalogue.card_in_effect(now_ms).ok_or_else(|| unknown("in effect"))?;
    let rate: &Rate = card.card.rate(call.model.as_str()).ok_or_else(|| unknown(&card.card.version))?;
    // Most name a model as the card does.
    let model = match rate.model.as_str() {
        name if name == call.model.as_str() => call.model.clone(),
        name => Id::parse(name).map_err(|_| unknown(&card.card.version))?,
    };
    Ok(Priced {
        content: Content {
            flow: call.flow.clone(),
            run: call.run.clone(),
            block: call.block.clone(),
            model,
            units: call.units,
            trigger: call.trigger,
        },
        price: Price {
            credits: rate.price(terms.plan, call.units),
            rate_card: card.id.clone(),
            valid_ms: card.valid_ms,
        },
    })
}
