//! CheckAndReserve as one transaction: the options that may cover a call, in the order of the rules (rules 3 to 5).
//!
//! Each option has guards that the store checks. The first one that holds is applied: the allotment, then overage
//! blocks, then run completion. If none holds, the call is suspended.

use std::ops::Range;

use super::{
    Damaged,
    account::{Account, allotment_covers, before, not_before, overage_covers, overages_on, time_within},
    assumptions::{Assumptions, declare_account},
    hold::{self, Hold},
    id::Id,
    keys,
    lease::{OpenLeases, declare_open_leases},
    policy::Policy,
    reservation::{self, Basis, Content, Reservation, ReservationTerms, State},
    run::{self, Run},
    terms::Terms,
};
use crate::transaction::{Guard, Outcome, Read, RecordRef, Reply, Transaction, Value, Write};

/// A call whose model was already found on the rate card in effect.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The team.
    pub team: &'a Id,
    /// ID of the reservation.
    pub reservation: &'a Id,
    /// What the call asks for.
    pub content: &'a Content,
    /// How long to hold the credits, in milliseconds.
    pub hold_ms: i64,
    /// Whether to decide only and write nothing.
    pub dry_run: bool,
}

/// The price of a call.
#[derive(Clone, Debug)]
pub struct Price {
    /// The price, in credits.
    pub credits: i64,
    /// Version of the rate card that was applied.
    pub rate_card: Id,
    /// When the price is valid, in Unix milliseconds of the store.
    pub valid_ms: Range<i64>,
}

/// One CheckAndReserve: its transaction, and how to read the reply.
#[derive(Debug)]
pub struct Reserve {
    /// The transaction to send.
    pub transaction: Transaction,
    offers: Vec<ReservationTerms>,
    /// Whether the transaction has every option that may cover the call. Only then does a refusal by the store mean a
    /// suspension.
    complete: bool,
    content: Content,
    hold_ms: i64,
    dry_run: bool,
    terms: RecordRef,
    account: RecordRef,
    reservation: RecordRef,
    holds: RecordRef,
    /// Declared only if the transaction has every option.
    open_leases: Option<RecordRef>,
    run: Option<RecordRef>,
    absent_guard: usize,
    flow_guard: Option<usize>,
    current_guards: [Option<usize>; 2],
}

/// The outcome of a CheckAndReserve.
#[derive(Debug)]
pub enum ReserveVerdict {
    /// The credits are held.
    Granted(Reservation),
    /// A reservation with this ID exists.
    Exists(Reservation),
    /// The run has ended, by EndRun or by its age.
    RunEnded,
    /// The run ID belongs to a run of another flow.
    RunOfAnotherFlow,
    /// An assumption was wrong. Decide again with what the reply contains.
    Stale,
    /// Nothing covers the call.
    Refused {
        /// The open holds that run out first.
        holds: Vec<Hold>,
        /// The leases that may still be drawn from. If they were returned, their undrawn credits might cover the call.
        open_leases: OpenLeases,
        /// Whether the call belongs to a current run.
        in_current_run: bool,
    },
}

impl Reserve {
    /// Builds the transaction for a call at this price.
    pub fn new(request: &Request<'_>, price: &Price, assumptions: &Assumptions<'_>, policy: &Policy) -> Self {
        let credits = price.credits;
        let terms = assumptions.terms;
        let cycle = terms.anchor.cycle_at(assumptions.now_ms);
        let mut transaction = Transaction::on(keys::team(request.team));
        let terms_record = transaction.record(keys::terms(), Read::Whole);
        let account = declare_account(&mut transaction, assumptions);
        let reservation = transaction.record(keys::reservation(request.reservation), Read::Whole);
        let holds = hold::declare(&mut transaction);

        let absent_guard = transaction.require(Guard::Absent(reservation));
        transaction.require(Guard::FieldEquals(terms_record, "version", terms.version.to_string()));
        let valid = [not_before(price.valid_ms.start), before(price.valid_ms.end)];
        for guard in time_within(cycle).into_iter().chain(valid) {
            transaction.require(guard);
        }
        let mut step = Self {
            transaction,
            offers: Vec::new(),
            complete: assumptions.remaining.is_none_or(|remaining| remaining < credits),
            content: request.content.clone(),
            hold_ms: request.hold_ms,
            dry_run: request.dry_run,
            terms: terms_record,
            account: account.record,
            reservation,
            holds,
            open_leases: None,
            run: None,
            absent_guard,
            flow_guard: None,
            current_guards: [None; 2],
        };
        step.declare_run(policy);

        let offer =
            |basis| ReservationTerms { credits, basis, cycle, rate_card: price.rate_card.clone(), plan: terms.plan };
        let record = account.record;
        step.offer(request, offer(Basis::Allotment), vec![allotment_covers(record, credits)], &account.first_writes);
        if !step.complete {
            return step;
        }
        // Due holds and idle leases give credits back to the allotment. They must do so before overages or run
        // completion are used. Otherwise the basis of the answer would depend on when the sweeper last ran.
        let open_leases = declare_open_leases(&mut step.transaction, true);
        step.open_leases = Some(open_leases);
        let mut nothing_to_recover = vec![Guard::NothingDue(holds)];
        if assumptions.recall_leases_first {
            nothing_to_recover.push(Guard::NothingAhead(open_leases));
        }
        let mut overage = nothing_to_recover.clone();
        overage.extend([overages_on(record), overage_covers(record, credits)]);
        step.offer(request, offer(Basis::Overage), overage, &account.first_writes);
        if let Some(run) = step.run.filter(|_| terms.paid_seat) {
            let mut completion = nothing_to_recover;
            completion.push(Guard::Present(run));
            completion.extend(run::below_ceiling(run, credits, policy));
            step.offer(request, offer(Basis::RunCompletion), completion, &account.first_writes);
        }
        step
    }

