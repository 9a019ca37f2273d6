//! Reads a rate card in TOML or JSON, from a file of its own or from `[[rate_cards]]`.

use std::collections::BTreeMap;

use super::{
    document::{self, DocumentFormat, Node, NodeValue},
    problem::{ConfigError, Problems},
    table_reader::{TableReader, list, number, text},
};
use crate::domain::{
    plan::Plan,
    rate_card::{MAX_CREDITS_PER_UNIT, Rate, RateCard, Unit},
};

const KEYS: [&str; 3] = ["version", "effective_at", "rates"];

const RATE_KEYS: [&str; 5] = ["model", "aliases", "unit", "credits", "credits_by_plan"];

/// Parses one rate card and checks it. Whether it is announced early enough is checked later, against the store.
///
/// # Errors
/// [`ConfigError::Invalid`], with all problems and their lines.
pub fn parse(text: &str, format: DocumentFormat) -> Result<RateCard, ConfigError> {
    let root = document::parse(text, format, "")?;
    let mut problems = Problems::default();
    match read("", &root, &mut problems) {
        Some(card) => problems.into_result(card),
        None => Err(problems.error()),
    }
}

/// Reads the card at a path. Returns `None` if it is not valid, and reports why.
pub(super) fn read(path: &str, node: &Node, problems: &mut Problems) -> Option<RateCard> {
    let fields = TableReader::open(path, node, &KEYS, problems)?;
    let version = fields.required("version", problems, text);
    let effective_at_ms = fields.required("effective_at", problems, time_ms);
    if fields.get("rates").is_none() {
        problems.add(&fields.path_of("rates"), fields.line(), "is missing");
    }
    let given = fields.tables("rates", problems);
    let lines: Vec<_> = given.iter().map(|(_, node)| node.line).collect();
    let rates: Vec<_> = given.iter().map(|(path, node)| rate(path, node, problems)).collect();
    let card = RateCard {
        version: version?,
        effective_at_ms: effective_at_ms?,
        rates: rates.into_iter().collect::<Option<_>>()?,
    };
    if let Err(invalid) = card.validate() {
        let field = invalid.field.trim_start_matches("rate_card").trim_start_matches('.');
        let place = field.strip_prefix("rates[").and_then(|rest| rest.split(']').next()?.parse::<usize>().ok());
        let line = place.and_then(|place| lines.get(place).copied()).unwrap_or_else(|| fields.line());
        problems.add(&fields.path_of(field), line, invalid.problem);
        return None;
    }
    Some(card)
}

fn rate(path: &str, node: &Node, problems: &mut Problems) -> Option<Rate> {
    let fields = TableReader::open(path, node, &RATE_KEYS, problems)?;
    let model = fields.required("model", problems, text);
    let aliases = fields.get("aliases").map_or(Some(Vec::new()), |_| fields.optional("aliases", problems, list(text)));
    let unit = fields.required("unit", problems, unit);
    let credits = fields.required("credits", problems, number(0..=MAX_CREDITS_PER_UNIT));
    let credits_by_plan = credits_by_plan(&fields, problems);
    Some(Rate { model: model?, aliases: aliases?, unit: unit?, credits: credits?, credits_by_plan: credits_by_plan? })
}

fn credits_by_plan(fields: &TableReader<'_>, problems: &mut Problems) -> Option<BTreeMap<Plan, i64>> {
    let key = "credits_by_plan";
    let Some(node) = fields.get(key) else { return Some(BTreeMap::new()) };
    let plans = TableReader::open(&fields.path_of(key), node, &Plan::ALL.map(Plan::name), problems)?;
    let mut credits = BTreeMap::new();
    for (name, _) in plans.entries() {
        let price = plans.optional(name, problems, number(0..=MAX_CREDITS_PER_UNIT))?;
        credits.insert(Plan::parse(name)?, price);
    }
    Some(credits)
}

fn unit(node: &Node) -> Result<Unit, String> {
    match &node.value {
        NodeValue::Text(name) if name == "call" => Ok(Unit::Call),
        NodeValue::Text(name) if name == "image" => Ok(Unit::Image),
        _ => Err("must be \"call\" or \"image\"".to_owned()),
    }
}

fn time_ms(node: &Node) -> Result<i64, String> {
    let invalid = || "must be a time with its offset, such as 2026-03-01T00:00:00Z".to_owned();
    let NodeValue::Text(text) = &node.value else { return Err(invalid()) };
    let time: jiff::Timestamp = text.parse().map_err(|_| invalid())?;
    Ok(time.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: &str = r#"
version = "2026-03"
effective_at = 2026-03-01T00:00:00Z

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

    fn problems(text: &str) -> String {
        parse(text, DocumentFormat::Toml).unwrap_err().to_string()
    }

    #[test]
    fn a_card_is_the_same_in_toml_and_in_json() {
        let card = parse(CARD, DocumentFormat::Toml).unwrap();
        assert_eq!((card.version.as_str(), card.effective_at_ms), ("2026-03", 1_772_323_200_000));
        assert_eq!(card.rates[0].aliases, ["4o"]);
        assert_eq!(card.rates[1].price(Plan::Free, 2), 20);
        let json = r#"{"version": "2026-03", "effective_at": "2026-03-01T00:00:00Z", "rates": [
            {"model": "gpt-4o", "aliases": ["4o"], "unit": "call", "credits": 2},
            {"model": "dall-e-3", "unit": "image", "credits": 5, "credits_by_plan": {"free": 10}}]}"#;
        assert_eq!(parse(json, DocumentFormat::Json).unwrap(), card);
    }

    #[test]
    fn a_problem_names_its_path_and_line() {
        for (from, to, expected) in [
            ("2026-03-01T00:00:00Z", "2026-03-01", "effective_at (line 3): must be a time"),
            ("version = \"2026-03\"\n", "", "version: is missing"),
            ("\"2026-03\"", "\"a b\"", "version: must contain only"),
            ("unit = \"image\"", "unit = \"picture\"", "rates[1].unit (line 13): must be \"call\" or \"image\""),
            ("credits = 5", "credits = -5", "rates[1].credits (line 14): must be 0 to 1000000"),
            ("credits = 5", "credit = 5", "rates[1].credit (line 14): unknown key; did you mean credits?"),
            ("free = 10", "gold = 10", "rates[1].credits_by_plan.gold (line 15): unknown key"),
            ("free = 10", "free = \"10\"", "rates[1].credits_by_plan.free (line 15): must be a number"),
            ("dall-e-3", "4o", "rates[1].model (line 11): names 4o, which this card already lists"),
            ("[\"4o\"]", "\"4o\"", "rates[0].aliases (line 7): must be a list"),
        ] {
            let found = problems(&CARD.replacen(from, to, 1));
            assert!(found.contains(expected), "{to}: {found}");
        }
        assert!(problems("version = \"1\"\neffective_at = 2026-01-01T00:00:00Z\n").contains("rates: is missing"));
        assert!(problems("rates = 1\n").contains("list of tables"));
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let text = CARD.replace("credits = 2", "credits = \"two\"").replace("image", "picture");
        assert!(problems(&text).starts_with("2 problems:"), "{}", problems(&text));
    }
}
