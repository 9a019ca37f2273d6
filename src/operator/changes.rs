//! Descriptions of changes for people: the terms of a team that differ, and new rate cards.

use serde::Deserialize;

use super::{
    output::format_number,
    timestamp::{self, ProtoTimestamp},
};
use crate::proto::v1::Team;

/// The terms of a team as names and values, in display order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TermsText(Vec<(String, String)>);

impl TermsText {
    /// Returns the terms of a team.
    pub(super) fn of(team: &Team) -> Self {
        let terms = [
            ("plan", team.plan.clone()),
            ("paid seat", yes_or_no(team.paid_seat)),
            ("anchor day", team.billing_anchor_day.to_string()),
            ("included credits", included(team.included_credits)),
            ("overages", overages(team.overages_enabled, team.overage_cap_blocks)),
        ];
        Self(terms.map(|(name, value)| (name.to_owned(), value)).to_vec())
    }

    /// Parses the terms of an audit entry: `plan=free paid_seat=true … overages=on, at most 3 blocks`. Skips words before the
    /// first name.
    fn from_audit(text: &str) -> Self {
        let mut terms: Vec<(String, String)> = Vec::new();
        for word in text.split(' ') {
            match (word.split_once('='), terms.last_mut()) {
                (Some((name, value)), _) => terms.push((name.to_owned(), value.to_owned())),
                (None, Some((_, value))) => {
                    value.push(' ');
                    value.push_str(word);
                }
                (None, None) => {}
            }
        }
        Self(terms.into_iter().map(|(name, value)| display_term(&name, value)).collect())
    }

    /// Returns the terms that differ, such as `plan free → basic; paid seat no → yes`, or an empty text if none does.
    pub(super) fn differences(&self, before: &Self) -> String {
        let value_before =
            |name: &str| before.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let changes = self.0.iter().filter_map(|(name, value)| match value_before(name) {
            Some(before) if before == value => None,
            Some(before) => Some(format!("{name} {before} → {value}")),
            None => Some(format!("{name} {value}")),
        });
        changes.collect::<Vec<_>>().join("; ")
    }
}

/// Describes the change of an audit entry.
pub(super) fn describe(change: &str, before: &str, after: &str) -> String {
    #[derive(Deserialize)]
    struct Card {
        version: String,
        effective_at_ms: i64,
        rates: Vec<serde_json::Value>,
    }
    if change == "rate card"
        && let Ok(Card { version, effective_at_ms, rates }) = serde_json::from_str(after)
    {
        let seconds = effective_at_ms.div_euclid(1_000);
        let from = timestamp::display(Some(ProtoTimestamp { seconds, nanos: 0 }));
        return format!("{version}, from {from}, {} rates", rates.len());
    }
    match TermsText::from_audit(after).differences(&TermsText::from_audit(before)) {
        differences if !differences.is_empty() => differences,
        _ if before == after => "no change".to_owned(),
        _ => after.to_owned(),
    }
}

/// Returns the override of the included credits, or that the plan's apply.
pub(super) fn included(credits: Option<i64>) -> String {
    credits.map_or_else(|| "the plan's".to_owned(), format_number)
}

/// Returns whether overages are on, and their cap, which stays set while they are off.
pub(super) fn overages(enabled: bool, cap_blocks: Option<u32>) -> String {
    match (enabled, cap_blocks) {
        (false, None) => "off".to_owned(),
        (false, Some(blocks)) => format!("off, at most {blocks} blocks when on"),
        (true, None) => "on".to_owned(),
        (true, Some(blocks)) => format!("on, at most {blocks} blocks"),
    }
}

fn yes_or_no(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.to_owned()
}

/// Translates a term of an audit entry into the words of [`TermsText::of`]. An unknown term is not translated.
fn display_term(name: &str, value: String) -> (String, String) {
    let (name, value) = match (name, value.as_str()) {
        ("paid_seat", "true") => ("paid seat", "yes".to_owned()),
        ("paid_seat", "false") => ("paid seat", "no".to_owned()),
        ("billing_anchor_day", _) => ("anchor day", value),
        ("included_credits", "plan") => ("included credits", included(None)),
        ("included_credits", credits) => {
            ("included credits", credits.parse().map_or_else(|_| credits.to_owned(), |credits| included(Some(credits))))
        }
        _ => (name, value),
    };
    (name.to_owned(), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: &str = "plan=free paid_seat=false billing_anchor_day=1 included_credits=plan overages=off";

    #[test]
    fn only_differences_are_described() {
        let after =
            "plan=professional paid_seat=true billing_anchor_day=1 included_credits=7000 overages=on, at most 3 blocks";
        let description = describe("team", FREE, after);
        let words = [
            "plan free → professional",
            "paid seat no → yes",
            "included credits the plan's → 7,000",
            "overages off → on, at most 3 blocks",
        ];
        assert_eq!(description, words.join("; "));
        assert_eq!(describe("team", FREE, FREE), "no change");
    }

    #[test]
    fn all_terms_of_a_new_team_are_described() {
        let description = "plan free; paid seat no; anchor day 1; included credits the plan's; overages off";
        assert_eq!(describe("team", "", FREE), description);
    }

    #[test]
    fn audit_entries_use_the_same_words_as_teams() {
        let team = Team { plan: "free".to_owned(), billing_anchor_day: 1, ..Team::default() };
        assert_eq!(TermsText::of(&team), TermsText::from_audit(FREE));
    }

    #[test]
    fn a_card_is_described_by_version_and_time() {
        let card = r#"{"version":"v2","effective_at_ms":1764547200000,"rates":[{},{}]}"#;
        assert_eq!(describe("rate card", "", card), "v2, from 2025-12-01, 2 rates");
    }

    #[test]
    fn an_unknown_entry_is_shown_as_it_is() {
        assert_eq!(describe("rate card", "", "damaged"), "damaged");
        assert_eq!(describe("anything", "", "color=red"), "color red");
    }
}
