//! Decodes requests of AccountService.

use std::collections::{BTreeMap, HashMap};

use super::field::{id, moment_ms, page};
use crate::{
    domain::{
        id::Id,
        plan::Plan,
        rate_card::{Rate, RateCard, Unit},
        terms::MAX_INCLUDED_CREDITS,
        terms_change::TeamSettings,
    },
    gate::{GateError, calls::Page},
    proto::v1,
};

/// PutTeam. Returns the team and its settings. Output-only fields are ignored.
pub(in crate::service) fn put_team(request: v1::PutTeamRequest) -> Result<(Id, TeamSettings), GateError> {
    let team = request.team.ok_or_else(|| GateError::invalid("team", "must be set"))?;
    let settings = TeamSettings {
        plan: plan("team.plan", &team.plan)?,
        paid_seat: team.paid_seat,
        anchor_day: anchor_day(team.billing_anchor_day)?,
        included_override: team.included_credits.map(included_credits).transpose()?,
    };
    Ok((id("team.team_id", &team.team_id)?, settings))
}

/// GetTeam.
pub(in crate::service) fn get_team(request: &v1::GetTeamRequest) -> Result<Id, GateError> {
    id("team_id", &request.team_id)
}

/// SetOverages. Returns the team. Every switch and cap is valid.
pub(in crate::service) fn set_overages(request: &v1::SetOveragesRequest) -> Result<Id, GateError> {
    id("team_id", &request.team_id)
}

/// PutRateCard. [`RateCard::validate`] checks prices and names later.
pub(in crate::service) fn put_rate_card(request: v1::PutRateCardRequest) -> Result<RateCard, GateError> {
    let card = request.rate_card.ok_or_else(|| GateError::invalid("rate_card", "must be set"))?;
    let field = "rate_card.effective_at";
    let effective_at = card.effective_at.ok_or_else(|| GateError::invalid(field, "must be set"))?;
    let rates = card.rates.into_iter().enumerate().map(|(place, given)| rate(place, given));
    Ok(RateCard {
        version: card.version,
        effective_at_ms: moment_ms(field, effective_at)?,
        rates: rates.collect::<Result<_, _>>()?,
    })
}

/// GetRateCard. Returns the time in Unix milliseconds; `None` means now.
pub(in crate::service) fn get_rate_card(request: v1::GetRateCardRequest) -> Result<Option<i64>, GateError> {
    request.at.map(|at| moment_ms("at", at)).transpose()
}

/// ListAuditEntries. Returns the team and the page. `None` means the catalogue and all teams.
pub(in crate::service) fn list_audit_entries(
    request: v1::ListAuditEntriesRequest,
) -> Result<(Option<Id>, Page), GateError> {
    let team = request.team_id.map(|team| id("team_id", &team)).transpose()?;
    Ok((team, page(request.page_size, request.page_token)))
}

fn rate(place: usize, rate: v1::Rate) -> Result<Rate, GateError> {
    let field = |name: &str| format!("rate_card.rates[{place}].{name}");
    Ok(Rate {
        unit: unit(&field("unit"), rate.unit)?,
        credits_by_plan: credits_by_plan(&field("credits_by_plan"), rate.credits_by_plan)?,
        model: rate.model,
        aliases: rate.aliases,
        credits: rate.credits,
    })
}

fn unit(field: &str, unit: i32) -> Result<Unit, GateError> {
    match v1::Unit::try_from(unit) {
        Ok(v1::Unit::Call) => Ok(Unit::Call),
        Ok(v1::Unit::Image) => Ok(Unit::Image),
        Ok(v1::Unit::Unspecified) | Err(_) => Err(GateError::invalid(field, "must be UNIT_CALL or UNIT_IMAGE")),
    }
}

fn credits_by_plan(field: &str, credits: HashMap<String, i64>) -> Result<BTreeMap<Plan, i64>, GateError> {
    credits.into_iter().map(|(name, credits)| Ok((plan(field, &name)?, credits))).collect()
}

