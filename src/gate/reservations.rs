//! CheckAndReserve, from the last seen records to the verified answer; and the look-up of a reservation.
//!
//! A call is answered by the first of these that can: a held lease, a remembered refusal, the store.
//! This part must not know how obstacles are removed, or how leases are taken.

mod from_lease;
mod pricing;
mod refusals;
mod replay;

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use self::{
    pricing::{ReserveContext, price},
    refusals::flow_and_run,
    replay::{grant_of, proceed, replay},
};
use super::{
    attempts::{Attempts, Obstacle, Round},
    calls::{Balance, ReserveAnswer, ReserveCall},
    decisions::Decisions,
    draining::Draining,
    error::GateError,
    held_leases::HeldLeases,
    leases::Leases,
    obstacles::Obstacles,
    recent::RecentReservations,
    run_records::RunRecords,
    store_client::{StoreClient, assumptions},
};
use crate::{
    cache::CachedRefusal,
    domain::{
        assumptions::Assumptions,
        catalogue::VersionedCatalogue,
        id::Id,
        reservation::{Basis, Reservation},
        reserve::{Request, Reserve, ReserveVerdict},
    },
    transaction::Reply,
};

/// Makes reservations, and finds them.
pub(crate) struct Reservations {
    pub(crate) store: Arc<StoreClient>,
    pub(crate) held: Arc<HeldLeases>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) run_records: Arc<RunRecords>,
    pub(crate) obstacles: Arc<Obstacles>,
    pub(crate) recent: Arc<RecentReservations>,
    pub(crate) decisions: Arc<Decisions>,
    pub(crate) draining: Draining,
}

impl Reservations {
    /// Holds the credits of one call, or suspends the call.
    pub(crate) async fn check_and_reserve(&self, call: ReserveCall) -> Result<ReserveAnswer, GateError> {
        self.draining.refuse()?;
        let id = call.reservation.clone().map_or_else(new_id, Ok)?;
        let unacknowledged = call.reservation.is_some().then(|| self.recent.begin(&call.team, &id));
        let answer = self.reserve(&call, &id).await?;
        self.decisions.reserved(&call, &answer);
        if let Some(unacknowledged) = unacknowledged {
            unacknowledged.answered();
        }
        Ok(answer)
    }

    async fn reserve(&self, call: &ReserveCall, id: &Id) -> Result<ReserveAnswer, GateError> {
        let mut attempts = Attempts::default();
        loop {
            // The clock is read once. What it decides is verified by the store, or was verified by the grant of a
            // lease.
            let at_ms = self.store.monotonic_ms();
            let now_ms = self.store.time().at(at_ms);
            let catalogue = self.store.fresh_catalogue_at(now_ms).await?;
            let snapshot = self.store.team_snapshot_at(&call.team, at_ms).await?;
            let priced = match price(call, &snapshot.terms, &catalogue, now_ms) {
                Ok(priced) => priced,
                Err(unpriced) => return Box::pin(self.replay_unpriced(call, id, &catalogue, unpriced)).await,
            };
            let context = ReserveContext { priced: &priced, team: &snapshot, catalogue: &catalogue, at_ms, now_ms };
            if let Some(answer) = self.answer_from_lease(call, id, &context).await {
                return answer;
            }
            if let Some(answer) = self.refusal_from_memory(call, id, &context) {
                return Ok(answer);
            }
            match Box::pin(self.write_through(call, id, &context, &attempts)).await? {
                Round::Done(answer) => return Ok(answer),
                Round::Blocked(obstacle) => {
                    Box::pin(self.obstacles.remove(&call.team, obstacle, &mut attempts)).await?;
                }
            }
        }
    }

