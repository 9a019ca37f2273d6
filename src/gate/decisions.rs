//! Reports decisions to the metrics, the traces and the log. It decides nothing itself.

mod suspended;

use std::sync::Arc;

use self::suspended::SuspendedTeams;
use super::{
    calls::{Proceed, ReserveAnswer, ReserveCall, ReserveDecision, RunDecision},
    error::GateError,
};
use crate::{
    domain::{
        billing_cycle::{Cycle, day_name},
        charging::CommitEffects,
        id::Id,
        reservation::{BackedReservation, State},
        settlement::Settlement,
        suspension::Suspension,
    },
    metrics::{Committed, GateMetrics},
    traces::Traces,
    transaction::{Outcome, Reply},
};

/// Reports decisions.
pub(crate) struct Decisions {
    metrics: Arc<GateMetrics>,
    traces: Option<Arc<Traces>>,
    suspended: SuspendedTeams,
}

impl Decisions {
    /// Reports to these metrics and traces, and to the log.
    pub(crate) fn new(metrics: Arc<GateMetrics>, traces: Option<Arc<Traces>>) -> Self {
        Self { metrics, traces, suspended: SuspendedTeams::default() }
    }

    /// Counts and traces the answer to a CheckAndReserve. A dry run is not counted.
    pub(crate) fn reserved(&self, call: &ReserveCall, answer: &ReserveAnswer) {
        if call.dry_run {
            return;
        }
        match &answer.decision {
            ReserveDecision::Proceed(Proceed { reservation, replayed, .. }) => {
                let terms = &reservation.terms;
                let outcome = if *replayed { "replay" } else { "proceed" };
                self.trace(outcome, None, Some(terms.basis.name()));
                if *replayed {
                    self.metrics.replays(&call.team, terms.basis);
                } else {
                    self.metrics.proceeds(&call.team, terms.basis, terms.credits);
                }
            }
            ReserveDecision::Suspend(suspend) => {
                let reason = suspend.suspension.reason;
                self.trace("suspend", Some(reason.name()), None);
                self.metrics.suspends(&call.team, reason);
            }
        }
    }

    /// Counts and traces the answer to a BeginRun.
    pub(crate) fn run_begun(&self, team: &Id, decision: &RunDecision) {
        match decision {
            RunDecision::Admitted { replayed, .. } => {
                self.trace(if *replayed { "replay" } else { "proceed" }, None, None);
                self.metrics.run_proceeds(team, *replayed);
            }
            RunDecision::Suspend(suspend) => {
                let reason = suspend.suspension.reason;
                self.trace("suspend", Some(reason.name()), None);
                self.metrics.run_suspends(team, reason);
            }
        }
    }

    /// Counts what a settlement of a reservation did, if its reply shows that it was applied.
    ///
    /// # Errors
    /// [`GateError::Damaged`] if the reply cannot be read.
    pub(crate) fn settled(
        &self,
        team: &Id,
        assumed: &BackedReservation,
        step: &Settlement,
        reply: &Reply,
    ) -> Result<(), GateError> {
        if !matches!(reply.outcome, Outcome::Applied { .. }) {
            return Ok(());
        }
        let credits = assumed.reservation.terms.credits;
        match step.reservation(reply)?.map(|settled| settled.state) {
            Some(State::Committed(charged)) => {
                let CommitEffects { blocks, run_completion, above_hold } = step.effects(reply);
                let committed = Committed { credits: charged.credits, run_completion, above_hold, blocks };
                self.metrics.committed(team, committed);
            }
            Some(State::Released) => self.metrics.released(team, credits),
            // No record is left if the retention of an expired reservation is over.
            Some(State::Expired) | None => self.metrics.expired(team, credits),
            Some(State::Open) => {}
        }
        Ok(())
    }

    /// Logs that overage blocks were charged. The last one is number `last_block` of the cycle.
    pub(crate) fn blocks_charged(&self, team: &Id, cycle: Cycle, last_block: i64, blocks: i64) {
        let (cycle, first_block) = (day_name(cycle.start_ms), last_block - blocks + 1);
        tracing::info!(%team, cycle, first_block, blocks, "overage blocks were charged");
    }

    /// Logs that a team is suspended, unless it was already, at a time of the sidecar's clock.
    pub(crate) fn team_suspended(&self, team: &Id, suspension: &Suspension, at_ms: i64) {
        if self.suspended.refused(team, at_ms) {
            let until = jiff::Timestamp::from_millisecond(suspension.resumes_at_ms).map(|at| at.to_string());
            let until = until.unwrap_or_default();
            tracing::info!(%team, reason = suspension.reason.name(), until, "a team is suspended");
        }
    }

    /// Logs that a team has resumed, if it was suspended before: a call proceeds at a time of the sidecar's clock,
    /// within what the team has or may buy.
    pub(crate) fn team_proceeds(&self, team: &Id, at_ms: i64) {
        if let Some(suspended_ms) = self.suspended.proceeds(team, at_ms) {
            tracing::info!(%team, suspended_ms, "a team has resumed");
        }
    }

    /// Forgets the teams that were last suspended in a cycle that is over.
    pub(crate) fn forget_old(&self, at_ms: i64) {
        self.suspended.drop_old(at_ms);
    }

    fn trace(&self, outcome: &'static str, reason: Option<&'static str>, basis: Option<&'static str>) {
        if let Some(traces) = &self.traces {
            traces.decided(outcome, reason, basis);
        }
    }
}
