//! Encodes responses of AccountService.

use super::moment;
use crate::{
    domain::{
        audit::AuditedChange,
        id::Id,
        rate_card::{Rate, RateCard, Unit},
        terms::Terms,
    },
    gate::calls::Paged,
    proto::v1,
};

/// Encodes a team.
pub(in crate::service) fn team(id: &Id, terms: &Terms) -> v1::Team {
    v1::Team {
        team_id: id.to_string(),
        plan: terms.plan.name().to_owned(),
        paid_seat: terms.paid_seat,
        billing_anchor_day: terms.anchor.day.into(),
        included_credits: terms.included_override,
        overages_enabled: terms.overages_enabled,
        overage_cap_blocks: terms.overage_cap_blocks,
        created_at: Some(moment(terms.created_at_ms)),
        updated_at: Some(moment(terms.updated_at_ms)),
    }
}

/// ListTeams.
pub(in crate::service) fn teams(teams: Paged<(Id, Terms)>) -> v1::ListTeamsResponse {
    v1::ListTeamsResponse {
        teams: teams.items.iter().map(|(id, terms)| team(id, terms)).collect(),
        next_page_token: teams.next.unwrap_or_default(),
    }
}

/// Encodes a rate card.
pub fn rate_card(card: RateCard) -> v1::RateCard {
    v1::RateCard {
        version: card.version,
        effective_at: Some(moment(card.effective_at_ms)),
        rates: card.rates.into_iter().map(rate).collect(),
    }
}

/// ListRateCards.
pub(in crate::service) fn rate_cards(cards: Paged<RateCard>) -> v1::ListRateCardsResponse {
    v1::ListRateCardsResponse {
        rate_cards: cards.items.into_iter().map(rate_card).collect(),
        next_page_token: cards.next.unwrap_or_default(),
    }
}

/// ListAuditEntries.
pub(in crate::service) fn audit_entries(changes: Paged<AuditedChange>) -> v1::ListAuditEntriesResponse {
    v1::ListAuditEntriesResponse {
        entries: changes.items.into_iter().map(audit_entry).collect(),
        next_page_token: changes.next.unwrap_or_default(),
    }
}

fn audit_entry(AuditedChange { team, entry }: AuditedChange) -> v1::AuditEntry {
    v1::AuditEntry {
        at: Some(moment(entry.at_ms)),
        caller: entry.caller,
        team_id: team.map_or(String::new(), |team| team.to_string()),
        change: entry.change,
        before: entry.before,
        after: entry.after,
    }
}

fn rate(rate: Rate) -> v1::Rate {
    let unit = match rate.unit {
        Unit::Call => v1::Unit::Call,
        Unit::Image => v1::Unit::Image,
    };
    v1::Rate {
        model: rate.model,
        aliases: rate.aliases,
        unit: unit.into(),
        credits: rate.credits,
        credits_by_plan: rate
            .credits_by_plan
            .into_iter()
            .map(|(plan, credits)| (plan.name().to_owned(), credits))
            .collect(),
    }
}
