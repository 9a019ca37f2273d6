//! Reads the seed: `[plans]`, `[[rate_cards]]` and `[[teams]]`, which a store gets if it does not have them.

use std::collections::BTreeMap;

use super::{
    document::Node,
    problem::{Problems, quoted},
    rate_card,
    table_reader::{TableReader, number, switch, text},
};
use crate::domain::{
    catalogue::MAX_BYTES,
    id::Id,
    plan::{IncludedCredits, Plan},
    rate_card::RateCard,
    seed::{Seed, TeamSeed},
    terms::{MAX_INCLUDED_CREDITS, Terms},
    terms_change::{OveragesUnavailable, TeamSettings},
};

/// Keys of the file that belong to the seed.
pub(super) const KEYS: [&str; 3] = ["plans", "rate_cards", "teams"];

const PLAN_KEYS: [&str; 4] = ["without_seat", "free", "basic", "professional"];

const TEAM_KEYS: [&str; 7] = [
    "team_id",
    "plan",
    "paid_seat",
    "billing_anchor_day",
    "included_credits",
    "overages_enabled",
    "overage_cap_blocks",
];

/// Reads the whole seed. Entries that are not valid are reported and omitted.
pub(super) fn read(root: &TableReader<'_>, problems: &mut Problems) -> Seed {
    Seed {
        included_credits: root.get("plans").and_then(|node| plans(node, problems)),
        rate_cards: rate_cards(root, problems),
        teams: teams(root, problems),
    }
}

fn plans(node: &Node, problems: &mut Problems) -> Option<IncludedCredits> {
    let fields = TableReader::open("plans", node, &PLAN_KEYS, problems)?;
    let mut included =
        |key, shipped| fields.optional(key, problems, number(0..=MAX_INCLUDED_CREDITS)).unwrap_or(shipped);
    let shipped = IncludedCredits::SHIPPED;
    Some(IncludedCredits {
        without_seat: included("without_seat", shipped.without_seat),
        free: included("free", shipped.free),
        basic: included("basic", shipped.basic),
        professional: included("professional", shipped.professional),
    })
}

fn rate_cards(root: &TableReader<'_>, problems: &mut Problems) -> Vec<RateCard> {
    let (mut versions, mut times) = (BTreeMap::new(), BTreeMap::new());
    let mut cards = Vec::new();
    for (path, node) in root.tables("rate_cards", problems) {
        let Some(card) = rate_card::read(&path, node, problems) else { continue };
        if let Some(first) = versions.insert(card.version.clone(), path.clone()) {
            problems.add(
                &format!("{path}.version"),
                node.line,
                format!("is already used by {first}; each card needs its own version"),
            );
        }
        if let Some(first) = times.insert(card.effective_at_ms, path.clone()) {
            let message = format!("is already used by {first}; only one card can take effect at a time");
            problems.add(&format!("{path}.effective_at"), node.line, message);
        }
        cards.push(card);
    }
    if serde_json::to_vec(&cards).map_or(usize::MAX, |bytes| bytes.len()) > MAX_BYTES / 2 {
        let line = root.get("rate_cards").and_then(|node| node.line);
        problems.add("rate_cards", line, "are too large together; the store needs room for later cards");
    }
    cards
}

fn teams(root: &TableReader<'_>, problems: &mut Problems) -> Vec<TeamSeed> {
    let mut ids = BTreeMap::new();
    let mut teams = Vec::new();
    for (path, node) in root.tables("teams", problems) {
        let Some(team) = team(&path, node, problems) else { continue };
        if let Some(first) = ids.insert(team.team.clone(), path.clone()) {
            problems.add(
                &format!("{path}.team_id"),
                node.line,
                format!("is already used by {first}; list each team once"),
            );
        }
        teams.push(team);
    }
    teams
}

fn team(path: &str, node: &Node, problems: &mut Problems) -> Option<TeamSeed> {
    let fields = TableReader::open(path, node, &TEAM_KEYS, problems)?;
    let team =
        fields.required("team_id", problems, |node| Id::parse(&text(node)?).map_err(|problem| problem.to_string()));
    let plan = fields.required("plan", problems, plan);
    let paid_seat = fields.optional("paid_seat", problems, switch).unwrap_or(false);
    let anchor_day = fields.optional("billing_anchor_day", problems, number(1..=31)).unwrap_or(1);
    let included_override = fields.optional("included_credits", problems, number(0..=MAX_INCLUDED_CREDITS));
    let overages_enabled = fields.optional("overages_enabled", problems, switch).unwrap_or(false);
    let cap_blocks = fields.optional("overage_cap_blocks", problems, number(0..=i64::from(u32::MAX)));
    let settings =
        TeamSettings { plan: plan?, paid_seat, anchor_day: u8::try_from(anchor_day).ok()?, included_override };
    let terms = Terms {
        overages_enabled,
        overage_cap_blocks: cap_blocks.and_then(|blocks| u32::try_from(blocks).ok()),
        ..settings.first_terms()
    };
    if !terms.may_have_overages() {
        for key in ["overages_enabled", "overage_cap_blocks"] {
            let is_set = if key == "overages_enabled" { overages_enabled } else { cap_blocks.is_some() };
            if is_set {
                let line = fields.get(key).and_then(|node| node.line);
                problems.add(&fields.path_of(key), line, OveragesUnavailable.to_string());
            }
        }
    }
    Some(TeamSeed { team: team?, terms })
}

fn plan(node: &Node) -> Result<Plan, String> {
    let name = text(node)?;
    Plan::parse(&name).ok_or_else(|| {
        format!("unknown plan {}; the plans are {}", quoted(&name), Plan::ALL.map(Plan::name).join(", "))
    })
}