    fn declare_run(&mut self, policy: &Policy) {
        let Some(id) = self.content.run_of_trigger() else { return };
        let flow = &self.content.flow;
        let start = run::start_fields(flow, policy);
        let run = self.transaction.starting_record(keys::run(id), Read::Whole, start);
        let same_flow = Guard::FieldEquals(run, "flow", flow.to_string());
        self.flow_guard = Some(self.transaction.require(same_flow));
        self.current_guards = run::current(run, policy).map(|guard| Some(self.transaction.require(guard)));
        self.run = Some(run);
    }

    fn offer(&mut self, request: &Request<'_>, terms: ReservationTerms, guards: Vec<Guard>, first_writes: &[Write]) {
        let mut writes = Vec::new();
        if !self.dry_run {
            let member = terms.hold_member(request.reservation);
            writes.extend_from_slice(first_writes);
            writes.push(match (terms.basis, self.run) {
                (Basis::RunCompletion, Some(run)) => Write::Add(run, "completion", terms.credits),
                _ => Write::Add(self.account, "held", terms.credits),
            });
            writes.push(Write::Put(
                self.reservation,
                reservation::open_parts(&self.content, &terms, self.hold_ms),
                None,
            ));
            writes.push(Write::IndexPut(self.holds, member, Value::now_plus(self.hold_ms)));
        }
        self.offers.push(terms);
        self.transaction.option(guards, writes);
    }

    /// Reads the outcome from the reply.
    pub fn verdict(&self, reply: &Reply, policy: &Policy) -> Result<ReserveVerdict, Damaged> {
        match reply.outcome {
            Outcome::Applied { option } => self.granted(reply, option),
            Outcome::Stale { guard: Some(guard) } if guard == self.absent_guard => Ok(match self.existing(reply)? {
                Some(existing) => ReserveVerdict::Exists(existing),
                None => ReserveVerdict::Stale,
            }),
            Outcome::Stale { guard } if guard.is_some() && guard == self.flow_guard => {
                Ok(ReserveVerdict::RunOfAnotherFlow)
            }
            Outcome::Stale { guard } if guard.is_some() && self.current_guards.contains(&guard) => {
                Ok(ReserveVerdict::RunEnded)
            }
            Outcome::Stale { .. } => Ok(ReserveVerdict::Stale),
            Outcome::Refused if !self.complete => Ok(ReserveVerdict::Stale),
            Outcome::Refused => {
                let run = self.run(reply)?;
                Ok(ReserveVerdict::Refused {
                    holds: hold::read(reply, self.holds)?,
                    open_leases: self.open_leases.map(|index| OpenLeases::read(reply, index)).unwrap_or_default(),
                    in_current_run: run.is_some_and(|run| run.is_current(reply.now_ms, policy)),
                })
            }
        }
    }

    fn granted(&self, reply: &Reply, option: usize) -> Result<ReserveVerdict, Damaged> {
        if let Some(made) = self.existing(reply)? {
            return Ok(ReserveVerdict::Granted(made));
        }
        let terms = self
            .offers
            .get(option)
            .ok_or_else(|| Damaged::new("reply", "the applied option was not in the transaction"))?;
        Ok(ReserveVerdict::Granted(Reservation {
            content: self.content.clone(),
            terms: terms.clone(),
            created_at_ms: reply.now_ms,
            expires_at_ms: reply.now_ms + self.hold_ms,
            state: State::Open,
            settled_at_ms: None,
        }))
    }

    fn existing(&self, reply: &Reply) -> Result<Option<Reservation>, Damaged> {
        reply.packed(self.reservation).map(Reservation::unpack).transpose()
    }

    /// Returns the call's run in a reply. `None` if the call belongs to no run, or the run has no record.
    pub fn run(&self, reply: &Reply) -> Result<Option<Run>, Damaged> {
        self.run.and_then(|run| reply.hash(run)).map(Run::from_fields).transpose()
    }

    /// Returns the team's terms in a reply. `None` if the team does not exist.
    pub fn terms(&self, reply: &Reply) -> Result<Option<Terms>, Damaged> {
        reply.hash(self.terms).map(Terms::from_fields).transpose()
    }

    /// Returns the cycle's account in a reply. `None` if the account has no record yet.
    pub fn account(&self, reply: &Reply) -> Result<Option<Account>, Damaged> {
        reply.hash(self.account).map(Account::from_fields).transpose()
    }
}
