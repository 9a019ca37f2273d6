//! A rate card as text: what `rates put` reads and `rates list --json` writes. It knows the form; what may stand in it, the
//! sidecar says.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    operator::moment::{Moment, parse as parse_moment, rfc3339},
    proto::v1,
};

/// A rate card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CardText {
    version: String,
    /// RFC 3339.
    #[serde(deserialize_with = "text_or_datetime")]
    effective_at: String,
    rates: Vec<RateText>,
}

/// The price of one model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RateText {
    model: String,
    #[serde(default)]
    aliases: Vec<String>,
    unit: UnitText,
    credits: i64,
    #[serde(default)]
    credits_by_plan: BTreeMap<String, i64>,
}

/// What one unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum UnitText {
    Call,
    Image,
    /// One that this program does not know; it can be shown and not be put.
    #[serde(skip_deserializing)]
    Unknown,
}

/// Reads a rate card in JSON, if it begins with a brace, or else in TOML.
pub(super) fn parse(text: &str) -> Result<v1::RateCard, String> {
    let card: CardText = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| error.to_string())?
    } else {
        toml::from_str(text).map_err(|error| error.to_string())?
    };
    card.message()
}

impl CardText {
    /// The text of a card.
    pub(super) fn of(card: v1::RateCard) -> Self {
        let rates = card.rates.into_iter().map(|rate| RateText {
            unit: match rate.unit() {
                v1::Unit::Call => UnitText::Call,
                v1::Unit::Image => UnitText::Image,
                v1::Unit::Unspecified => UnitText::Unknown,
            },
            model: rate.model,
            aliases: rate.aliases,
            credits: rate.credits,
            credits_by_plan: rate.credits_by_plan.into_iter().collect(),
        });
        Self { version: card.version, effective_at: rfc3339(card.effective_at), rates: rates.collect() }
    }

    /// The card as the contract has it.
    fn message(self) -> Result<v1::RateCard, String> {
        let effective_at: Moment = parse_moment(&self.effective_at)
            .map_err(|_| "effective_at is not a moment as in 2027-01-01T00:00:00Z".to_owned())?;
        let rates = self.rates.into_iter().map(|rate| v1::Rate {
            model: rate.model,
            aliases: rate.aliases,
            unit: match rate.unit {
                UnitText::Call => v1::Unit::Call,
                UnitText::Image => v1::Unit::Image,
                UnitText::Unknown => v1::Unit::Unspecified,
            }
            .into(),
            credits: rate.credits,
            credits_by_plan: rate.credits_by_plan.into_iter().collect(),
        });
        Ok(v1::RateCard { version: self.version, effective_at: Some(effective_at), rates: rates.collect() })
    }
}

/// TOML has moments of its own, without quotes.
fn text_or_datetime<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a moment as in 2027-01-01T00:00:00Z")]
    enum Given {
        Text(String),
        Datetime(toml::value::Datetime),
    }
    Ok(match Given::deserialize(deserializer)? {
        Given::Text(text) => text,
        Given::Datetime(at) => at.to_string(),
    })
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
    fn a_card_is_the_same_in_toml_and_in_json_and_as_it_is_listed() {
        let card = parse(TOML).unwrap();
        assert_eq!(card.effective_at, Some(Moment { seconds: 1_798_761_600, nanos: 0 }));
        assert_eq!((card.rates[0].unit(), card.rates[1].unit()), (v1::Unit::Call, v1::Unit::Image));
        assert_eq!(card.rates[1].credits_by_plan["free"], 10);
        let listed = serde_json::to_string_pretty(&CardText::of(card.clone())).unwrap();
        assert_eq!(parse(&listed), Ok(card.clone()));
        assert_eq!(parse(&TOML.replace("2027-01-01T00:00:00Z", "\"2027-01-01T01:00:00+01:00\"")), Ok(card));
    }

    #[test]
    fn what_is_no_card_is_refused_with_what_is_wrong() {
        let table = [
            ("", "version"),
            ("{", "EOF"),
            (&TOML.replace("unit = \"call\"", "unit = \"token\""), "token"),
            (&TOML.replace("unit = \"call\"", ""), "unit"),
            (&TOML.replace("aliases", "alias"), "alias"),
            (&TOML.replace("credits = 2", "credits = 2.5"), "credits = 2.5"),
            (&TOML.replace("2027-01-01T00:00:00Z", "1798761600"), "effective_at"),
            (&TOML.replace("2027-01-01T00:00:00Z", "\"soon\""), "effective_at"),
            (&TOML.replace("version", "name"), "name"),
        ];
        for (text, says) in table {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(says), "{text}: {problem}");
        }
    }
}
