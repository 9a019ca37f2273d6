//! CheckAndReserve, from the cached view to the verified answer.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{
    Gate, GateError, Rounds,
    calls::{Balance, Proceed, ReserveAnswer, ReserveCall, ReserveDecision, SuspendAnswer},
    due::ExpiryRounds,
    memory::Beliefs,
};
use crate::{
    cache::{CachedRefusal, RefusalQuery, TeamSnapshot},
    domain::{
        account::Account,
        assumptions::Assumptions,
        catalogue::VersionedCatalogue,
        id::Id,
        rate_card::Rate,
        reservation::{Basis, Content, Reservation, State},
        reserve::{Price, Request, Reserve, ReserveVerdict},
        suspension::Suspension,
        terms::Terms,
    },
    transaction::Reply,
};

/// A call that has been priced, on what is believed now.
pub(super) struct Priced {
    pub(super) content: Content,
    pub(super) price: Price,
}

/// What one call has tried.
#[derive(Debug, Default)]
struct Attempts {
    rounds: Rounds,
    expiry_rounds: ExpiryRounds,
    /// The team's leases were called back for it.
    has_called_back: bool,
}

impl Gate {
    /// Holds the credits of one block, or says why it has to wait.
    ///
    /// # Errors
    /// Whatever keeps the gate from a verified answer; a suspension is an answer.
    pub async fn check_and_reserve(self: &Arc<Self>, call: ReserveCall) -> Result<ReserveAnswer, GateError> {
        self.refuse_if_draining()?;
        let id = call.reservation.clone().map_or_else(new_id, Ok)?;
        let untold = call.reservation.is_some().then(|| self.recent.begin(&call.team, &id));
        let answer = self.reserve(&call, &id).await?;
        self.count(&call, &answer);
        if let Some(untold) = untold {
            untold.told();
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
            if let Some(answer) = Box::pin(self.write_through(call, id, &beliefs, &mut attempts)).await? {
                return Ok(answer);
            }
        }
    }

    /// Asks the store. `None` if it is to be decided anew, with what the reply taught.
    async fn write_through(
        &self,
        call: &ReserveCall,
        id: &Id,
        beliefs: &Beliefs<'_>,
        attempts: &mut Attempts,
    ) -> Result<Option<ReserveAnswer>, GateError> {
        let Beliefs { priced, believed, catalogue, now_ms, .. } = beliefs;
        let recall_leases_first = !attempts.has_called_back;
        let belief = Assumptions { recall_leases_first, ..belief(believed, catalogue, *now_ms) };
        let belief = if attempts.rounds.any() { belief.with_all_options() } else { belief };
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
            ReserveVerdict::Stale => self.stale(&mut attempts.rounds)?,
            ReserveVerdict::RunEnded => return Err(GateError::RunEnded),
            ReserveVerdict::RunOfAnotherFlow => return Err(GateError::IdReused { what: "run_id" }),
            ReserveVerdict::Exists(existing) if existing.is_forgotten(reply.now_ms, &self.policy) => {
                self.stale(&mut attempts.rounds)?;
                self.expire(&call.team, &[(id.clone(), existing.into())]).await?;
            }
            ReserveVerdict::Exists(existing) => {
                let balance = self.current_balance(catalogue, &terms, account, &reply);
                let existing = existing.at(reply.now_ms);
                let grant = grant_of(&existing);
                return replay(call, id.clone(), existing, grant, catalogue, balance).map(Some);
            }
            ReserveVerdict::Granted(reservation) => {
                let balance = self.current_balance(catalogue, &terms, account, &reply);
                return Ok(Some(self.proceed(call, id.clone(), reservation, balance)));
            }
            ReserveVerdict::Refused { holds, .. } if holds.iter().any(|hold| hold.is_due(reply.now_ms)) => {
                attempts.expiry_rounds.next()?;
                self.expire_due(&call.team, &holds, reply.now_ms).await?;
            }
            ReserveVerdict::Refused { open_leases, .. } if recall_leases_first && !open_leases.is_empty() => {
                attempts.has_called_back = true;
                self.call_back(&call.team).await?;
            }
            ReserveVerdict::Refused { holds, in_current_run, .. } => {
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
                return Ok(Some(answer));
            }
        }
        Ok(None)
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

