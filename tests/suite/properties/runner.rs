//! Puts the same operations to two gates on one store, now to the one, now to the other, and to the model, and compares
//! answers and books. So the views of both go stale. And their clocks lag behind the store's, so that they take a cycle, a run
//! or a hold for current that has just ended.
//!
//! From leases, what is opened is known to its own sidecar alone unless the grant comes along, and a run is recorded behind its
//! first answer. So there a sidecar is asked again for what it made, and for the runs that it has begun; with the grant, either
//! of them settles. The clocks agree, for a lease is drawn from by the sidecar's. What is leased and not drawn counts as held
//! until it is given back.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tollgate::{
    clock::{Clock, ManualClock},
    domain::{
        id::Id,
        plan::Plan,
        policy::Policy,
        reservation::{State, Trigger},
        terms_change::TeamSettings,
    },
    gate::{
        Gate, GateError, GateOptions,
        calls::{ActualUse, Page, ReserveCall, ReserveDecision, RunDecision, SettleCall, SuspendAnswer},
    },
    store::Store,
};

use super::{
    super::support::{Leasing, catch_up, escrow},
    books::Books,
    model::{Answer, Call, Model},
    operation::{MODELS, Operation},
};

/// Whether calls are written through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    WrittenThrough,
    FromLeases,
}

/// How many reservations were opened from leases, in all sequences.
pub(super) static OPENED_FROM_LEASES: AtomicUsize = AtomicUsize::new(0);

/// How a grant from a lease begins.
const GRANT_FROM_LEASE: u8 = 0x9f;

pub(super) struct Runner {
    answers: Answers,
    gates: [Arc<Gate>; 2],
    /// Which of them is asked.
    asked: usize,
    /// Which of them was asked last.
    asked_last: usize,
    /// Which of them made a reservation.
    made_by: BTreeMap<u8, usize>,
    /// From leases: which of them is asked about a run.
    home_of_run: BTreeMap<u8, usize>,
    /// Which of them has taken which id for a new one, though it was not.
    refused_once: BTreeSet<(usize, u8)>,
    clock: ManualClock,
    gates_clock: ManualClock,
    model: Model,
    team: Id,
    grants: BTreeMap<u8, Bytes>,
}

/// What one sidecar was refused, it may answer from memory for so long, whatever the other did.
const REFUSAL_FORGOTTEN_MS: i64 = 1_001;

/// So long after its grant a lease and all that was opened from it is over.
const LIFE_OF_LEASE_MS: i64 = 131_000;

/// How far the gates' clocks fall behind the store's during each wait; every reply puts that right.
const LAG_MS: i64 = 450;

fn id(prefix: &str, number: u8) -> Id {
    Id::parse(&format!("{prefix}-{number}")).unwrap()
}

fn page() -> Page {
    Page { size: 1_000, token: String::new() }
}

impl Runner {
    pub(super) async fn new(store: Store, clock: ManualClock, answers: Answers) -> Self {
        let policy = Policy { run_completion_credits: Some(200), ..Policy::default() };
        let gates_clock = ManualClock::at(clock.now_ms());
        let clock_of_gates = Clock::Manual(gates_clock.clone());
        let leasing = match answers {
            Answers::WrittenThrough => Leasing::Off,
            Answers::FromLeases => Leasing::AtOnce,
        };
        let escrow = escrow(leasing);
        let options = GateOptions { policy: policy.clone(), clock: clock_of_gates, escrow, ..GateOptions::default() };
        let gate = Gate::open(store.clone(), options.clone()).await.unwrap();
        let other = Gate::open(store, options).await.unwrap();
        let team = Id::parse("team").unwrap();
        let settings =
            TeamSettings { plan: Plan::Professional, paid_seat: true, anchor_day: 31, included_override: Some(300) };
        gate.put_team(&team, &settings, "test").await.unwrap();
        let model = Model::new(clock.now_ms(), policy, Plan::Professional, true, 300);
        Self {
            answers,
            gates: [gate, other],
            asked: 0,
            asked_last: 0,
            made_by: BTreeMap::new(),
            home_of_run: BTreeMap::new(),
            refused_once: BTreeSet::new(),
            clock,
            gates_clock,
            model,
            team,
            grants: BTreeMap::new(),
        }
    }

