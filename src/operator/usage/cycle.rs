//! The usage of a team in one cycle: its balance, and the sums of its usage rows.

use serde::Serialize;

use super::shares::{Counts, Shares};
use crate::{
    operator::timestamp::rfc3339,
    proto::v1::{Balance, Team, Trigger, UsageRow},
};

/// Credits of one overage block.
const BLOCK_CREDITS: i64 = 1_000;

/// Maximum number of flows in JSON. The others are summed up.
const MAX_FLOWS_IN_JSON: usize = 100;

/// The usage of a team in one cycle.
#[derive(Debug)]
pub(super) struct CycleUsage {
    pub(super) team: Team,
    pub(super) balance: Balance,
    pub(super) total: Counts,
    pub(super) tests: Counts,
    pub(super) days: Shares,
    pub(super) models: Shares,
    pub(super) flows: Shares,
}

impl CycleUsage {
    /// Creates the usage of a cycle, without rows.
    pub(super) fn new(team: Team, balance: Balance) -> Self {
        let (total, tests) = Default::default();
        let (days, models, flows) = Default::default();
        Self { team, balance, total, tests, days, models, flows }
    }

    /// Adds usage rows.
    pub(super) fn add_rows(&mut self, rows: Vec<UsageRow>) {
        for row in rows {
            self.total.add(&row);
            if row.trigger() == Trigger::Test {
                self.tests.add(&row);
            }
            self.days.add(&row.day, &row);
            self.models.add(&row.model, &row);
            self.flows.add(&row.flow_id, &row);
        }
    }

    /// Returns the allotment, in credits.
    pub(super) fn allotment(&self) -> i64 {
        self.balance.included + self.balance.waived + self.balance.overage
    }

    /// Returns the number of overage blocks bought.
    pub(super) fn blocks(&self) -> i64 {
        self.balance.overage / BLOCK_CREDITS
    }

    /// Returns the usage for JSON.
    pub(super) fn json(&self) -> CycleUsageJson<'_> {
        let balance = &self.balance;
        let (flows, other_flows) = self.flows.largest(MAX_FLOWS_IN_JSON);
        CycleUsageJson {
            team_id: &self.team.team_id,
            plan: &balance.plan,
            paid_seat: self.team.paid_seat,
            cycle_start: rfc3339(balance.cycle_start),
            cycle_end: rfc3339(balance.cycle_end),
            allotment: self.allotment(),
            included: balance.included,
            waived: balance.waived,
            overage: balance.overage,
            overage_blocks: self.blocks(),
            used: balance.used,
            run_completion: balance.run_completion,
            above_hold: balance.above_hold,
            held: balance.held,
            remaining: balance.remaining,
            overages_enabled: balance.overages_enabled,
            overage_cap_blocks: self.team.overage_cap_blocks,
            next_rate_card: Some(balance.next_rate_card.as_str()).filter(|version| !version.is_empty()),
            total: self.total,
            tests: self.tests,
            days: self.days.by_name().map(|(day, counts)| DayJson { day, counts }).collect(),
            models: self.models.by_name().map(|(model, counts)| ModelJson { model, counts }).collect(),
            flows: flows.into_iter().map(|(flow_id, counts)| FlowJson { flow_id, counts }).collect(),
            other_flows,
        }
    }
}

/// The usage of a cycle in JSON. Field names that are in the gRPC contract have the same meaning.
#[derive(Debug, Serialize)]
pub(super) struct CycleUsageJson<'a> {
    team_id: &'a str,
    plan: &'a str,
    paid_seat: bool,
    cycle_start: String,
    cycle_end: String,
    allotment: i64,
    included: i64,
    waived: i64,
    overage: i64,
    overage_blocks: i64,
    used: i64,
    run_completion: i64,
    above_hold: i64,
    held: i64,
    remaining: i64,
    overages_enabled: bool,
    overage_cap_blocks: Option<u32>,
    next_rate_card: Option<&'a str>,
    total: Counts,
    tests: Counts,
    days: Vec<DayJson<'a>>,
    models: Vec<ModelJson<'a>>,
    /// The flows with the most credits.
    flows: Vec<FlowJson<'a>>,
    other_flows: Counts,
}

#[derive(Debug, Serialize)]
struct DayJson<'a> {
    day: &'a str,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Debug, Serialize)]
struct ModelJson<'a> {
    model: &'a str,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Debug, Serialize)]
struct FlowJson<'a> {
    flow_id: &'a str,
    #[serde(flatten)]
    counts: Counts,
}
