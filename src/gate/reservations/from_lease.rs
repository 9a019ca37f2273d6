//! CheckAndReserve from a held lease: the answer needs no store call.

use bytes::Bytes;

use super::{
    Reservations,
    pricing::ReserveContext,
    replay::{proceed, replay},
};
use crate::{
    domain::{
        account::Account,
        id::Id,
        lease::Draw,
        reservation::{Basis, ReservationTerms},
    },
    escrow::{EscrowAnswer, EscrowRequest, KnownRun, LeaseRequest},
    gate::{
        calls::{ReserveAnswer, ReserveCall},
        error::GateError,
        run_records::NewRun,
        store_client::balance_at,
    },
};

/// An answer from memory; `None` if the store has to be asked.
type FromMemory = Option<Result<ReserveAnswer, GateError>>;

/// What the held leases answer.
#[allow(clippy::large_enum_variant, reason = "it is taken apart at once, and the large one is the common one")]
enum FromEscrow {
    /// No lease covers the call.
    No,
    /// The id has an open reservation from a lease.
    Exists,
    /// The call has its answer.
    Answer(Result<ReserveAnswer, GateError>),
}

impl Reservations {
    /// Answers a call from memory, if a held lease covers it.
    pub(super) async fn answer_from_lease(
        &self,
        call: &ReserveCall,
        id: &Id,
        context: &ReserveContext<'_>,
    ) -> FromMemory {
        let escrow = &self.held.escrow;
        if !escrow.is_on() {
            return None;
        }
        if call.reservation.is_some() && self.recent.must_ask_store(&call.team, id) {
            // A reservation that is open in memory has no record, so the store does not know of it.
            escrow.find(&call.team, id)?;
            return Box::pin(self.replay_opened(call, id, context)).await;
        }
        let (answer, request) = match self.ask_escrow(call, id, context) {
            (FromEscrow::Exists, _) => return Box::pin(self.replay_opened(call, id, context)).await,
            (FromEscrow::No, request) => (None, request),
            (FromEscrow::Answer(answer), request) => (Some(answer), request),
        };
        let Some(request) = request else { return answer };
        if escrow.options().policy.wait_for_lease {
            return Box::pin(self.answer_from_new_lease(call, id, context, request)).await;
        }
        self.leases.take_ahead(&call.team, request);
        answer
    }

    /// Waits for a lease, and answers from it. The price is valid only under the terms that it was computed from.
    async fn answer_from_new_lease(
        &self,
        call: &ReserveCall,
        id: &Id,
        context: &ReserveContext<'_>,
        request: LeaseRequest,
    ) -> FromMemory {
        self.leases.take(&call.team, request).await;
        let snapshot = self.store.team_snapshot(&call.team).await.ok()?;
        if snapshot.terms.version != context.team.terms.version {
            return None;
        }
        let (answer, request) = self.ask_escrow(call, id, &ReserveContext { team: &snapshot, ..*context });
        if request.is_some() {
            self.held.escrow.lease_not_granted(&call.team, self.store.monotonic_ms());
        }
        match answer {
            FromEscrow::Exists => self.replay_opened(call, id, context).await,
            FromEscrow::No => None,
            FromEscrow::Answer(answer) => Some(answer),
        }
    }

    /// Answers the repeat of a call that was answered from memory. Another sidecar may have settled its reservation, so
    /// the store is asked first.
    async fn replay_opened(&self, call: &ReserveCall, id: &Id, context: &ReserveContext<'_>) -> FromMemory {
        let ReserveContext { team, catalogue, .. } = context;
        let (existing, grant) = match self.find(&call.team, id).await {
            Ok(found) => found?,
            Err(error) => return Some(Err(error)),
        };
        let cycle = team.terms.anchor.cycle_at(self.store.now_ms());
        let included = || team.terms.included(&catalogue.catalogue.included_credits);
        let account = team.account.clone().unwrap_or_else(|| Account::new(cycle, included(), &team.terms));
        let balance = self.store.balance(catalogue, &team.terms, account);
        Some(replay(call, id.clone(), existing, grant, catalogue, balance))
    }

    fn ask_escrow(
        &self,
        call: &ReserveCall,
        id: &Id,
        context: &ReserveContext<'_>,
    ) -> (FromEscrow, Option<LeaseRequest>) {
        let ReserveContext { priced, team, catalogue, at_ms, now_ms } = context;
        let escrow_request = self.escrow_request(call, id, context);
        let Some(account) = &team.account else {
            // Without the account there is no balance to answer with, but the team may need a lease.
            return (FromEscrow::No, self.held.escrow.request_lease(&escrow_request));
        };
        let (answered, request) = self.held.escrow.answer(&escrow_request, self.store.policy());
        let answer = match answered {
            EscrowAnswer::AskStore => FromEscrow::No,
            EscrowAnswer::RunEnded => FromEscrow::Answer(Err(GateError::RunEnded)),
            EscrowAnswer::RunOfAnotherFlow => FromEscrow::Answer(Err(GateError::IdReused { what: "run_id" })),
            EscrowAnswer::Exists => FromEscrow::Exists,
            EscrowAnswer::Opened { reservation, grant, new_run } => {
                if let Some(run) = priced.content.run_of_trigger().filter(|_| new_run) {
                    self.begin_run(&call.team, run, &priced.content.flow, *at_ms);
                }
                if !call.dry_run {
                    self.decisions.team_proceeds(&call.team, *at_ms);
                }
                let is_named = !call.dry_run || call.reservation.is_some();
                let balance = balance_at(*now_ms, catalogue, &team.terms, account.clone());
                let grant = Bytes::copy_from_slice(&grant);
                FromEscrow::Answer(Ok(proceed(is_named.then(|| id.clone()), reservation, grant, false, balance)))
            }
        };
        (answer, request)
    }

    fn begin_run(&self, team: &Id, run: &Id, flow: &Id, at_ms: i64) {
        let known = KnownRun { flow: flow.clone(), started_ms: at_ms, has_ended: false, is_recorded: false };
        self.held.escrow.runs().remember(team, run, known);
        self.run_records.begin(NewRun { team: team.clone(), run: run.clone(), flow: flow.clone() });
    }

    fn escrow_request<'a>(
        &self,
        call: &'a ReserveCall,
        id: &'a Id,
        context: &'a ReserveContext<'_>,
    ) -> EscrowRequest<'a> {
        let ReserveContext { priced, team, now_ms, .. } = context;
        let account = team.account.as_ref();
        let cycle = account.map_or_else(|| team.terms.anchor.cycle_at(*now_ms), |account| account.cycle);
        EscrowRequest {
            team: &call.team,
            reservation: id,
            is_named: call.reservation.is_some(),
            content: &priced.content,
            draw: Draw {
                credits: priced.price.credits,
                terms_version: team.terms.version,
                valid_ms: priced.price.valid_ms.clone(),
            },
            terms: ReservationTerms {
                credits: priced.price.credits,
                basis: Basis::Allotment,
                cycle,
                rate_card: priced.price.rate_card.clone(),
                plan: team.terms.plan,
            },
            hold_ms: call.hold_ms,
            dry_run: call.dry_run,
            may_begin_run: self.run_records.have_room(),
            at_ms: context.at_ms,
        }
    }
}