    pub(super) async fn run(mut self, operations: &[Operation]) -> Result<(), String> {
        for (place, operation) in operations.iter().enumerate() {
            let asked = self.asked_for(operation);
            if asked != self.asked_last {
                self.asked_last = asked;
                self.forget_refusals();
                self.catch_up().await.map_err(|error| error.to_string())?;
            }
            let (expected, alternative) = self.expected(operation, asked);
            let actual = self.actual(operation, asked).await;
            if actual != expected && Some(&actual) != alternative.as_ref() {
                return Err(format!("{place}: {operation:?}\n  rules: {expected:?}\n  gate:  {actual:?}"));
            }
            if let (Operation::Reserve { id, .. }, true) = (operation, actual != expected && is_of_repeat(&expected)) {
                self.refused_once.insert((asked, *id));
            }
            self.catch_up().await.map_err(|error| error.to_string())?;
            // To look at the books would tell the gates the time.
            if matches!(operation, Operation::Wait { .. } | Operation::Switch) {
                continue;
            }
            // From leases, the sidecars have done what they do in the background.
            let swept = matches!(operation, Operation::Sweep) || self.answers == Answers::FromLeases;
            self.compare_books(swept)
                .await
                .map_err(|difference| format!("after {place}: {operation:?}\n{difference}"))?;
        }
        for gate in &self.gates {
            gate.give_everything_back().await;
        }
        self.gates[self.asked].sweep().await.map_err(|error| error.to_string())?;
        self.answers = Answers::WrittenThrough;
        self.compare_books(true).await?;
        self.compare_usage().await?;
        self.compare_charges().await
    }

    /// Which sidecar an operation is put to.
    fn asked_for(&mut self, operation: &Operation) -> usize {
        if self.answers == Answers::WrittenThrough {
            return self.asked;
        }
        let maker = |id: &u8| self.made_by.get(id).copied();
        match operation {
            Operation::Reserve { id, .. } if self.model.has_reservation(*id) => maker(id).unwrap_or(self.asked),
            Operation::Reserve { test: true, .. } => self.asked,
            Operation::Reserve { run, .. } | Operation::BeginRun { run, .. } | Operation::EndRun { run } => {
                *self.home_of_run.entry(*run).or_insert(self.asked)
            }
            Operation::Commit { id, echo, .. }
            | Operation::Release { id, echo }
            | Operation::Extend { id, echo, .. } => {
                let comes_with_grant = *echo && self.grants.get(id).is_some_and(|grant| !grant.is_empty());
                maker(id).filter(|_| !comes_with_grant).unwrap_or(self.asked)
            }
            Operation::PutTeam { .. }
            | Operation::SetOverages { .. }
            | Operation::Sweep
            | Operation::Switch
            | Operation::Wait { .. } => self.asked,
        }
    }

    /// Lets as much time pass as a sidecar may answer for from memory what the other has changed.
    fn forget_refusals(&mut self) {
        self.model.wait(REFUSAL_FORGOTTEN_MS);
        self.clock.advance_ms(REFUSAL_FORGOTTEN_MS);
        self.gates_clock.advance_ms(REFUSAL_FORGOTTEN_MS);
    }

    /// From leases: what the sidecars do in the background by themselves, done at once.
    async fn catch_up(&self) -> Result<(), GateError> {
        if self.answers == Answers::WrittenThrough {
            return Ok(());
        }
        for gate in &self.gates {
            catch_up(gate, self.clock.now_ms()).await;
        }
        self.gates[self.asked].sweep().await
    }

    fn expected(&mut self, operation: &Operation, asked: usize) -> (Answer, Option<Answer>) {
        let model = &mut self.model;
        let answer = match *operation {
            Operation::Reserve { id, flow, run, model: name, units, test, hold_seconds, dry_run } => {
                let hold_ms = hold_seconds * 1_000;
                let call = Call { id, flow, run, model: name, units, test, hold_ms, dry_run };
                let (answer, alternative) = model.reserve(&call);
                // Of a reservation that the other sidecar made and somebody settled, a sidecar may know nothing, once.
                let own = self.made_by.get(&id) == Some(&asked);
                let known = is_of_repeat(&answer) && (own || self.refused_once.contains(&(asked, id)));
                return (answer, alternative.filter(|_| !known));
            }
            Operation::Commit { id, units, model: name, .. } => model.commit(id, units, name),
            Operation::Release { id, .. } => model.release(id),
            Operation::Extend { id, hold_seconds, .. } => model.extend(id, hold_seconds * 1_000),
            Operation::BeginRun { flow, run } => model.begin_run(flow, run),
            Operation::EndRun { run } => model.end_run(run),
            Operation::PutTeam { plan, paid_seat, anchor_day, included } => {
                model.put_team(Plan::ALL[usize::from(plan)], paid_seat, anchor_day, included)
            }
            Operation::SetOverages { enabled, cap_blocks } => model.set_overages(enabled, cap_blocks.map(i64::from)),
            Operation::Sweep => Answer::Done,
            Operation::Switch => Answer::Done,
            Operation::Wait { milliseconds } => {
                model.wait(milliseconds);
                Answer::Done
            }
        };
        (answer, None)
    }