    /// Whether a reservation of that id may exist: a repeat returns the first result, which only the store can tell. What
    /// another sidecar settled is not known here; so an id is taken for a new one once, and then the store is asked.
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

    /// A reservation that was made, as it stands now, and what it is settled with: what has a record is as the store has it, whoever
    /// settled or extended it, and what was opened from a lease here is as it was opened.
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

/// What a transaction on the current cycle is built from.
pub(super) fn belief<'a>(
    believed: &'a TeamSnapshot,
    catalogue: &'a VersionedCatalogue,
    now_ms: i64,
) -> Assumptions<'a> {
    let cycle = believed.terms.anchor.cycle_at(now_ms);
    let account = believed.account.as_ref().filter(|account| account.cycle == cycle);
    Assumptions {
        terms: &believed.terms,
        catalogue: &catalogue.catalogue,
        account_exists: account.is_some(),
        remaining: account.map(Account::remaining),
        recall_leases_first: true,
        now_ms,
    }
}

fn price(call: &ReserveCall, terms: &Terms, catalogue: &VersionedCatalogue, now_ms: i64) -> Result<Priced, GateError> {
    let unknown = |card: &str| GateError::UnknownModel { model: call.model.to_string(), rate_card: card.to_owned() };
    let card = catalogue.card_in_effect(now_ms).ok_or_else(|| unknown("in effect"))?;
    let rate: &Rate = card.card.rate(call.model.as_str()).ok_or_else(|| unknown(&card.card.version))?;
    // Most name a model as the card does.
    let model = match rate.model.as_str() {
        name if name == call.model.as_str() => call.model.clone(),
        name => Id::parse(name).map_err(|_| unknown(&card.card.version))?,
    };
    Ok(Priced {
        content: Content {
            flow: call.flow.clone(),
            run: call.run.clone(),
            block: call.block.clone(),
            model,
            units: call.units,
            trigger: call.trigger,
        },
        price: Price {
            credits: rate.price(terms.plan, call.units),
            rate_card: card.id.clone(),
            valid_ms: card.valid_ms,
        },
    })
}

/// A repeat returns the first result, if it asks for the same.
pub(super) fn replay(
    call: &ReserveCall,
    id: Id,
    existing: Reservation,
    grant: Bytes,
    catalogue: &VersionedCatalogue,
    balance: Balance,
) -> Result<ReserveAnswer, GateError> {
    let content = &existing.content;
    // The model may have been named by an alias, which the reservation's own card resolves.
    let rate = catalogue.catalogue.rate(existing.terms.rate_card.as_str(), call.model.as_str());
    let same_model = call.model == content.model || rate.is_some_and(|rate| rate.model == content.model.as_str());
    let same = same_model
        && content.flow == call.flow
        && content.run == call.run
        && content.block == call.block
        && content.units == call.units
        && content.trigger == call.trigger;
    if !same {
        return Err(GateError::IdReused { what: "reservation_id" });
    }
    if existing.state == State::Released {
        return Err(GateError::ReservationReleased);
    }
    let grant = if existing.state == State::Open { grant } else { Bytes::new() };
    Ok(proceed(Some(id), existing, grant, true, balance))
}

/// What the caller settles a reservation with that has a record.
fn grant_of(reservation: &Reservation) -> Bytes {
    if reservation.state == State::Open { Bytes::from(reservation.packed()) } else { Bytes::new() }
}

fn proceed(id: Option<Id>, reservation: Reservation, grant: Bytes, replayed: bool, balance: Balance) -> ReserveAnswer {
    ReserveAnswer { decision: ReserveDecision::Proceed(Proceed { id, reservation, grant, replayed }), balance }
}

fn flow_and_run(content: &Content) -> Option<(&Id, &Id)> {
    content.run_of_trigger().map(|run| (&content.flow, run))
}

fn new_id() -> Result<Id, GateError> {
    let text = Uuid::now_v7().to_string();
    Id::parse(&text).map_err(|problem| GateError::invalid("reservation_id", problem.to_string()))
}
