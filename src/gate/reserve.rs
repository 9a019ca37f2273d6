//! CheckAndReserve, from the cached view to the verified answer.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{
    Gate, GateError,
    attempts::{Attempts, Obstacle, Round},
    calls::{Balance, Proceed, ReserveAnswer, ReserveCall, ReserveDecision, SuspendAnswer},
    pricing::{Beliefs, belief, price},
    replay::{grant_of, proceed, replay},
};
use crate::{
    cache::{CachedRefusal, RefusalQuery},
    domain::{
        account::Account,
        assumptions::Assumptions,
        catalogue::VersionedCatalogue,
        id::Id,
        reservation::{Basis, Content, Reservation},
        reserve::{Request, Reserve, ReserveVerdict},
        suspension::Suspension,
        terms::Terms,
    },
    transaction::Reply,
};

impl Gate {
    /// Holds the credits of one block, or says why it has to wait.
    ///
    /// # Errors
    /// Whatever keeps the gate from a verified answer; a suspension is an answer.
    pub async fn check_and_reserve(self: &Arc<Self>, call: ReserveCall) -> Result<ReserveAnswer, GateError> {
        self.refuse_if_draining()?;
        let id = call.reservation.clone().map_or_else(new_id, Ok)?;
        let unacknowledged = call.reservation.is_some().then(|| self.recent.begin(&call.team, &id));
        let answer = self.reserve(&call, &id).await?;
        self.count(&call, &answer);
        if let Some(unacknowledged) = unacknowledged {
            unacknowledged.answered();
        }
        Ok(answer)
    }

    fn count(&self, call: &ReserveCall, answer: &ReserveAnswer) {
        if call.dry_run {
            return;
        }
        match &answer.decision {
            ReserveDecision::Proceed(Proceed { reservation, replayed, .. }) => {
                let terms = &reservation.terms;
                let outcome = if *replayed { "replay" } else { "proceed" };
                self.trace_decision(outcome, None, Some(terms.basis.name()));
                if *replayed {
                    self.metrics.replays(&call.team, terms.basis);
                } else {
                    self.metrics.proceeds(&call.team, terms.basis, terms.credits);
                }
            }
            ReserveDecision::Suspend(suspend) => {
                let reason = suspend.suspension.reason;
                self.trace_decision("suspend", Some(reason.name()), None);
                self.metrics.suspends(&call.team, reason);
            }
        }
    }

    async fn reserve(self: &Arc<Self>, call: &ReserveCall, id: &Id) -> Result<ReserveAnswer, GateError> {
        let mut attempts = Attempts::default();
        loop {
            // One reading for all: what it decides is verified by the store, or was by the grant of a lease.
            let at_ms = self.clock.monotonic_ms();
            let now_ms = self.store_time.at(at_ms);
            let catalogue = self.catalogue.fresh_at(now_ms, &self.store).await?;
            let believed = self.believed_at(&call.team, at_ms).await?;
            let priced = match price(call, &believed.terms, &catalogue, now_ms) {
                Ok(priced) => priced,
                Err(unpriced) => return Box::pin(self.replay_unpriced(call, id, &catalogue, unpriced)).await,
            };
            let beliefs = Beliefs { priced: &priced, believed: &believed, catalogue: &catalogue, at_ms, now_ms };
            if let Some(answer) = self.answer_from_memory(call, id, &beliefs).await {
                return answer;
            }
            if let Some(answer) = self.refusal_from_memory(call, id, &beliefs) {
                return Ok(answer);
            }
            match Box::pin(self.write_through(call, id, &beliefs, &attempts)).await? {
                Round::Done(answer) => return Ok(answer),
                Round::Blocked(obstacle) => self.remove(&call.team, obstacle, &mut attempts).await?,
            }
        }
    }

