//! Rate cards as text: the input of `rates put`, in the same format as in a configuration file, and the output of `rates list
//! --json`. The sidecar checks the content and the time of effect.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    config::{ConfigError, DocumentFormat, rate_card},
    operator::timestamp::rfc3339,
    proto::v1,
    service,
};

/// A rate card in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct CardText {
    version: String,
    /// Time of effect, in RFC 3339.
    effective_at: String,
    rates: Vec<RateText>,
}

/// The price of one model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct RateText {
    model: String,
    aliases: Vec<String>,
    unit: &'static str,
    credits: i64,
    credits_by_plan: BTreeMap<String, i64>,
}

/// Parses a rate card. A text that begins with a brace is JSON, any other text is TOML.
pub(super) fn parse(text: &str) -> Result<v1::RateCard, ConfigError> {
    let format = if text.trim_start().starts_with('{') { DocumentFormat::Json } else { DocumentFormat::Toml };
    rate_card::parse(text, format).map(service::rate_card_message)
}

impl CardText {
    /// Converts a card of the gRPC contract.
    pub(super) fn of(card: v1::RateCard) -> Self {
        let rates = card.rates.into_iter().map(|rate| RateText {
            unit: match rate.unit() {
                v1::Unit::Call => "call",
                v1::Unit::Image => "image",
                // A unit that this version does not know can be listed, but not put.
                v1::Unit::Unspecified => "unknown",
            },
            model: rate.model,
            aliases: rate.aliases,
            credits: rate.credits,
            credits_by_plan: rate.credits_by_plan.into_iter().collect(),
        });
        Self { version: card.version, effective_at: rfc3339(card.effective_at), rates: rates.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = r#"
        version = "2027"
        effective_at = 2027-01-01T00:00:00Z

        [[rates]]
        model = "gpt-4o"
        aliases = ["4o"]
        unit = "call"
        credits = 2

        [[rates]]
        model = "dall-e-3"
        unit = "image"
        credits = 5
        credits_by_plan = { free = 10 }
    "#;

    #[test]
    fn a_listed_card_can_be_put() {
        let card = parse(TOML).unwrap();
        assert_eq!((card.rates[0].unit(), card.rates[1].unit()), (v1::Unit::Call, v1::Unit::Image));
        assert_eq!(card.rates[1].credits_by_plan["free"], 10);
        let listed = serde_json::to_string_pretty(&CardText::of(card.clone())).unwrap();
        assert_eq!(parse(&listed), Ok(card));
    }
}