    /// Asks the store, and learns from its reply.
    async fn write_through(
        &self,
        call: &ReserveCall,
        id: &Id,
        context: &ReserveContext<'_>,
        attempts: &Attempts,
    ) -> Result<Round<ReserveAnswer>, GateError> {
        let store = &self.store;
        let ReserveContext { priced, team, catalogue, now_ms, .. } = context;
        let assumptions =
            Assumptions { recall_leases_first: attempts.may_recall(), ..assumptions(team, catalogue, *now_ms) };
        let assumptions = if attempts.any_stale() { assumptions.with_all_options() } else { assumptions };
        let request = Request {
            team: &call.team,
            reservation: id,
            content: &priced.content,
            hold_ms: call.hold_ms,
            dry_run: call.dry_run,
        };
        let mut step = Reserve::new(&request, &priced.price, &assumptions, store.policy());
        let asked_at_ms = store.monotonic_ms();
        let transaction = step.transaction.take();
        let reply = match priced.content.run_of_trigger() {
            Some(run) => self.run_records.transact_after_record(&call.team, run, transaction).await?,
            None => store.transact(transaction).await?,
        };
        let terms = store.team_exists(&call.team, step.terms(&reply)?)?;
        let account = step.account(&reply)?;
        store.learn(&call.team, &terms, account.clone(), reply.outcome);
        self.learn_run(call, &step, &reply)?;

        match step.verdict(&reply, store.policy())? {
            ReserveVerdict::Stale => Ok(Round::Blocked(Obstacle::Stale)),
            ReserveVerdict::RunEnded => Err(GateError::RunEnded),
            ReserveVerdict::RunOfAnotherFlow => Err(GateError::IdReused { what: "run_id" }),
            ReserveVerdict::Exists(existing) if existing.is_forgotten(reply.now_ms, store.policy()) => {
                Ok(Round::Blocked(Obstacle::Forgotten(id.clone(), existing)))
            }
            ReserveVerdict::Exists(existing) => {
                let balance = store.current_balance(catalogue, &terms, account, &reply);
                let existing = existing.at(reply.now_ms);
                let grant = grant_of(&existing);
                replay(call, id.clone(), existing, grant, catalogue, balance).map(Round::Done)
            }
            ReserveVerdict::Granted(reservation) => {
                let balance = store.current_balance(catalogue, &terms, account, &reply);
                Ok(Round::Done(self.granted(call, id.clone(), reservation, balance)))
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
                    account: store.current_account(catalogue, &terms, account, &reply),
                    holds,
                    checked_at_ms: asked_at_ms,
                };
                let answer = self.suspended(call, catalogue, &terms, &refusal, credits, reply.now_ms);
                store.cache().remember_refusal(&call.team, refusal, team.changes);
                Ok(Round::Done(answer))
            }
        }
    }

    /// Answers a call whose reservation the store has granted, and remembers the reservation.
    fn granted(&self, call: &ReserveCall, id: Id, reservation: Reservation, balance: Balance) -> ReserveAnswer {
        if call.dry_run {
            let id = call.reservation.clone();
            let grant = if id.is_some() { grant_of(&reservation) } else { Bytes::new() };
            return proceed(id, reservation, grant, false, balance);
        }
        if reservation.terms.basis != Basis::RunCompletion {
            self.decisions.team_proceeds(&call.team, self.store.monotonic_ms());
        }
        self.recent.remember(&call.team, &id, &reservation);
        self.store.cache().note_due(&call.team, reservation.expires_at_ms);
        let grant = grant_of(&reservation);
        proceed(Some(id), reservation, grant, false, balance)
    }

    /// Remembers the call's run as a reply shows it, for calls that are answered from memory.
    fn learn_run(&self, call: &ReserveCall, step: &Reserve, reply: &Reply) -> Result<(), GateError> {
        if let (Some(run), Some(id)) = (step.run(reply)?, &call.run) {
            self.run_records.remember(&call.team, id, &run, reply.now_ms);
        }
        Ok(())
    }

    /// Answers a call whose model is not on the card in effect. The repeat of an earlier call still gets the first
    /// answer.
    async fn replay_unpriced(
        &self,
        call: &ReserveCall,
        id: &Id,
        catalogue: &VersionedCatalogue,
        unpriced: GateError,
    ) -> Result<ReserveAnswer, GateError> {
        let Some((existing, grant)) = self.find(&call.team, id).await? else {
            return Err(unpriced);
        };
        let terms = self.store.read_terms(&call.team).await?;
        let account = self.store.read_current_account(&call.team, &terms, catalogue).await?;
        let balance = self.store.balance(catalogue, &terms, account);
        replay(call, id.clone(), existing, grant, catalogue, balance)
    }

    /// Returns a reservation as it stands now.
    pub(crate) async fn reservation(&self, team: &Id, id: &Id) -> Result<Reservation, GateError> {
        let (found, _) = self.find(team, id).await?.ok_or(GateError::ReservationNotFound)?;
        Ok(found)
    }

    /// Finds a reservation and its grant. A reservation that has a record is as the store has it. One that was opened
    /// from a lease here, and has no record, is as it was opened; no other sidecar knows of it.
    async fn find(&self, team: &Id, id: &Id) -> Result<Option<(Reservation, Bytes)>, GateError> {
        let opened = self.held.escrow.find_with_grant(team, id);
        let (recorded, reply) = self.store.read_reservation(team, id).await?;
        let is_what_was_opened =
            |recorded: &Reservation| !opened.as_ref().is_some_and(|(held, _)| held.supersedes(recorded, reply.now_ms));
        if let Some(recorded) = recorded.filter(is_what_was_opened) {
            let recorded = recorded.at(reply.now_ms);
            let grant = grant_of(&recorded);
            return Ok(Some((recorded, grant)));
        }
        Ok(opened.map(|(held, grant)| (held.reservation.at(reply.now_ms), Bytes::copy_from_slice(&grant))))
    }
}

fn new_id() -> Result<Id, GateError> {
    let text = Uuid::now_v7().to_string();
    Id::parse(&text).map_err(|problem| GateError::invalid("reservation_id", problem.to_string()))
}
