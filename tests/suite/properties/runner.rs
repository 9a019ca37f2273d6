//! Sends the same operations to two gates on one store, alternating between them, and to the model. Compares the
//! answers and the books. So the caches of both gates become stale. Their clocks lag behind the store's, so they take a
//! cycle, a run or a hold for current that has just ended.
//!
//! With leases, a reservation is known only to the sidecar that opened it, unless the grant is sent along, and a run is
//! recorded after its first answer. So a sidecar is asked again for what it made and for the runs it began; with the
//! grant, either of them can settle. The clocks agree, because the sidecar's clock decides how long a lease is drawn
//! from. Leased credits that were not drawn count as held until they are returned.

mod calls;
mod comparison;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::AtomicUsize},
};

use bytes::Bytes;
use tollgate::{
    clock::{Clock, ManualClock},
    domain::{id::Id, plan::Plan, policy::Policy, terms_change::TeamSettings},
    gate::{Gate, GateError, GateOptions, calls::Page},
    store::Store,
};

use super::{
    super::support::{Leasing, catch_up, escrow},
    model::{Answer, Call, Model},
    operation::{MODELS, Operation},
};

/// How calls are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    WrittenThrough,
    FromLeases,
}

/// Number of reservations that were opened from leases, in all sequences.
pub(super) static OPENED_FROM_LEASES: AtomicUsize = AtomicUsize::new(0);

pub(super) struct Runner {
    answers: Answers,
    gates: [Arc<Gate>; 2],
    /// Index of the gate that is asked.
    asked: usize,
    /// Index of the gate that was asked last.
    asked_last: usize,
    /// Index of the gate that made each reservation.
    made_by: BTreeMap<u8, usize>,
    /// With leases: index of the gate that is asked about each run.
    home_of_run: BTreeMap<u8, usize>,
    /// Gates that have once taken an existing reservation ID for a new one.
    refused_once: BTreeSet<(usize, u8)>,
    clock: ManualClock,
    gates_clock: ManualClock,
    model: Model,
    team: Id,
    grants: BTreeMap<u8, Bytes>,
}

/// Time for which a sidecar may answer with a cached refusal, whatever the other did, in milliseconds.
const REFUSAL_FORGOTTEN_MS: i64 = 1_001;

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
        for (index, operation) in operations.iter().enumerate() {
            let asked = self.sidecar_for(operation);
            if asked != self.asked_last {
                self.asked_last = asked;
                self.forget_refusals();
                self.catch_up().await.map_err(|error| error.to_string())?;
            }
            let (expected, alternative) = self.expected(operation, asked);
            let actual = self.actual(operation, asked).await;
            if actual != expected && Some(&actual) != alternative.as_ref() {
                return Err(format!("{index}: {operation:?}\n  rules: {expected:?}\n  gate:  {actual:?}"));
            }
            if let (Operation::Reserve { id, .. }, true) = (operation, actual != expected && is_of_repeat(&expected)) {
                self.refused_once.insert((asked, *id));
            }
            self.catch_up().await.map_err(|error| error.to_string())?;
            // Reading the books would tell the gates the time.
            if matches!(operation, Operation::Wait { .. } | Operation::Switch) {
                continue;
            }
            // With leases, the sidecars have done their background work.
            let swept = matches!(operation, Operation::Sweep) || self.answers == Answers::FromLeases;
            self.compare_books(swept)
                .await
                .map_err(|difference| format!("after {index}: {operation:?}\n{difference}"))?;
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

    /// Returns the index of the gate that an operation is sent to.
    fn sidecar_for(&mut self, operation: &Operation) -> usize {
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

    /// Waits until no sidecar may answer with a cached refusal.
    fn forget_refusals(&mut self) {
        self.model.wait(REFUSAL_FORGOTTEN_MS);
        self.clock.advance_ms(REFUSAL_FORGOTTEN_MS);
        self.gates_clock.advance_ms(REFUSAL_FORGOTTEN_MS);
    }

    /// With leases: does the background work of the gates at once.
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
                // A sidecar may once not know a reservation that the other sidecar made and that was settled.
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
}

fn is_of_repeat(answer: &Answer) -> bool {
    matches!(answer, Answer::Proceed { replayed: true, .. } | Answer::Error("reservation reused" | "released"))
}

fn model_id(model: u8) -> Id {
    Id::parse(MODELS[usize::from(model)]).unwrap()
}