    /// Asks the store. After an obstacle, the call decides again, with what the reply taught.
    async fn write_through(
        &self,
        call: &ReserveCall,
        id: &Id,
        beliefs: &Beliefs<'_>,
        attempts: &Attempts,
    ) -> Result<Round<ReserveAnswer>, GateError> {
        let Beliefs { priced, believed, catalogue, now_ms, .. } = beliefs;
        let belief = Assumptions { recall_leases_first: attempts.may_recall(), ..belief(believed, catalogue, *now_ms) };
        let belief = if attempts.any_stale() { belief.with_all_options() } else { belief };
        let request = Request {
            team: &call.team,
            reservation: id,
            content: &priced.content,
            hold_ms: call.hold_ms,
            dry_run: call.dry_run,
        };
        let mut step = Reserve::new(&request, &priced.price, &belief, &self.policy);
        let asked_at_ms = self.clock.monotonic_ms();
        let reply = match priced.content.run_of_trigger() {
            Some(run) => self.transact_after_record(&call.team, run, step.transaction.take()).await?,
            None => self.transact(step.transaction.take()).await?,
        };
        let terms = self.team_exists(&call.team, step.terms(&reply)?)?;
        let account = step.account(&reply)?;
        self.learn(&call.team, &terms, account.clone(), reply.outcome);
        self.learn_run(call, &step, &reply)?;

        match step.verdict(&reply, &self.policy)? {
            ReserveVerdict::Stale => Ok(Round::Blocked(Obstacle::Stale)),
            ReserveVerdict::RunEnded => Err(GateError::RunEnded),
            ReserveVerdict::RunOfAnotherFlow => Err(GateError::IdReused { what: "run_id" }),
            ReserveVerdict::Exists(existing) if existing.is_forgotten(reply.now_ms, &self.policy) => {
                Ok(Round::Blocked(Obstacle::Forgotten(id.clone(), existing)))
            }
            ReserveVerdict::Exists(existing) => {
                let balance = self.current_balance(catalogue, &terms, account, &reply);
                let existing = existing.at(reply.now_ms);
                let grant = grant_of(&existing);
                replay(call, id.clone(), existing, grant, catalogue, balance).map(Round::Done)
            }
            ReserveVerdict::Granted(reservation) => {
                let balance = self.current_balance(catalogue, &terms, account, &reply);
                Ok(Round::Done(self.proceed(call, id.clone(), reservation, balance)))
            }
            ReserveVerdict::Refused { holds, open_leases, in_current_run } => {
                if let Some(obstacle) = attempts.obstacle_to(&holds, &open_leases, reply.now_ms) {
                    return Ok(Round::Blocked(obstacle));
                }
                let credits = priced.price.credits;
                let refusal = CachedRefusal {
                    reservation: id.clone(),
                    credits,
                    run: flow_and_run(&priced.content).map(|(flow, run)| (flow.clone(), run.clone())),
                    in_current_run,
                    account: self.current_account(catalogue, &terms, account, &reply),
                    holds,
                    checked_at_ms: asked_at_ms,
                };
                let answer = self.suspended(call, catalogue, &terms, &refusal, credits, reply.now_ms);
                self.cache.remember_refusal(&call.team, refusal, believed.changes);
                Ok(Round::Done(answer))
            }
        }
    }

    fn refusal_from_memory(&self, call: &ReserveCall, id: &Id, beliefs: &Beliefs<'_>) -> Option<ReserveAnswer> {
        let Beliefs { priced, catalogue, at_ms, now_ms, .. } = *beliefs;
        let run = flow_and_run(&priced.content);
        let asked =
            RefusalQuery { credits: priced.price.credits, run, trigger: call.trigger, now_ms, monotonic_ms: at_ms };
        let (terms, mut refusal) = self.cache.find_refusal(&call.team, &asked)?;
        if call.reservation.is_some() && self.may_have_been_made(&call.team, id, &refusal) {
            return None;
        }
        refusal.in_current_run &= run.is_some() && refusal.is_of(run);
        Some(self.suspended(call, catalogue, &terms, &refusal, priced.price.credits, now_ms))
    }

    /// Whether a reservation of that id may exist: a repeat returns the first result, which only the store can tell.
    /// What another sidecar settled is not known here; so an id is taken for a new one once, and then the store is
    /// asked.
    fn may_have_been_made(&self, team: &Id, id: &Id, refusal: &CachedRefusal) -> bool {
        let open = refusal.holds.iter().any(|hold| hold.is_of(id));
        let verified_absent = refusal.reservation == *id;
        open || self.recent.recall(team, id).is_some() || !(verified_absent || self.recent.may_refuse(team, id))
    }

