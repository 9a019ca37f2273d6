//! What came out of a replay: counts and credits by team, latencies, and whether the sidecar's books agree.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    balances::OpeningBalance,
    executor::{CallOutcome, End},
};
use crate::proto::v1::{Basis, SuspendReason};

/// How many different errors a report keeps.
const ERRORS_KEPT: usize = 5;

/// The result of a replay.
#[derive(Debug, Serialize)]
pub struct ReplayReport {
    /// What the ids of this replay's reservations and runs begin with.
    pub label: String,
    /// The rows of the trace.
    pub rows: u64,
    /// Whether rows were left out, because somebody stopped the replay or the sidecar could not be reached.
    pub stopped_early: bool,
    /// How long the calls took together, in seconds.
    pub elapsed_seconds: f64,
    /// By team, in their order.
    pub teams: Vec<TeamReport>,
    /// The sums of all teams; its `team` and `plan` are empty.
    pub total: TeamReport,
    /// How long a reserve took, repeats included.
    pub reserve: Latency,
    /// How long a commit took, repeats included.
    pub commit: Latency,
    /// The first few different errors.
    pub errors: Vec<String>,
}

/// What happened to one team.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TeamReport {
    /// The team's id.
    pub team: String,
    /// The team's plan, which is the one asked for only if this replay made the team.
    pub plan: String,
    /// Whether it has a paid seat.
    pub paid_seat: bool,
    /// The calls that were made.
    pub calls: u64,
    /// Those that were allowed to proceed.
    pub proceeded: u64,
    /// Those that have to wait, by reason.
    pub suspended: BTreeMap<String, u64>,
    /// Those that got no usable answer to their reserve or commit.
    pub failed: u64,
    /// Those that were committed after their hold had run out.
    pub late: u64,
    /// The credits that the commits answered.
    pub credits: i64,
    /// How many of these current runs used past the limit.
    pub run_completion_credits: i64,
    /// By how many credits GetUsage grew meanwhile; absent if it could not be read in the end.
    pub usage_growth: Option<i64>,
    /// Whether that is the credits that the commits answered.
    pub books: Reconciliation,
}

/// How the credits that the commits answered compare with the growth of GetUsage. The greater, the worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reconciliation {
    /// They are the same.
    #[default]
    Agree,
    /// GetUsage could not be read in the end.
    Unread,
    /// They are not the same.
    Differ,
}

/// How long the calls of one kind took, in microseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    /// The calls that were answered.
    pub count: u64,
    /// Half of them took at most this long.
    pub p50_us: f64,
    /// 99 % of them took at most this long.
    pub p99_us: f64,
    /// 99.9 % of them took at most this long.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
}

/// A report in the making.
#[derive(Debug)]
pub(super) struct Tally {
    teams: Vec<TeamReport>,
    reserve_ns: Histogram<u64>,
    commit_ns: Histogram<u64>,
    errors: Vec<String>,
}

/// What a report says of the replay as a whole.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) label: String,
    pub(super) rows: usize,
    pub(super) elapsed_ns: i64,
}

impl Tally {
    /// An empty one for these teams.
    pub(super) fn new(openings: &[OpeningBalance]) -> anyhow::Result<Self> {
        let teams = openings.iter().map(|opening| TeamReport {
            team: opening.team.team_id.clone(),
            plan: opening.team.plan.clone(),
            paid_seat: opening.team.paid_seat,
            ..TeamReport::default()
        });
        Ok(Self {
            teams: teams.collect(),
            reserve_ns: Histogram::new(3)?,
            commit_ns: Histogram::new(3)?,
            errors: Vec::new(),
        })
    }

    /// Counts one call.
    pub(super) fn count(&mut self, outcome: CallOutcome) -> anyhow::Result<()> {
        if let Some(ns) = outcome.reserve_ns {
            self.reserve_ns.record(ns)?;
        }
        if let Some(ns) = outcome.commit_ns {
            self.commit_ns.record(ns)?;
        }
        let team = &mut self.teams[outcome.team];
        team.calls += 1;
        match outcome.end {
            End::Committed { credits, basis, late } => {
                team.proceeded += 1;
                team.late += u64::from(late);
                team.credits += credits;
                // A late commit has no hold left, so its basis says nothing about where it was counted.
                if basis == Basis::RunCompletion && !late {
                    team.run_completion_credits += credits;
                }
            }
            End::Suspended(reason) => *team.suspended.entry(name_of(reason)).or_default() += 1,
            End::Failed { proceeded, error, .. } => {
                team.proceeded += u64::from(proceeded);
                team.failed += 1;
                self.note(error);
            }
        }
        Ok(())
    }

    /// Keeps an error, unless it is known or there are enough.
    pub(super) fn note(&mut self, error: String) {
        if self.errors.len() < ERRORS_KEPT && !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// The report, given by how much each team's books grew; teams without a growth come last.
    pub(super) fn close(mut self, summary: Summary, growths: &[i64]) -> ReplayReport {
        let mut total = TeamReport { usage_growth: Some(0), ..TeamReport::default() };
        for (index, team) in self.teams.iter_mut().enumerate() {
            team.usage_growth = growths.get(index).copied();
            team.books = match team.usage_growth {
                None => Reconciliation::Unread,
                Some(growth) if growth == team.credits => Reconciliation::Agree,
                Some(_) => Reconciliation::Differ,
            };
            total.add(team);
        }
        ReplayReport {
            label: summary.label,
            rows: summary.rows as u64,
            stopped_early: total.calls < summary.rows as u64,
            elapsed_seconds: summary.elapsed_ns as f64 / 1e9,
            teams: self.teams,
            total,
            reserve: latency(&self.reserve_ns),
            commit: latency(&self.commit_ns),
            errors: self.errors,
        }
    }
}

impl TeamReport {
    fn add(&mut self, team: &Self) {
        self.calls += team.calls;
        self.proceeded += team.proceeded;
        for (reason, count) in &team.suspended {
            *self.suspended.entry(reason.clone()).or_default() += count;
        }
        self.failed += team.failed;
        self.late += team.late;
        self.credits += team.credits;
        self.run_completion_credits += team.run_completion_credits;
        self.usage_growth = self.usage_growth.zip(team.usage_growth).map(|(sum, growth)| sum + growth);
        self.books = self.books.max(team.books);
    }
}

fn name_of(reason: SuspendReason) -> String {
    reason.as_str_name().trim_start_matches("SUSPEND_REASON_").to_ascii_lowercase()
}

fn latency(histogram: &Histogram<u64>) -> Latency {
    let us = |ns: u64| ns as f64 / 1e3;
    Latency {
        count: histogram.len(),
        p50_us: us(histogram.value_at_quantile(0.5)),
        p99_us: us(histogram.value_at_quantile(0.99)),
        p999_us: us(histogram.value_at_quantile(0.999)),
        max_us: us(histogram.max()),
    }
}
