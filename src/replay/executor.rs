//! What a flow executor does with one block: reserve, call the model, commit, and end the run after its last block.
//!
//! It keeps no totals. Each call returns its outcome.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use tonic::Status;

use super::{retry, sidecar::SidecarClient, trace::Call};
use crate::{
    clock::Clock,
    proto::v1::{
        Basis, CheckAndReserveRequest, CommitRequest, EndRunRequest, Proceed, ReservationState, SuspendReason, Trigger,
        check_and_reserve_response::Decision,
    },
};

const FLOW: &str = "replay";
const BLOCK: &str = "completion";

/// Duration of a hold if the request names none.
const DEFAULT_HOLD_MS: u64 = 120_000;
/// Maximum duration of a hold.
const MAX_HOLD_MS: u64 = 3_600_000;

/// How much longer than the model call the hold lasts.
const HOLD_MARGIN_MS: u64 = 60_000;

/// The outcome of one call.
#[derive(Debug)]
pub(super) struct CallOutcome {
    pub(super) team: usize,
    /// Time from the first attempt to reserve until the answer. `None` if there was no answer.
    pub(super) reserve_ns: Option<u64>,
    /// Time from the first attempt to commit until the answer. `None` if there was no answer.
    pub(super) commit_ns: Option<u64>,
    pub(super) end: End,
}

/// How a call ended.
#[derive(Debug)]
pub(super) enum End {
    /// Its credits are charged. `late` means that the hold had expired before.
    Committed { credits: i64, basis: Basis, late: bool },
    /// The sidecar suspended the block.
    Suspended(SuspendReason),
    /// There was no answer, or an error, or an answer without the expected content.
    Failed { proceeded: bool, error: String, unreachable: bool },
}

/// Makes the calls of one replay.
#[derive(Debug)]
pub(super) struct Executor {
    sidecar: SidecarClient,
    clock: Clock,
    label: String,
    ms_per_token: u64,
    runs: Vec<RunProgress>,
}

/// The calls of one run that are still to be made.
#[derive(Debug)]
struct RunProgress {
    team: usize,
    calls_left: AtomicUsize,
    proceeded: AtomicBool,
}

impl Executor {
    /// Creates an executor of these calls. The label begins all ids, so that the ids of two replays never collide.
    pub(super) fn new(sidecar: SidecarClient, clock: Clock, label: String, ms_per_token: u64, calls: &[Call]) -> Self {
        let mut runs: Vec<RunProgress> = Vec::new();
        for call in calls {
            match runs.get_mut(call.run) {
                Some(run) => *run.calls_left.get_mut() += 1,
                // Runs are numbered in order of appearance, so an unknown run is always the next one.
                None => runs.push(RunProgress {
                    team: call.team,
                    calls_left: AtomicUsize::new(1),
                    proceeded: AtomicBool::new(false),
                }),
            }
        }
        Self { sidecar, clock, label, ms_per_token, runs }
    }

