//! Encodes responses of UsageService.

use super::{balance, moment, trigger};
use crate::{
    domain::{
        charge::Charge,
        usage::{UsageCounts, UsageKey},
    },
    gate::calls::{Paged, UsageAnswer},
    proto::v1,
};

/// GetUsage.
pub(in crate::service) fn usage(answer: UsageAnswer) -> v1::GetUsageResponse {
    v1::GetUsageResponse {
        balance: Some(balance(&answer.balance)),
        rows: answer.rows.items.into_iter().map(row).collect(),
        next_page_token: answer.rows.next.unwrap_or_default(),
    }
}

/// ListCharges.
pub(in crate::service) fn charges(charges: Paged<Charge>) -> v1::ListChargesResponse {
    v1::ListChargesResponse {
        charges: charges.items.iter().map(charge).collect(),
        next_page_token: charges.next.unwrap_or_default(),
    }
}

fn row((key, counts): (UsageKey, UsageCounts)) -> v1::UsageRow {
    v1::UsageRow {
        day: key.day,
        flow_id: key.flow.to_string(),
        model: key.model.to_string(),
        trigger: trigger(key.trigger).into(),
        calls: counts.calls,
        units: counts.units,
        credits: counts.credits,
    }
}

fn charge(charge: &Charge) -> v1::Charge {
    v1::Charge {
        team_id: charge.team.to_string(),
        charge_id: charge.id(),
        cycle_start: Some(moment(charge.cycle_start_ms)),
        block: charge.block,
        credits: charge.credits,
        charged_at: Some(moment(charge.charged_at_ms)),
    }
}