    /// While one sidecar waits for leases to come back, both look whether theirs are called back.
    async fn actual(&mut self, operation: &Operation, asked: usize) -> Answer {
        let (gates, now_ms) = (self.gates.clone(), self.clock.now_ms());
        let is_answered = Cell::new(false);
        let asking = async {
            let answer = self.ask(operation, asked).await;
            is_answered.set(true);
            answer.unwrap_or_else(|error| Answer::Error(name(&error)))
        };
        let looking = async {
            while !is_answered.get() {
                for gate in &gates {
                    catch_up(gate, now_ms).await;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        futures::join!(asking, looking).0
    }

    async fn ask(&mut self, operation: &Operation, asked: usize) -> Result<Answer, GateError> {
        let gate = &self.gates[asked];
        Ok(match operation.clone() {
            Operation::Reserve { .. } => return self.reserve(operation, asked).await,
            Operation::Commit { id, echo, units, model } => {
                let actual = ActualUse { units, model: model.map(model_id) };
                let answer = gate.commit(self.settle_call(id, echo), actual).await?;
                Answer::Committed { credits: answer.credits, replayed: answer.replayed, late: answer.late }
            }
            Operation::Release { id, echo } => {
                let answer = gate.release(self.settle_call(id, echo)).await?;
                Answer::Released { replayed: answer.replayed }
            }
            Operation::Extend { id, echo, hold_seconds } => {
                let call = self.settle_call(id, echo);
                Answer::Extended { expires_at_ms: gate.extend(call, hold_seconds * 1_000).await? }
            }
            Operation::BeginRun { flow, run } => {
                match gate.begin_run(&self.team, &id("flow", flow), &id("run", run)).await?.decision {
                    RunDecision::Admitted { expires_at_ms, replayed } => Answer::Admitted { expires_at_ms, replayed },
                    RunDecision::Suspend(suspend) => suspended(suspend),
                }
            }
            Operation::EndRun { run } => {
                let answer = gate.end_run(&self.team, &id("run", run)).await?;
                Answer::RunEnds { credits: answer.credits, replayed: answer.replayed }
            }
            Operation::PutTeam { plan, paid_seat, anchor_day, included } => {
                let plan = Plan::ALL[usize::from(plan)];
                let settings = TeamSettings { plan, paid_seat, anchor_day, included_override: included };
                gate.put_team(&self.team, &settings, "test").await?;
                Answer::Done
            }
            Operation::SetOverages { enabled, cap_blocks } => {
                gate.set_overages(&self.team, enabled, cap_blocks, "test").await?;
                Answer::Done
            }
            Operation::Sweep => {
                gate.sweep().await?;
                Answer::Done
            }
            Operation::Switch => {
                self.asked = 1 - self.asked;
                Answer::Done
            }
            Operation::Wait { milliseconds } => {
                if self.answers == Answers::WrittenThrough {
                    self.clock.advance_ms(milliseconds);
                    self.gates_clock.advance_ms(milliseconds - LAG_MS);
                    return Ok(Answer::Done);
                }
                // Sidecars that live do not wait for hours before they look.
                let first_ms = milliseconds.min(LIFE_OF_LEASE_MS);
                for span_ms in [first_ms, milliseconds - first_ms] {
                    self.clock.advance_ms(span_ms);
                    self.gates_clock.advance_ms(span_ms);
                    self.catch_up().await?;
                }
                Answer::Done
            }
        })
    }

    async fn reserve(&mut self, operation: &Operation, asked: usize) -> Result<Answer, GateError> {
        let Operation::Reserve { id: number, flow, run, model, units, test, hold_seconds, dry_run } = *operation else {
            unreachable!("the caller asks for reserves only")
        };
        let call = ReserveCall {
            team: self.team.clone(),
            flow: id("flow", flow),
            run: Some(id("run", run)),
            block: Some(id("block", 0)),
            reservation: Some(id("reservation", number)),
            model: model_id(model),
            units,
            trigger: if test { Trigger::Test } else { Trigger::Run },
            hold_ms: hold_seconds * 1_000,
            dry_run,
        };
        Ok(match self.gates[asked].check_and_reserve(call).await?.decision {
            ReserveDecision::Suspend(suspend) => suspended(suspend),
            ReserveDecision::Proceed(proceed) => {
                if !dry_run {
                    if !proceed.replayed {
                        self.made_by.insert(number, asked);
                        let is_from_lease = proceed.grant.first() == Some(&GRANT_FROM_LEASE);
                        OPENED_FROM_LEASES.fetch_add(usize::from(is_from_lease), Ordering::Relaxed);
                    }
                    self.grants.insert(number, proceed.grant);
                }
                let reservation = proceed.reservation;
                Answer::Proceed {
                    credits: reservation.terms.credits,
                    basis: reservation.terms.basis,
                    state: match reservation.state {
                        State::Open => "open",
                        State::Committed(_) => "committed",
                        State::Released => "released",
                        State::Expired => "expired",
                    },
                    replayed: proceed.replayed,
                    expires_at_ms: reservation.expires_at_ms,
                }
            }
        })
    }

    fn settle_call(&self, number: u8, echo: bool) -> SettleCall {
        let grant = self.grants.get(&number).filter(|_| echo).cloned().unwrap_or_default();
        SettleCall { team: self.team.clone(), reservation: id("reservation", number), grant }
    }

    /// What is held may still have holds in it that are due, until somebody sweeps; and what is leased, until it is given back.
    async fn compare_books(&self, swept: bool) -> Result<(), String> {
        let answer =
            self.gates[self.asked].usage(&self.team, None, &page()).await.map_err(|error| error.to_string())?;
        let account = answer.balance.account;
        let mut expected = self.model.books();
        let held = account.held + account.leased;
        if !swept || (self.answers == Answers::FromLeases && held >= expected.held) {
            expected.held = held;
        }
        let actual = Books {
            included: account.included,
            waived: account.waived,
            blocks: account.blocks,
            used: account.used,
            run_completion: account.run_completion,
            above_hold: account.above_hold,
            held,
        };
        if account.used > account.allotment() {
            return Err(format!("used is above the allotment: {account:?}"));
        }
        if (actual == expected) && account.cycle == self.model.cycle() {
            Ok(())
        } else {
            Err(format!(
                "  rules: {expected:?} in {:?}\n  gate:  {actual:?} in {:?}",
                self.model.cycle(),
                account.cycle
            ))
        }
    }

    async fn compare_usage(&self) -> Result<(), String> {
        let mut starts: Vec<i64> = self.model.usage.keys().map(|key| key.0).collect();
        starts.dedup();
        for start_ms in starts {
            let answer = self.gates[self.asked]
                .usage(&self.team, Some(start_ms), &page())
                .await
                .map_err(|error| error.to_string())?;
            let actual: Vec<_> = answer
                .rows
                .items
                .into_iter()
                .map(|(key, counts)| {
                    let key = (key.day, key.flow.to_string(), key.model.to_string(), key.trigger);
                    (key, (counts.calls, counts.units, counts.credits))
                })
                .collect();
            let rows = self.model.usage.iter().filter(|(key, _)| key.0 == start_ms);
            let mut expected: Vec<_> = rows
                .map(|((_, day, flow, model, trigger), counts)| {
                    ((day.clone(), id("flow", *flow).to_string(), model_id(*model).to_string(), *trigger), *counts)
                })
                .collect();
            expected.sort();
            if actual != expected {
                return Err(format!("usage of {start_ms}\n  rules: {expected:?}\n  gate:  {actual:?}"));
            }
        }
        Ok(())
    }

    async fn compare_charges(&self) -> Result<(), String> {
        let charges = self.gates[self.asked]
            .charges(Some(&self.team), None, &page())
            .await
            .map_err(|error| error.to_string())?
            .items;
        let actual: Vec<_> = charges.iter().map(|charge| (charge.cycle_start_ms, i64::from(charge.block))).collect();
        let expected: Vec<_> = self
            .model
            .blocks()
            .into_iter()
            .flat_map(|(start_ms, blocks)| (1..=blocks).map(move |block| (start_ms, block)))
            .collect();
        if actual == expected { Ok(()) } else { Err(format!("charges\n  rules: {expected:?}\n  gate:  {actual:?}")) }
    }
}

fn model_id(model: u8) -> Id {
    Id::parse(MODELS[usize::from(model)]).unwrap()
}

fn is_of_repeat(answer: &Answer) -> bool {
    matches!(answer, Answer::Proceed { replayed: true, .. } | Answer::Error("reservation reused" | "released"))
}

fn suspended(suspend: SuspendAnswer) -> Answer {
    let suspension = suspend.suspension;
    Answer::Suspend {
        reason: suspension.reason,
        remedies: suspension.remedies,
        resumes_at_ms: suspension.resumes_at_ms,
    }
}

fn name(error: &GateError) -> &'static str {
    match error {
        GateError::ReservationNotFound => "no reservation",
        GateError::RunNotFound => "no run",
        GateError::IdReused { what: "run_id" } => "run reused",
        GateError::IdReused { .. } => "reservation reused",
        GateError::ReservationReleased => "released",
        GateError::ReservationCommitted => "committed",
        GateError::ReservationExpired => "expired",
        GateError::RunEnded => "run ended",
        GateError::OveragesUnavailable(_) => "no overages",
        other => panic!("the rules know no {other:?}"),
    }
}