    /// Runs one block. After the last block of a run, ends the run.
    pub(super) async fn execute(&self, call: &Call) -> CallOutcome {
        let outcome = self.run_block(call).await;
        let run = &self.runs[call.run];
        if matches!(outcome.end, End::Committed { .. } | End::Failed { proceeded: true, .. }) {
            run.proceeded.store(true, Ordering::Release);
        }
        if run.calls_left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.end_run(call.run).await;
        }
        outcome
    }

    /// Ends the runs whose calls were not all made. Stops when the sidecar cannot be reached.
    pub(super) async fn end_unfinished_runs(&self) {
        for (index, run) in self.runs.iter().enumerate() {
            if run.calls_left.load(Ordering::Acquire) > 0 && !self.end_run(index).await {
                return;
            }
        }
    }

    async fn run_block(&self, call: &Call) -> CallOutcome {
        let mut outcome = CallOutcome { team: call.team, reserve_ns: None, commit_ns: None, end: failed(false, "") };
        let wait_ms = u64::from(call.generated_tokens).saturating_mul(self.ms_per_token);

        let began_ns = self.clock.monotonic_ns();
        let answer = match self.sidecar.check_and_reserve(self.reserve_request(call, wait_ms)).await {
            Ok(answer) => answer,
            Err(status) => return CallOutcome { end: refused(false, "CheckAndReserve", &status), ..outcome },
        };
        outcome.reserve_ns = Some(self.elapsed_ns(began_ns));
        let proceed = match answer.decision {
            Some(Decision::Proceed(proceed)) => proceed,
            Some(Decision::Suspend(suspend)) => {
                return CallOutcome { end: End::Suspended(suspend.reason()), ..outcome };
            }
            None => {
                return CallOutcome { end: failed(false, "CheckAndReserve: the answer has no decision"), ..outcome };
            }
        };
        if proceed.state() != ReservationState::Open {
            let state = proceed.state().as_str_name();
            return CallOutcome {
                end: failed(true, &format!("CheckAndReserve: the reservation is {state}")),
                ..outcome
            };
        }

        tokio::time::sleep(Duration::from_millis(wait_ms)).await;

        let basis = proceed.basis();
        let began_ns = self.clock.monotonic_ns();
        match self.sidecar.commit(commit_request(call, proceed)).await {
            Ok(answer) => {
                outcome.commit_ns = Some(self.elapsed_ns(began_ns));
                CallOutcome { end: End::Committed { credits: answer.credits, basis, late: answer.late }, ..outcome }
            }
            Err(status) => CallOutcome { end: refused(true, "Commit", &status), ..outcome },
        }
    }

    fn reserve_request(&self, call: &Call, wait_ms: u64) -> CheckAndReserveRequest {
        CheckAndReserveRequest {
            team_id: team_id(call.team),
            flow_id: FLOW.to_owned(),
            run_id: self.run_id(call.run),
            block_id: BLOCK.to_owned(),
            reservation_id: format!("{}-{}", self.label, call.row),
            model: call.model.to_owned(),
            units: 1,
            trigger: Trigger::Run.into(),
            hold_for: hold_for(wait_ms),
            dry_run: false,
        }
    }

    /// Ends a run, and returns whether the sidecar could be reached.
    ///
    /// The sidecar does not know a run that never proceeded, so such a run needs no end. An error is harmless: the run stops
    /// being current at its maximum age.
    async fn end_run(&self, index: usize) -> bool {
        let run = &self.runs[index];
        if run.proceeded.load(Ordering::Acquire) {
            let request = EndRunRequest { team_id: team_id(run.team), run_id: self.run_id(index) };
            if let Err(status) = self.sidecar.end_run(request).await {
                tracing::warn!(run = self.run_id(index), %status, "cannot end the run");
                return !retry::is_retryable(&status);
            }
        }
        true
    }

    fn run_id(&self, index: usize) -> String {
        format!("{}-run-{index}", self.label)
    }

    fn elapsed_ns(&self, began_ns: i64) -> u64 {
        u64::try_from(self.clock.monotonic_ns() - began_ns).unwrap_or(0)
    }
}

/// Returns the id of a team of the replay, by its index from 0.
pub(super) fn team_id(index: usize) -> String {
    format!("replay-{index}")
}

fn commit_request(call: &Call, proceed: Proceed) -> CommitRequest {
    CommitRequest {
        team_id: team_id(call.team),
        reservation_id: proceed.reservation_id,
        grant: proceed.grant,
        units: None,
        model: None,
    }
}

/// Returns the hold to ask for: `None` unless the model call may last longer than the default hold.
fn hold_for(wait_ms: u64) -> Option<prost_types::Duration> {
    let hold_ms = wait_ms.saturating_add(HOLD_MARGIN_MS).min(MAX_HOLD_MS);
    let seconds = i64::try_from(hold_ms.div_ceil(1_000)).ok()?;
    (hold_ms > DEFAULT_HOLD_MS).then_some(prost_types::Duration { seconds, nanos: 0 })
}

fn failed(proceeded: bool, error: &str) -> End {
    End::Failed { proceeded, error: error.to_owned(), unreachable: false }
}

fn refused(proceeded: bool, rpc: &str, status: &Status) -> End {
    let error = format!("{rpc}: {:?}: {}", status.code(), status.message());
    End::Failed { proceeded, error, unreachable: retry::is_retryable(status) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_lasts_longer_than_the_model_call() {
        let seconds = [0, 60_000, 60_001, 500_000, u64::MAX].map(|wait| hold_for(wait).map(|hold| hold.seconds));
        assert_eq!(seconds, [None, None, Some(121), Some(560), Some(3_600)]);
    }
}
