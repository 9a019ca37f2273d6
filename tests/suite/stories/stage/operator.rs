//! The verbs of billing and operators.

use tollgate::proto::v1::{PutRateCardRequest, PutTeamRequest, Rate, RateCard, SetOveragesRequest, Team, Unit};
use tonic::Status;

use super::{Stage, TEAM, answers::moment};

/// Terms of a team.
#[derive(Clone, Debug)]
pub(crate) struct Terms(Team);

/// Returns the terms of a team on this plan, without a paid seat, with anchor day 1.
pub(crate) fn plan(plan: &str) -> Terms {
    Terms(Team { team_id: TEAM.to_owned(), plan: plan.to_owned(), billing_anchor_day: 1, ..Team::default() })
}

pub(crate) fn free() -> Terms {
    plan("free")
}

pub(crate) fn basic() -> Terms {
    plan("basic")
}

pub(crate) fn professional() -> Terms {
    plan("professional")
}

impl Terms {
    pub(crate) fn with_seat(mut self) -> Self {
        self.0.paid_seat = true;
        self
    }

    pub(crate) fn including(mut self, credits: i64) -> Self {
        self.0.included_credits = Some(credits);
        self
    }

    pub(crate) fn anchored_on(mut self, day: u32) -> Self {
        self.0.billing_anchor_day = day;
        self
    }

    pub(crate) fn of(mut self, team: &str) -> Self {
        self.0.team_id = team.to_owned();
        self
    }
}

impl Stage {
    /// Creates a team, or replaces its terms.
    #[track_caller]
    pub(crate) fn put(&self, terms: Terms) -> Team {
        let request = PutTeamRequest { team: Some(terms.0) };
        self.wait_for(self.accounts.clone().put_team(request)).unwrap().into_inner().team.unwrap()
    }

    #[track_caller]
    pub(crate) fn overages_on(&self) -> Team {
        self.set_overages(true, None).unwrap()
    }

    #[track_caller]
    pub(crate) fn overages_capped_at(&self, blocks: u32) -> Team {
        self.set_overages(true, Some(blocks)).unwrap()
    }

    #[track_caller]
    pub(crate) fn overages_off(&self) -> Team {
        self.set_overages(false, None).unwrap()
    }

    pub(crate) fn set_overages(&self, enabled: bool, cap_blocks: Option<u32>) -> Result<Team, Status> {
        let request = SetOveragesRequest { team_id: TEAM.to_owned(), enabled, cap_blocks };
        Ok(self.wait_for(self.accounts.clone().set_overages(request))?.into_inner().team.unwrap())
    }

    pub(crate) fn announce(&self, card: RateCard) -> Result<RateCard, Status> {
        let request = PutRateCardRequest { rate_card: Some(card) };
        Ok(self.wait_for(self.accounts.clone().put_rate_card(request))?.into_inner().rate_card.unwrap())
    }
}

/// Returns a rate card with a price per call for these models.
pub(crate) fn card(version: &str, effective_at: &str, prices: &[(&str, i64)]) -> RateCard {
    let rate = |&(model, credits): &(&str, i64)| Rate {
        model: model.to_owned(),
        unit: Unit::Call.into(),
        credits,
        ..Rate::default()
    };
    RateCard {
        version: version.to_owned(),
        effective_at: Some(moment(effective_at)),
        rates: prices.iter().map(rate).collect(),
    }
}
