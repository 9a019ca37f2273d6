//! Rate cards as tables for people.

use crate::{
    operator::{
        output::{Column, format_number, render_table, styled, table},
        timestamp::{display, unix_ms},
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

/// Whether a card is past, in effect or announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CardStatus {
    /// A later card has replaced it.
    Past,
    /// It prices calls now.
    InEffect,
    /// It takes effect later.
    Announced,
}

impl CardStatus {
    /// Returns the status of a card, given the card in effect, if there is one.
    pub(super) fn of(card: &RateCard, in_effect: Option<&RateCard>) -> Self {
        match in_effect {
            Some(in_effect) if card.version == in_effect.version => Self::InEffect,
            Some(in_effect) if unix_ms(card.effective_at) < unix_ms(in_effect.effective_at) => Self::Past,
            _ => Self::Announced,
        }
    }
}

/// Renders a card with its prices.
pub(super) fn card(card: &RateCard, status: CardStatus) -> String {
    let from = display(card.effective_at);
    let (version, status) = (
        styled(card.version.as_str()),
        match status {
            CardStatus::Past => styled(format!("past, was in effect from {from}")).dim(),
            CardStatus::InEffect => styled(format!("in effect since {from}")).green(),
            CardStatus::Announced => styled(format!("announced, in effect from {from}")).yellow(),
        },
    );
    let mut rates = table(&COLUMNS);
    for rate in &card.rates {
        rates.add_row(cells(rate));
    }
    format!("{}: {status}\n{}", version.bold(), render_table(&rates))
}

fn cells(rate: &Rate) -> Vec<String> {
    let mut by_plan: Vec<_> = rate.credits_by_plan.iter().collect();
    by_plan.sort();
    let by_plan: Vec<_> =
        by_plan.iter().map(|(plan, credits)| format!("{plan} {}", format_number(**credits))).collect();
    let unit = match rate.unit() {
        Unit::Call => "call",
        Unit::Image => "image",
        Unit::Unspecified => "?",
    };
    vec![rate.model.clone(), rate.aliases.join(", "), unit.to_owned(), format_number(rate.credits), by_plan.join(", ")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::timestamp::parse;

    #[test]
    fn cards_are_past_in_effect_or_announced() {
        let card = |version: &str| RateCard {
            version: version.to_owned(),
            effective_at: parse(version).ok(),
            ..RateCard::default()
        };
        let versions = ["2026-01-01", "2026-02-01", "2026-03-01"];
        let statuses = |in_effect: Option<&RateCard>| versions.map(|version| CardStatus::of(&card(version), in_effect));
        let middle = card(versions[1]);
        assert_eq!(statuses(Some(&middle)), [CardStatus::Past, CardStatus::InEffect, CardStatus::Announced]);
        assert_eq!(statuses(None), [CardStatus::Announced; 3]);
    }
}
