//! BeginRun and EndRun. This part must not know reservations.

use std::sync::Arc;

use super::{
    attempts::{Attempts, Obstacle, Round},
    calls::{BeginRunAnswer, EndRunAnswer, RunDecision, SuspendAnswer},
    decisions::Decisions,
    draining::Draining,
    error::GateError,
    obstacles::Obstacles,
    run_records::RunRecords,
    store_client::{StoreClient, assumptions},
};
use crate::domain::{
    id::Id,
    run::Run,
    run_admission::{BEGIN_RUN_CREDITS, BeginRun, BeginVerdict, EndRun, EndVerdict},
    suspension::Suspension,
};

/// Begins and ends runs.
pub(crate) struct Runs {
    pub(crate) store: Arc<StoreClient>,
    pub(crate) records: Arc<RunRecords>,
    pub(crate) obstacles: Arc<Obstacles>,
    pub(crate) decisions: Arc<Decisions>,
    pub(crate) draining: Draining,
}

impl Runs {
    /// Makes a run current, if there is room for one credit.
    pub(crate) async fn begin(&self, team: &Id, flow: &Id, run: &Id) -> Result<BeginRunAnswer, GateError> {
        self.draining.refuse()?;
        let mut attempts = Attempts::default();
        loop {
            match self.try_to_begin(team, flow, run, &attempts).await? {
                Round::Done(answer) => return Ok(answer),
                Round::Blocked(obstacle) => self.obstacles.remove(team, obstacle, &mut attempts).await?,
            }
        }
    }

    async fn try_to_begin(
        &self,
        team: &Id,
        flow: &Id,
        run: &Id,
        attempts: &Attempts,
    ) -> Result<Round<BeginRunAnswer>, GateError> {
        let store = &self.store;
        let catalogue = store.fresh_catalogue().await?;
        let snapshot = store.team_snapshot(team).await?;
        let assumptions = assumptions(&snapshot, &catalogue, store.now_ms());
        let mut step = BeginRun::new(team, flow, run, &assumptions, store.policy());
        let reply = self.records.transact_after_record(team, run, step.transaction.take()).await?;
        let terms = store.team_exists(team, step.terms(&reply)?)?;
        let account = step.account(&reply)?;
        store.learn(team, &terms, account.clone(), reply.outcome);
        let decision = match step.verdict(&reply, store.policy())? {
            BeginVerdict::Stale => return Ok(Round::Blocked(Obstacle::Stale)),
            BeginVerdict::RunEnded => return Err(GateError::RunEnded),
            BeginVerdict::RunOfAnotherFlow => return Err(GateError::IdReused { what: "run_id" }),
            BeginVerdict::Admitted(begun) => {
                self.decisions.team_proceeds(team, store.monotonic_ms());
                self.admitted(team, run, &begun, false, reply.now_ms)
            }
            BeginVerdict::AlreadyCurrent(begun) => self.admitted(team, run, &begun, true, reply.now_ms),
            BeginVerdict::Refused { holds, open_leases } => {
                if let Some(obstacle) = attempts.obstacle_to(&holds, &open_leases, reply.now_ms) {
                    return Ok(Round::Blocked(obstacle));
                }
                let account = store.current_account(&catalogue, &terms, account.clone(), &reply);
                let suspension = Suspension::new(&terms, &account, BEGIN_RUN_CREDITS, &holds, false);
                let retry_after_ms = suspension.retry_after_ms(reply.now_ms);
                self.decisions.team_suspended(team, &suspension, store.monotonic_ms());
                RunDecision::Suspend(SuspendAnswer { suspension, retry_after_ms })
            }
        };
        let balance = store.current_balance(&catalogue, &terms, account, &reply);
        self.decisions.run_begun(team, &decision);
        Ok(Round::Done(BeginRunAnswer { decision, balance }))
    }

    fn admitted(&self, team: &Id, id: &Id, run: &Run, replayed: bool, now_ms: i64) -> RunDecision {
        self.records.remember(team, id, run, now_ms);
        RunDecision::Admitted { expires_at_ms: run.expires_at_ms(self.store.policy()), replayed }
    }

    /// Ends a run, and returns what it has committed.
    pub(crate) async fn end(&self, team: &Id, id: &Id) -> Result<EndRunAnswer, GateError> {
        let mut step = EndRun::new(team, id);
        let reply = self.records.transact_after_record(team, id, step.transaction.take()).await?;
        let (run, replayed) = match step.verdict(&reply)? {
            EndVerdict::NotFound => return Err(GateError::RunNotFound),
            EndVerdict::TeamNotFound => return Err(GateError::TeamNotFound),
            EndVerdict::Ended(run) => {
                self.store.cache().record_change(team);
                (run, false)
            }
            EndVerdict::AlreadyEnded(run) => (run, true),
        };
        self.records.remember(team, id, &run, reply.now_ms);
        Ok(EndRunAnswer { credits: run.ended_credits, replayed })
    }
}
