//! CheckAndReserve: the options that may cover a call, in the order of the rules, as one transaction.

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

/// A call, with its model already found on the card in effect.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The team.
    pub team: &'a Id,
    /// The reservation's id.
    pub reservation: &'a Id,
    /// What is asked.
    pub content: &'a Content,
    /// How long to hold the credits, in milliseconds.
    pub hold_ms: i64,
    /// Decide, and write nothing.
    pub dry_run: bool,
}

/// What a call costs.
#[derive(Clone, Debug)]
pub struct Price {
    /// Credits.
    pub credits: i64,
    /// The version of the card that says so.
    pub rate_card: Id,
    /// When it does, in Unix milliseconds of the store.
    pub valid_ms: Range<i64>,
}

/// The transaction of one CheckAndReserve, and how to read the reply.
#[derive(Debug)]
pub struct Reserve {
    /// What to send.
    pub transaction: Transaction,
    offers: Vec<ReservationTerms>,
    /// Whether all is offered that may cover the call, so that a refusal is an answer.
    complete: bool,
    content: Content,
    hold_ms: i64,
    dry_run: bool,
    terms: RecordRef,
    account: RecordRef,
    reservation: RecordRef,
    holds: RecordRef,
    /// Asked for where all is offered that may cover the call.
    open_leases: Option<RecordRef>,
    run: Option<RecordRef>,
    absent_guard: usize,
    flow_guard: Option<usize>,
    current_guards: [Option<usize>; 2],
}

/// What became of a CheckAndReserve.
#[derive(Debug)]
pub enum ReserveVerdict {
    /// The credits are held.
    Granted(Reservation),
    /// The id has a reservation already.
    Exists(Reservation),
    /// The run has ended, by EndRun or by its age.
    RunEnded,
    /// The run's id belongs to a run of another flow.
    RunOfAnotherFlow,
    /// Something that was believed is not so; decide again.
    Stale,
    /// Nothing covers the call.
    Refused {
        /// The open reservations whose holds run out first.
        holds: Vec<Hold>,
        /// The leases that may still be drawn from: what nobody has drawn would cover the call, if it came back.
        open_leases: OpenLeases,
        /// Whether the call is one of a current run.
        in_current_run: bool,
    },
}

impl Reserve {
    /// Builds the transaction for a call at that price.
    pub fn new(request: &Request<'_>, price: &Price, belief: &Assumptions<'_>, policy: &Policy) -> Self {
        let credits = price.credits;
        let terms = belief.terms;
        let cycle = terms.anchor.cycle_at(belief.now_ms);
        let mut transaction = Transaction::on(keys::team(request.team));
        let terms_record = transaction.record(keys::terms(), Read::Whole);
        let account = declare_account(&mut transaction, belief);
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
            complete: belief.remaining.is_none_or(|remaining| remaining < credits),
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
        // Past the allotment, what due holds and idle leases give back comes first, or the basis would depend on when somebody swept.
        let open_leases = declare_open_leases(&mut step.transaction, true);
        step.open_leases = Some(open_leases);
        let mut nothing_to_recover = vec![Guard::NothingDue(holds)];
        if belief.recall_leases_first {
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

    /// Reads the verdict of a reply.
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
        let terms = self.offers.get(option).ok_or_else(|| Damaged::new("reply", "no such option"))?;
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

    /// The call's run in a reply; `None` if it belongs to none, or that does not exist.
    pub fn run(&self, reply: &Reply) -> Result<Option<Run>, Damaged> {
        self.run.and_then(|run| reply.hash(run)).map(Run::from_fields).transpose()
    }

    /// The team's terms in a reply; `None` if there is no such team.
    pub fn terms(&self, reply: &Reply) -> Result<Option<Terms>, Damaged> {
        reply.hash(self.terms).map(Terms::from_fields).transpose()
    }

    /// The cycle's account in a reply; `None` if nothing was written to it yet.
    pub fn account(&self, reply: &Reply) -> Result<Option<Account>, Damaged> {
        reply.hash(self.account).map(Account::from_fields).transpose()
    }
}
