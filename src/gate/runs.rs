//! BeginRun and EndRun.

use super::{
    Gate, GateError,
    attempts::{Attempts, Obstacle, Round},
    calls::{BeginRunAnswer, EndRunAnswer, RunDecision, SuspendAnswer},
    pricing::belief,
};
use crate::domain::{
    id::Id,
    run::Run,
    run_admission::{BEGIN_RUN_CREDITS, BeginRun, BeginVerdict, EndRun, EndVerdict},
    suspension::Suspension,
};

impl Gate {
    /// Makes a run current, if there is room for one credit.
    ///
    /// # Errors
    /// Whatever keeps the gate from a verified answer; a suspension is an answer.
    pub async fn begin_run(&self, team: &Id, flow: &Id, run: &Id) -> Result<BeginRunAnswer, GateError> {
        self.refuse_if_draining()?;
        let mut attempts = Attempts::default();
        loop {
            match self.try_to_begin_run(team, flow, run, &attempts).await? {
                Round::Done(answer) => return Ok(answer),
                Round::Blocked(obstacle) => self.remove(team, obstacle, &mut attempts).await?,
            }
        }
    }

    async fn try_to_begin_run(
        &self,
        team: &Id,
        flow: &Id,
        run: &Id,
        attempts: &Attempts,
    ) -> Result<Round<BeginRunAnswer>, GateError> {
        let catalogue = self.catalogue.fresh(&self.store).await?;
        let believed = self.believed(team).await?;
        let now_ms = self.store_time.now_ms();
        let mut step = BeginRun::new(team, flow, run, &belief(&believed, &catalogue, now_ms), &self.policy);
        let reply = self.transact_after_record(team, run, step.transaction.take()).await?;
        let terms = self.team_exists(team, step.terms(&reply)?)?;
        let account = step.account(&reply)?;
        self.learn(team, &terms, account.clone(), reply.outcome);
        let decision = match step.verdict(&reply, &self.policy)? {
            BeginVerdict::Stale => return Ok(Round::Blocked(Obstacle::Stale)),
            BeginVerdict::RunEnded => return Err(GateError::RunEnded),
            BeginVerdict::RunOfAnotherFlow => return Err(GateError::IdReused { what: "run_id" }),
            BeginVerdict::Admitted(begun) => {
                self.note_proceeds(team, self.clock.monotonic_ms());
                self.admitted(team, run, &begun, false, reply.now_ms)
            }
            BeginVerdict::AlreadyCurrent(begun) => self.admitted(team, run, &begun, true, reply.now_ms),
            BeginVerdict::Refused { holds, open_leases } => {
                if let Some(obstacle) = attempts.obstacle_to(&holds, &open_leases, reply.now_ms) {
                    return Ok(Round::Blocked(obstacle));
                }
                let account = self.current_account(&catalogue, &terms, account.clone(), &reply);
                let suspension = Suspension::new(&terms, &account, BEGIN_RUN_CREDITS, &holds, false);
                let retry_after_ms = suspension.retry_after_ms(reply.now_ms);
                self.note_suspended(team, &suspension);
                RunDecision::Suspend(SuspendAnswer { suspension, retry_after_ms })
            }
        };
        let balance = self.current_balance(&catalogue, &terms, account, &reply);
        self.count_run(team, &decision);
        Ok(Round::Done(BeginRunAnswer { decision, balance }))
    }

    fn admitted(&self, team: &Id, id: &Id, run: &Run, replayed: bool, now_ms: i64) -> RunDecision {
        self.remember_run(team, id, run, now_ms);
        RunDecision::Admitted { expires_at_ms: run.expires_at_ms(&self.policy), replayed }
    }

    fn count_run(&self, team: &Id, decision: &RunDecision) {
        match decision {
            RunDecision::Admitted { replayed, .. } => {
                self.trace_decision(if *replayed { "replay" } else { "proceed" }, None, None);
                self.metrics.run_proceeds(team, *replayed);
            }
            RunDecision::Suspend(suspend) => {
                let reason = suspend.suspension.reason;
                self.trace_decision("suspend", Some(reason.name()), None);
                self.metrics.run_suspends(team, reason);
            }
        }
    }

    /// Ends a run, and says what it has committed.
    ///
    /// # Errors
    /// [`GateError::RunNotFound`], [`GateError::TeamNotFound`], and whatever keeps the gate from a verified answer.
    pub async fn end_run(&self, team: &Id, run_id: &Id) -> Result<EndRunAnswer, GateError> {
        let mut step = EndRun::new(team, run_id);
        let reply = self.transact_after_record(team, run_id, step.transaction.take()).await?;
        match step.verdict(&reply)? {
            EndVerdict::NotFound => Err(GateError::RunNotFound),
            EndVerdict::TeamNotFound => Err(GateError::TeamNotFound),
            EndVerdict::Ended(run) => {
                self.cache.record_change(team);
                self.remember_run(team, run_id, &run, reply.now_ms);
                Ok(EndRunAnswer { credits: run.ended_credits, replayed: false })
            }
            EndVerdict::AlreadyEnded(run) => {
                self.remember_run(team, run_id, &run, reply.now_ms);
                Ok(EndRunAnswer { credits: run.ended_credits, replayed: true })
            }
        }
    }
}
