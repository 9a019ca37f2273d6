//! The result of a replay: counts and credits by team, latencies, and the comparison with the sidecar's usage.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    balances::OpeningBalance,
    executor::{CallOutcome, End},
};
use crate::proto::v1::{Basis, SuspendReason};

/// Maximum number of distinct errors in a report.
const MAX_ERRORS: usize = 5;

/// The result of a replay.
#[derive(Debug, Serialize)]
pub struct ReplayReport {
    /// Prefix of all reservation and run ids of this replay.
    pub label: String,
    /// Number of rows in the trace.
    pub rows: u64,
    /// Whether rows were skipped, because the replay was interrupted or the sidecar could not be reached.
    pub stopped_early: bool,
    /// Time from the first call to the end of the last one, in seconds.
    pub elapsed_seconds: f64,
    /// The results of each team, by index.
    pub teams: Vec<TeamReport>,
    /// The sums over all teams. `team` and `plan` are empty.
    pub total: TeamReport,
    /// Latency of CheckAndReserve, including retries.
    pub reserve: Latency,
    /// Latency of Commit, including retries.
    pub commit: Latency,
    /// The first distinct errors.
    pub errors: Vec<String>,
}

/// The results of one team.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TeamReport {
    /// The team's id.
    pub team: String,
    /// The team's plan. It is the plan of the arguments only if this replay created the team.
    pub plan: String,
    /// Whether the team has a paid seat.
    pub paid_seat: bool,
    /// Number of calls made.
    pub calls: u64,
    /// Number of calls that could proceed.
    pub proceeded: u64,
    /// Number of suspended calls, by reason.
    pub suspended: BTreeMap<String, u64>,
    /// Number of calls whose reserve or commit failed.
    pub failed: u64,
    /// Number of calls committed after their hold expired.
    pub late: u64,
    /// Sum of the credits in the answers to Commit.
    pub credits: i64,
    /// The part of `credits` that current runs used past the limit.
    pub run_completion_credits: i64,
    /// Growth of the credits in GetUsage during the replay. `None` if GetUsage failed afterwards.
    pub usage_growth: Option<i64>,
    /// Whether `usage_growth` equals `credits`.
    pub books: Reconciliation,
}

/// How the credits of all commits compare with the growth of GetUsage. A greater value is worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reconciliation {
    /// They are equal.
    #[default]
    Agree,
    /// GetUsage failed after the replay.
    Unread,
    /// They are not equal.
    Differ,
}

/// Latency of the calls of one method, in microseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    /// Number of answered calls.
    pub count: u64,
    /// Median.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// Maximum.
    pub max_us: f64,
}

/// Counts the outcomes of calls until the report is made.
#[derive(Debug)]
pub(super) struct Tally {
    teams: Vec<TeamReport>,
    reserve_ns: Histogram<u64>,
    commit_ns: Histogram<u64>,
    errors: Vec<String>,
}

/// The parts of a report that are about the whole replay.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) label: String,
    pub(super) rows: usize,
    pub(super) elapsed_ns: i64,
}

impl Tally {
    /// Creates an empty tally for these teams.
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

    /// Counts the outcome of one call.
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
                // A late commit is charged without its hold, so the basis of the hold does not apply to its credits.
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

    /// Adds an error, unless it is already there or the maximum is reached.
    pub(super) fn note(&mut self, error: String) {
        if self.errors.len() < MAX_ERRORS && !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// Makes the report. `growths` has the growth of each team's usage, by index; the last teams may have none.
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
