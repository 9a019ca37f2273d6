//! What a change of a team's terms, or a new rate card, changed, in words.

use serde::Deserialize;

use super::{
    moment::{self, Moment},
    output::count,
};
use crate::proto::v1::Team;

/// Terms by name, in the order they are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TermsText(Vec<(String, String)>);

impl TermsText {
    /// Of a team.
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

    /// As an audit log has them: `plan=free paid_seat=true … overages=on, at most 3 blocks`. What stands before the first name is
    /// passed over.
    fn logged(text: &str) -> Self {
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
        Self(terms.into_iter().map(|(name, value)| spoken(&name, value)).collect())
    }

    /// What is not as it was: `plan free → basic, paid seat no → yes`; empty if nothing is.
    pub(super) fn differences(&self, before: &Self) -> String {
        let was = |name: &str| before.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let told = self.0.iter().filter_map(|(name, value)| match was(name) {
            Some(was) if was == value => None,
            Some(was) => Some(format!("{name} {was} → {value}")),
            None => Some(format!("{name} {value}")),
        });
        told.collect::<Vec<_>>().join("; ")
    }
}

/// What an entry of an audit log says, in words.
pub(super) fn logged(change: &str, before: &str, after: &str) -> String {
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
        let from = moment::shown(Some(Moment { seconds, nanos: 0 }));
        return format!("{version}, from {from}, {} rates", rates.len());
    }
    match TermsText::logged(after).differences(&TermsText::logged(before)) {
        told if !told.is_empty() => told,
        _ if before == after => "nothing".to_owned(),
        _ => after.to_owned(),
    }
}

/// Included credits: the override, or the plan's.
pub(super) fn included(credits: Option<i64>) -> String {
    credits.map_or_else(|| "the plan's".to_owned(), count)
}

/// Whether overages are on, and their cap, which is kept while they are off.
pub(super) fn overages(enabled: bool, cap_blocks: Option<u32>) -> String {
    match (enabled, cap_blocks) {
        (false, None) => "off".to_owned(),
        (false, Some(blocks)) => format!("off, else at most {blocks} blocks"),
        (true, None) => "on".to_owned(),
        (true, Some(blocks)) => format!("on, at most {blocks} blocks"),
    }
}

fn yes_or_no(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.to_owned()
}

/// A term of a log in the words of [`TermsText::of`]; one that is not known stays as it is.
fn spoken(name: &str, value: String) -> (String, String) {
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
    fn only_what_differs_is_told() {
        let after =
            "plan=professional paid_seat=true billing_anchor_day=1 included_credits=7000 overages=on, at most 3 blocks";
        let told = logged("team", FREE, after);
        let words = [
            "plan free → professional",
            "paid seat no → yes",
            "included credits the plan's → 7,000",
            "overages off → on, at most 3 blocks",
        ];
        assert_eq!(told, words.join("; "));
        assert_eq!(logged("team", FREE, FREE), "nothing");
    }

    #[test]
    fn a_new_team_is_told_whole() {
        let told = "plan free; paid seat no; anchor day 1; included credits the plan's; overages off";
        assert_eq!(logged("team", "", FREE), told);
    }

    #[test]
    fn the_log_of_a_team_reads_as_the_team_does() {
        let team = Team { plan: "free".to_owned(), billing_anchor_day: 1, ..Team::default() };
        assert_eq!(TermsText::of(&team), TermsText::logged(FREE));
    }

    #[test]
    fn a_card_is_told_by_its_version_and_time() {
        let card = r#"{"version":"v2","effective_at_ms":1764547200000,"rates":[{},{}]}"#;
        assert_eq!(logged("rate card", "", card), "v2, from 2025-12-01, 2 rates");
    }

    #[test]
    fn what_is_not_understood_is_shown_as_it_is() {
        assert_eq!(logged("rate card", "", "damaged"), "damaged");
        assert_eq!(logged("anything", "", "color=red"), "color red");
    }
}