fn plan(field: &str, name: &str) -> Result<Plan, GateError> {
    Plan::parse(name).ok_or_else(|| {
        let plans = Plan::ALL.map(Plan::name).join(", ");
        GateError::invalid(field, format!("must name a plan: {plans}"))
    })
}

fn anchor_day(day: u32) -> Result<u8, GateError> {
    u8::try_from(day)
        .ok()
        .filter(|day| (1..=31).contains(day))
        .ok_or_else(|| GateError::invalid("team.billing_anchor_day", "must be 1 to 31"))
}

fn included_credits(credits: i64) -> Result<i64, GateError> {
    if (0..=MAX_INCLUDED_CREDITS).contains(&credits) {
        Ok(credits)
    } else {
        Err(GateError::invalid("team.included_credits", format!("must be 0 to {MAX_INCLUDED_CREDITS}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team() -> v1::Team {
        v1::Team { team_id: "team".into(), plan: "basic".into(), billing_anchor_day: 31, ..Default::default() }
    }

    fn card() -> v1::RateCard {
        let rate = v1::Rate { model: "gpt-5".into(), unit: v1::Unit::Call as i32, credits: 3, ..Default::default() };
        v1::RateCard {
            version: "v2".into(),
            effective_at: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
            rates: vec![rate.clone(), rate],
        }
    }

    fn field_of<T: std::fmt::Debug>(result: Result<T, GateError>) -> String {
        match result {
            Err(GateError::InvalidField { field, .. }) => field,
            other => panic!("no field is invalid: {other:?}"),
        }
    }

    #[test]
    fn each_field_of_a_team_is_checked() {
        type Spoil = fn(&mut v1::Team);
        let table: [(&str, Spoil); 8] = [
            ("team.team_id", |team| team.team_id.clear()),
            ("team.plan", |team| team.plan = "gold".into()),
            ("team.plan", |team| team.plan.clear()),
            ("team.billing_anchor_day", |team| team.billing_anchor_day = 0),
            ("team.billing_anchor_day", |team| team.billing_anchor_day = 32),
            ("team.billing_anchor_day", |team| team.billing_anchor_day = 257),
            ("team.included_credits", |team| team.included_credits = Some(-1)),
            ("team.included_credits", |team| team.included_credits = Some(MAX_INCLUDED_CREDITS + 1)),
        ];
        for (field, spoil) in table {
            let mut team = team();
            spoil(&mut team);
            assert_eq!(field_of(put_team(v1::PutTeamRequest { team: Some(team) })), field);
        }
        assert_eq!(field_of(put_team(v1::PutTeamRequest { team: None })), "team");
    }

    #[test]
    fn output_only_fields_of_a_team_change_nothing() {
        let plain = put_team(v1::PutTeamRequest { team: Some(team()) }).unwrap();
        let given = v1::Team { overages_enabled: true, overage_cap_blocks: Some(7), ..team() };
        assert_eq!(put_team(v1::PutTeamRequest { team: Some(given) }).unwrap(), plain);
    }

    #[test]
    fn problems_on_a_card_are_named_by_position() {
        type Spoil = fn(&mut v1::RateCard);
        let table: [(&str, Spoil); 5] = [
            ("rate_card.effective_at", |card| card.effective_at = None),
            ("rate_card.effective_at", |card| {
                card.effective_at = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 });
            }),
            ("rate_card.rates[1].unit", |card| card.rates[1].unit = 0),
            ("rate_card.rates[0].unit", |card| card.rates[0].unit = 9),
            ("rate_card.rates[1].credits_by_plan", |card| {
                card.rates[1].credits_by_plan.insert("gold".into(), 1);
            }),
        ];
        for (field, spoil) in table {
            let mut card = card();
            spoil(&mut card);
            assert_eq!(field_of(put_rate_card(v1::PutRateCardRequest { rate_card: Some(card) })), field);
        }
        assert_eq!(field_of(put_rate_card(v1::PutRateCardRequest { rate_card: None })), "rate_card");
    }
}
