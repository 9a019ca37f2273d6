//! A rate card for people.

use crate::{
    operator::{
        moment::{milliseconds, shown},
        output::{Column, count, drawn, styled, table},
    },
    proto::v1::{Rate, RateCard, Unit},
};

const COLUMNS: [Column; 5] = [
    Column::Text("model"),
    Column::Text("also called"),
    Column::Text("unit"),
    Column::Number("credits"),
    Column::Text("on plans"),
];

/// Where a card stands among others, which are listed by the time they take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CardStatus {
    /// Others took its place.
    Past,
    /// It prices calls.
    InEffect,
    /// It will.
    Announced,
}

impl CardStatus {
    /// That of a card beside the one that is in effect, if any is.
    pub(super) fn of(card: &RateCard, in_effect: Option<&RateCard>) -> Self {
        match in_effect {
            Some(in_effect) if card.version == in_effect.version => Self::InEffect,
            Some(in_effect) if milliseconds(card.effective_at) < milliseconds(in_effect.effective_at) => Self::Past,
            _ => Self::Announced,
        }
    }
}

/// A card with its prices.
pub(super) fn card(card: &RateCard, standing: CardStatus) -> String {
    let from = shown(card.effective_at);
    let (version, standing) = (
        styled(card.version.as_str()),
        match standing {
            CardStatus::Past => styled(format!("past, was in effect from {from}")).dim(),
            CardStatus::InEffect => styled(format!("in effect since {from}")).green(),
            CardStatus::Announced => styled(format!("announced, in effect from {from}")).yellow(),
        },
    );
    let mut rates = table(&COLUMNS);
    for rate in &card.rates {
        rates.add_row(cells(rate));
    }
    format!("{}: {standing}\n{}", version.bold(), drawn(&rates))
}

fn cells(rate: &Rate) -> Vec<String> {
    let mut by_plan: Vec<_> = rate.credits_by_plan.iter().collect();
    by_plan.sort();
    let by_plan: Vec<_> = by_plan.iter().map(|(plan, credits)| format!("{plan} {}", count(**credits))).collect();
    let unit = match rate.unit() {
        Unit::Call => "call",
        Unit::Image => "image",
        Unit::Unspecified => "?",
    };
    vec![rate.model.clone(), rate.aliases.join(", "), unit.to_owned(), count(rate.credits), by_plan.join(", ")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::moment::parse;

    #[test]
    fn cards_before_the_one_in_effect_are_past_and_those_after_it_announced() {
        let card = |version: &str| RateCard {
            version: version.to_owned(),
            effective_at: parse(version).ok(),
            ..RateCard::default()
        };
        let versions = ["2026-01-01", "2026-02-01", "2026-03-01"];
        let standings =
            |in_effect: Option<&RateCard>| versions.map(|version| CardStatus::of(&card(version), in_effect));
        let middle = card(versions[1]);
        assert_eq!(standings(Some(&middle)), [CardStatus::Past, CardStatus::InEffect, CardStatus::Announced]);
        assert_eq!(standings(None), [CardStatus::Announced; 3]);
    }
}
