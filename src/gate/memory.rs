//! CheckAndReserve from a lease in hand: the answer waits for nobody.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Gate, GateError,
    calls::{Proceed, ReserveAnswer, ReserveCall, ReserveDecision},
    pricing::Beliefs,
    replay::replay,
    run_records::NewRun,
};
use crate::{
    domain::{
        account::Account,
        id::Id,
        lease::Draw,
        reservation::{Basis, ReservationTerms},
    },
    escrow::{EscrowAnswer, EscrowRequest, KnownRun, LeaseRequest},
};

/// An answer; `None` if the store is to be asked.
type FromMemory = Option<Result<ReserveAnswer, GateError>>;

/// What the leases in hand say to a call.
#[allow(clippy::large_enum_variant, reason = "it is taken apart at once, and the large one is the common one")]
enum FromEscrow {
    No,
    /// The id has an open reservation here.
    Exists,
    Answer(Result<ReserveAnswer, GateError>),
}

impl Gate {
    /// Answers a call from memory, if a lease in hand covers it.
    pub(super) async fn answer_from_memory(
        self: &Arc<Self>,
        call: &ReserveCall,
        id: &Id,
        beliefs: &Beliefs<'_>,
    ) -> FromMemory {
        if !self.escrow.is_on() {
            return None;
        }
        if call.reservation.is_some() && self.recent.must_be_asked_for(&call.team, id) {
            // What is open here has no record that the store could tell of.
            self.escrow.find(&call.team, id)?;
            return Box::pin(self.replay_opened(call, id, beliefs)).await;
        }
        let (answer, wanted) = match self.ask_escrow(call, id, beliefs) {
            (FromEscrow::Exists, _) => return Box::pin(self.replay_opened(call, id, beliefs)).await,
            (FromEscrow::No, wanted) => (None, wanted),
            (FromEscrow::Answer(answer), wanted) => (Some(answer), wanted),
        };
        let Some(wanted) = wanted else { return answer };
        if self.escrow.options().policy.wait_for_lease {
            return Box::pin(self.answer_from_new_lease(call, id, beliefs, wanted)).await;
        }
        self.take_lease_ahead(&call.team, wanted);
        answer
    }

    /// Waits for the lease, and answers from it. The price stands only under the terms that it was made by.
    async fn answer_from_new_lease(
        &self,
        call: &ReserveCall,
        id: &Id,
        beliefs: &Beliefs<'_>,
        wanted: LeaseRequest,
    ) -> FromMemory {
        self.take_lease(&call.team, wanted).await;
        let believed = self.believed(&call.team).await.ok()?;
        if believed.terms.version != beliefs.believed.terms.version {
            return None;
        }
        let (answer, wanted) = self.ask_escrow(call, id, &Beliefs { believed: &believed, ..*beliefs });
        if wanted.is_some() {
            self.escrow.lease_not_granted(&call.team, self.clock.monotonic_ms());
        }
        match answer {
            FromEscrow::Exists => self.replay_opened(call, id, beliefs).await,
            FromEscrow::No => None,
            FromEscrow::Answer(answer) => Some(answer),
        }
    }

    /// Answers a repeat of a call that was answered from memory. Somebody else may have settled it: the store is asked
    /// first.
    async fn replay_opened(&self, call: &ReserveCall, id: &Id, beliefs: &Beliefs<'_>) -> FromMemory {
        let Beliefs { believed, catalogue, .. } = beliefs;
        let (existing, grant) = match self.made(&call.team, id).await {
            Ok(made) => made?,
            Err(error) => return Some(Err(error)),
        };
        let cycle = believed.terms.anchor.cycle_at(self.store_time.now_ms());
        let included = || believed.terms.included(&catalogue.catalogue.included_credits);
        let account = believed.account.clone().unwrap_or_else(|| Account::new(cycle, included(), &believed.terms));
        let balance = self.balance(catalogue, &believed.terms, account);
        Some(replay(call, id.clone(), existing, grant, catalogue, balance))
    }

    fn ask_escrow(&self, call: &ReserveCall, id: &Id, beliefs: &Beliefs<'_>) -> (FromEscrow, Option<LeaseRequest>) {
        let Beliefs { priced, believed, catalogue, at_ms, now_ms } = beliefs;
        let Some(account) = &believed.account else {
            return (FromEscrow::No, self.want_only(call, id, beliefs));
        };
        let asked = self.asked(call, id, beliefs);
        let (answered, wanted) = self.escrow.answer(&asked, &self.policy);
        let balance = || self.balance_at(*now_ms, catalogue, &believed.terms, account.clone());
        let answer = match answered {
            EscrowAnswer::AskStore => FromEscrow::No,
            EscrowAnswer::RunEnded => FromEscrow::Answer(Err(GateError::RunEnded)),
            EscrowAnswer::RunOfAnotherFlow => FromEscrow::Answer(Err(GateError::IdReused { what: "run_id" })),
            EscrowAnswer::Exists => FromEscrow::Exists,
            EscrowAnswer::Opened { reservation, grant, new_run } => {
                if let Some(run) = priced.content.run_of_trigger().filter(|_| new_run) {
                    let flow = priced.content.flow.clone();
                    let known =
                        KnownRun { flow: flow.clone(), started_ms: *at_ms, has_ended: false, is_recorded: false };
                    self.escrow.runs().remember(&call.team, run, known);
                    self.run_records.begin(NewRun { team: call.team.clone(), run: run.clone(), flow });
                }
                let named = !call.dry_run || call.reservation.is_some();
                let proceed = Proceed {
                    id: named.then(|| id.clone()),
                    reservation,
                    grant: Bytes::copy_from_slice(&grant),
                    replayed: false,
                };
                if !call.dry_run {
                    self.note_proceeds(&call.team, *at_ms);
                }
                FromEscrow::Answer(Ok(ReserveAnswer {
                    decision: ReserveDecision::Proceed(proceed),
                    balance: balance(),
                }))
            }
        };
        (answer, wanted)
    }

    /// Nothing is known of the team's account yet, so nothing can be told; but it may want a lease.
    fn want_only(&self, call: &ReserveCall, id: &Id, beliefs: &Beliefs<'_>) -> Option<LeaseRequest> {
        self.escrow.request_lease(&self.asked(call, id, beliefs))
    }

    fn asked<'a>(&self, call: &'a ReserveCall, id: &'a Id, beliefs: &'a Beliefs<'_>) -> EscrowRequest<'a> {
        let Beliefs { priced, believed, now_ms, .. } = beliefs;
        let account = believed.account.as_ref();
        let cycle = account.map_or_else(|| believed.terms.anchor.cycle_at(*now_ms), |account| account.cycle);
        EscrowRequest {
            team: &call.team,
            reservation: id,
            is_named: call.reservation.is_some(),
            content: &priced.content,
            draw: Draw {
                credits: priced.price.credits,
                terms_version: believed.terms.version,
                valid_ms: priced.price.valid_ms.clone(),
            },
            terms: ReservationTerms {
                credits: priced.price.credits,
                basis: Basis::Allotment,
                cycle,
                rate_card: priced.price.rate_card.clone(),
                plan: believed.terms.plan,
            },
            hold_ms: call.hold_ms,
            dry_run: call.dry_run,
            may_begin_run: self.run_records.have_room(),
            at_ms: beliefs.at_ms,
        }
    }
}
