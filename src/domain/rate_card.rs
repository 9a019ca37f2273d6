//! Rate cards: dated, immutable and complete price lists (rule 1).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    id::{Id, InvalidId},
    plan::Plan,
};

/// Maximum price of one unit, in credits. It keeps sums within what a store can add up.
pub const MAX_CREDITS_PER_UNIT: i64 = 1_000_000;

/// Maximum number of rates on a card, and of aliases of a rate.
pub const MAX_RATES: usize = 1_000;

/// A dated price list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateCard {
    /// Name of the card. No other card ever has it.
    pub version: String,
    /// From when on the card prices calls, in Unix milliseconds. It does so until a later card takes effect.
    pub effective_at_ms: i64,
    /// The price of each model.
    pub rates: Vec<Rate>,
}

/// The price of one model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// ID of the model.
    pub model: String,
    /// Other names of the same model.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What one unit is.
    pub unit: Unit,
    /// Credits per unit, on plans that `credits_by_plan` does not contain.
    pub credits: i64,
    /// Credits per unit, by plan.
    #[serde(default)]
    pub credits_by_plan: BTreeMap<Plan, i64>,
}

/// What the price of a rate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// One call of a model.
    Call,
    /// One image.
    Image,
}

/// Why a rate card is not valid: which field, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {problem}")]
pub struct InvalidRateCard {
    /// Path of the field, as in `proto/`.
    pub field: String,
    /// What is wrong with the field.
    pub problem: String,
}

impl Rate {
    /// Returns the price of this many units, in credits.
    pub fn price(&self, plan: Plan, units: u32) -> i64 {
        self.credits_by_plan.get(&plan).unwrap_or(&self.credits) * i64::from(units)
    }
}

impl RateCard {
    /// Returns the card that ships, dated 2025-01-22.
    pub fn shipped() -> Self {
        let per_call = |model: &str, credits| Rate {
            model: model.to_owned(),
            aliases: Vec::new(),
            unit: Unit::Call,
            credits,
            credits_by_plan: BTreeMap::new(),
        };
        Self {
            version: "2025-01-22".to_owned(),
            effective_at_ms: 1_737_504_000_000,
            rates: vec![
                per_call("gpt-4o", 2),
                per_call("gpt-4o-mini", 15),
                per_call("gpt-4", 25),
                per_call("gpt-3.5", 5),
                Rate {
                    model: "dall-e-3".to_owned(),
                    aliases: Vec::new(),
                    unit: Unit::Image,
                    credits: 5,
                    credits_by_plan: BTreeMap::from([(Plan::Free, 10)]),
                },
            ],
        }
    }

    /// Returns the rate of a model, by its ID or an alias.
    pub fn rate(&self, model: &str) -> Option<&Rate> {
        self.rates.iter().find(|rate| rate.model == model || rate.aliases.iter().any(|alias| alias == model))
    }

    /// Checks everything that does not depend on other cards or on the time.
    pub fn validate(&self) -> Result<(), InvalidRateCard> {
        check_id("rate_card.version", &self.version)?;
        if self.rates.is_empty() || self.rates.len() > MAX_RATES {
            return Err(invalid("rate_card.rates", format!("must list 1 to {MAX_RATES} rates")));
        }
        let mut names = BTreeSet::new();
        for (index, rate) in self.rates.iter().enumerate() {
            let field = |name: &str| format!("rate_card.rates[{index}].{name}");
            check_id(&field("model"), &rate.model)?;
            if rate.aliases.len() > MAX_RATES {
                return Err(invalid(field("aliases"), format!("must list at most {MAX_RATES} aliases")));
            }
            for alias in &rate.aliases {
                check_id(&field("aliases"), alias)?;
            }
            let aliases = rate.aliases.iter().map(|alias| ("aliases", alias));
            for (given_as, name) in std::iter::once(("model", &rate.model)).chain(aliases) {
                if !names.insert(name) {
                    return Err(invalid(field(given_as), format!("names {name}, which this card already lists")));
                }
            }
            check_price(&field("credits"), rate.credits)?;
            for credits in rate.credits_by_plan.values() {
                check_price(&field("credits_by_plan"), *credits)?;
            }
        }
        Ok(())
    }
}

fn check_id(field: &str, text: &str) -> Result<(), InvalidRateCard> {
    Id::parse(text).map(|_| ()).map_err(|problem: InvalidId| invalid(field, problem.to_string()))
}

fn check_price(field: &str, credits: i64) -> Result<(), InvalidRateCard> {
    if (0..=MAX_CREDITS_PER_UNIT).contains(&credits) {
        Ok(())
    } else {
        Err(invalid(field, format!("must be 0 to {MAX_CREDITS_PER_UNIT}")))
    }
}

fn invalid(field: impl Into<String>, problem: impl Into<String>) -> InvalidRateCard {
    InvalidRateCard { field: field.into(), problem: problem.into() }
}