    fn suspended(
        &self,
        call: &ReserveCall,
        catalogue: &VersionedCatalogue,
        terms: &Terms,
        refusal: &CachedRefusal,
        credits: i64,
        now_ms: i64,
    ) -> ReserveAnswer {
        let suspension = Suspension::new(terms, &refusal.account, credits, &refusal.holds, refusal.in_current_run);
        let retry_after_ms = suspension.retry_after_ms(now_ms);
        if !call.dry_run {
            self.note_suspended(&call.team, &suspension);
        }
        ReserveAnswer {
            decision: ReserveDecision::Suspend(SuspendAnswer { suspension, retry_after_ms }),
            balance: self.balance(catalogue, terms, refusal.account.clone()),
        }
    }

    fn proceed(&self, call: &ReserveCall, id: Id, reservation: Reservation, balance: Balance) -> ReserveAnswer {
        if call.dry_run {
            let id = call.reservation.clone();
            let grant = if id.is_some() { grant_of(&reservation) } else { Bytes::new() };
            return proceed(id, reservation, grant, false, balance);
        }
        if reservation.terms.basis != Basis::RunCompletion {
            self.note_proceeds(&call.team, self.clock.monotonic_ms());
        }
        self.recent.remember(&call.team, &id, &reservation);
        self.cache.note_due(&call.team, reservation.expires_at_ms);
        let grant = grant_of(&reservation);
        proceed(Some(id), reservation, grant, false, balance)
    }

    /// What a reply shows of the call's run is remembered, for calls that are answered from memory.
    fn learn_run(&self, call: &ReserveCall, step: &Reserve, reply: &Reply) -> Result<(), GateError> {
        if let (Some(run), Some(id)) = (step.run(reply)?, &call.run) {
            self.remember_run(&call.team, id, &run, reply.now_ms);
        }
        Ok(())
    }

    /// The model is not on the card in effect. A repeat of an earlier call is still answered as it was.
    async fn replay_unpriced(
        &self,
        call: &ReserveCall,
        id: &Id,
        catalogue: &Arc<VersionedCatalogue>,
        unpriced: GateError,
    ) -> Result<ReserveAnswer, GateError> {
        let Some((existing, grant)) = self.made(&call.team, id).await? else { return Err(unpriced) };
        let terms = self.read_terms(&call.team).await?;
        let account = self.read_current_account(&call.team, &terms, catalogue).await?;
        let balance = self.balance(catalogue, &terms, account);
        replay(call, id.clone(), existing, grant, catalogue, balance)
    }

    /// A reservation that was made, as it stands now, and what it is settled with: what has a record is as the store
    /// has it, whoever settled or extended it, and what was opened from a lease here is as it was opened.
    pub(super) async fn made(&self, team: &Id, id: &Id) -> Result<Option<(Reservation, Bytes)>, GateError> {
        let opened = self.escrow.find_with_grant(team, id);
        let (recorded, reply) = self.read_reservation(team, id).await?;
        let is_what_was_opened =
            |recorded: &Reservation| !opened.as_ref().is_some_and(|(held, _)| held.supersedes(recorded, reply.now_ms));
        if let Some(recorded) = recorded.filter(is_what_was_opened) {
            let recorded = recorded.at(reply.now_ms);
            let grant = grant_of(&recorded);
            return Ok(Some((recorded, grant)));
        }
        Ok(opened.map(|(held, grant)| (held.reservation.at(reply.now_ms), Bytes::copy_from_slice(&grant))))
    }

    /// The account of the current cycle, as a reply has it; one that was never written to is as it would begin.
    pub(super) fn current_account(
        &self,
        catalogue: &VersionedCatalogue,
        terms: &Terms,
        account: Option<Account>,
        reply: &Reply,
    ) -> Account {
        account.unwrap_or_else(|| {
            let included = terms.included(&catalogue.catalogue.included_credits);
            Account::new(terms.anchor.cycle_at(reply.now_ms), included, terms)
        })
    }

    pub(super) fn current_balance(
        &self,
        catalogue: &VersionedCatalogue,
        terms: &Terms,
        account: Option<Account>,
        reply: &Reply,
    ) -> Balance {
        let account = self.current_account(catalogue, terms, account, reply);
        self.balance(catalogue, terms, account)
    }
}

fn flow_and_run(content: &Content) -> Option<(&Id, &Id)> {
    content.run_of_trigger().map(|run| (&content.flow, run))
}

fn new_id() -> Result<Id, GateError> {
    let text = Uuid::now_v7().to_string();
    Id::parse(&text).map_err(|problem| GateError::invalid("reservation_id", problem.to_string()))
}
