//! What a call to CheckAndReserve costs, and what its decision starts from.

use crate::{
    cache::TeamSnapshot,
    domain::{
        catalogue::VersionedCatalogue, id::Id, rate_card::Rate, reservation::Content, reserve::Price, terms::Terms,
    },
    gate::{calls::ReserveCall, error::GateError},
};

/// A call with its price, under the terms and the rate card that were last seen.
pub(super) struct Priced {
    pub(super) content: Content,
    pub(super) price: Price,
}

/// A priced call, and what its decision starts from.
pub(super) struct ReserveContext<'a> {
    pub(super) priced: &'a Priced,
    pub(super) team: &'a TeamSnapshot,
    pub(super) catalogue: &'a VersionedCatalogue,
    /// The sidecar's clock, in milliseconds.
    pub(super) at_ms: i64,
    /// The estimated time of the store at `at_ms`, in Unix milliseconds.
    pub(super) now_ms: i64,
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
    // Most calls name the model as the card does. An alias is replaced by the card's name.
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
