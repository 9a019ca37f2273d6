//! The rules as a bookkeeper reads them: one team, one thing after the other.

use std::collections::BTreeMap;

use tollgate::domain::{
    billing_cycle::{Anchor, Cycle, day_name},
    plan::{IncludedCredits, Plan},
    policy::{MAX_HOLD_AGE_MS, Policy},
    rate_card::RateCard,
    reservation::{Basis, Trigger},
    suspension::{Reason, Remedy},
};

use super::books::{Books, CycleBooks};

/// What an operation is answered, as far as the rules determine it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Proceed { credits: i64, basis: Basis, state: &'static str, replayed: bool, expires_at_ms: i64 },
    Suspend { reason: Reason, remedies: Vec<Remedy>, resumes_at_ms: i64 },
    Committed { credits: i64, replayed: bool, late: bool },
    Released { replayed: bool },
    Extended { expires_at_ms: i64 },
    Admitted { expires_at_ms: i64, replayed: bool },
    RunEnds { credits: i64, replayed: bool },
    Done,
    Error(&'static str),
}

#[derive(Clone, Debug)]
struct Reserved {
    content: (u8, Option<u8>, u8, u32, Trigger),
    credits: i64,
    basis: Basis,
    cycle: Cycle,
    plan: Plan,
    created_at_ms: i64,
    expires_at_ms: i64,
    state: &'static str,
    settled_at_ms: i64,
    charged: Option<(i64, u32, u8, bool)>,
}

#[derive(Clone, Debug)]
struct Running {
    flow: u8,
    started_at_ms: i64,
    ended: Option<i64>,
    credits: i64,
    completion: i64,
}

/// Cycle start, day, flow, model, trigger.
pub(super) type UsageRow = (i64, String, u8, u8, Trigger);

/// Calls, units, credits.
pub(super) type Counts = (i64, i64, i64);

pub(super) struct Model {
    pub(super) now_ms: i64,
    policy: Policy,
    card: RateCard,
    plan: Plan,
    paid_seat: bool,
    anchor: Anchor,
    included_override: Option<i64>,
    overages: bool,
    cap: Option<i64>,
    cycles: BTreeMap<i64, CycleBooks>,
    reservations: BTreeMap<u8, Reserved>,
    runs: BTreeMap<u8, Running>,
    pub(super) usage: BTreeMap<UsageRow, Counts>,
}

pub(super) struct Call {
    pub(super) id: u8,
    pub(super) flow: u8,
    pub(super) run: u8,
    pub(super) model: u8,
    pub(super) units: u32,
    pub(super) test: bool,
    pub(super) hold_ms: i64,
    pub(super) dry_run: bool,
}

impl Model {
    pub(super) fn new(now_ms: i64, policy: Policy, plan: Plan, paid_seat: bool, included: i64) -> Self {
        Self {
            now_ms,
            policy,
            card: RateCard::shipped(),
            plan,
            paid_seat,
            anchor: Anchor::new(31),
            included_override: Some(included),
            overages: false,
            cap: None,
            cycles: BTreeMap::new(),
            reservations: BTreeMap::new(),
            runs: BTreeMap::new(),
            usage: BTreeMap::new(),
        }
    }

    pub(super) fn wait(&mut self, milliseconds: i64) {
        self.now_ms += milliseconds;
        self.expire();
    }

    pub(super) fn cycle(&self) -> Cycle {
        self.anchor.cycle_at(self.now_ms)
    }

    pub(super) fn books(&self) -> Books {
        self.peek().books
    }

    /// The blocks bought, by the start of their cycle.
    pub(super) fn blocks(&self) -> BTreeMap<i64, i64> {
        let blocks = self.cycles.iter().map(|(start, cycle)| (*start, cycle.books.blocks));
        blocks.filter(|(_, blocks)| *blocks > 0).collect()
    }

    pub(super) fn has_reservation(&self, id: u8) -> bool {
        self.reservations.contains_key(&id)
    }

    fn included(&self) -> i64 {
        self.included_override.unwrap_or_else(|| IncludedCredits::SHIPPED.of(self.plan, self.paid_seat))
    }

    fn peek(&self) -> CycleBooks {
        self.cycles.get(&self.cycle().start_ms).cloned().unwrap_or_else(|| CycleBooks {
            books: Books { included: self.included(), ..Books::default() },
            overages: self.overages,
            cap: self.cap,
        })
    }

    fn current(&mut self) -> &mut CycleBooks {
        let fresh = self.peek();
        self.cycles.entry(self.cycle().start_ms).or_insert(fresh)
    }

    fn price(&self, model: u8, plan: Plan, units: u32) -> i64 {
        self.card.rate(super::operation::MODELS[usize::from(model)]).unwrap().price(plan, units)
    }

    fn expire(&mut self) {
        let now_ms = self.now_ms;
        for reserved in self.reservations.values_mut().filter(|reserved| reserved.state == "open") {
            if reserved.expires_at_ms <= now_ms {
                reserved.state = "expired";
                reserved.settled_at_ms = reserved.expires_at_ms;
                give_back(reserved, reserved.credits, &mut self.cycles, &mut self.runs);
            }
        }
        let (committed, unsettled) = (self.policy.committed_retention_ms, self.policy.unsettled_retention_ms);
        self.reservations.retain(|_, reserved| match reserved.state {
            "open" => true,
            "committed" => now_ms < reserved.settled_at_ms + committed,
            _ => now_ms < reserved.settled_at_ms + unsettled,
        });
        let kept = self.policy.run_retention_ms();
        self.runs.retain(|_, run| now_ms < run.started_at_ms + kept);
    }

    /// The answer, and what may stand in its place for a second after a sidecar was refused as much: it need not ask
    /// the store whose run it is (of a team without a seat), nor whether another sidecar has made a reservation of that
    /// id.
    pub(super) fn reserve(&mut self, call: &Call) -> (Answer, Option<Answer>) {
        let trigger = if call.test { Trigger::Test } else { Trigger::Run };
        let content = (call.flow, Some(call.run), call.model, call.units, trigger);
        let credits = self.price(call.model, self.plan, call.units);
        let suspended = self.covering(credits, None).err();
        if let Some(reserved) = self.reservations.get(&call.id) {
            let run = self.runs.get(&call.run).filter(|_| !call.test && self.paid_seat);
            let refused = self.covering(credits, run.map(|run| run.completion)).err();
            return (replayed(reserved, &content), refused.filter(|_| reserved.state != "open"));
        }
        let mut run = None;
        if !call.test
            && let Some(known) = self.runs.get(&call.run)
        {
            if known.flow != call.flow {
                return (Answer::Error("run reused"), suspended.filter(|_| !self.paid_seat));
            }
            if known.ended.is_some() || self.now_ms >= known.started_at_ms + self.policy.run_max_age_ms {
                return (Answer::Error("run ended"), suspended.filter(|_| !self.paid_seat));
            }
            run = Some(known.completion);
        }
        let basis = match self.covering(credits, run) {
            Ok(basis) => basis,
            Err(suspended) => return (suspended, None),
        };
        let expires_at_ms = self.now_ms + call.hold_ms;
        let answer = Answer::Proceed { credits, basis, state: "open", replayed: false, expires_at_ms };
        if call.dry_run {
            return (answer, None);
        }
        let cycle = self.cycle();
        let books = self.current();
        if basis != Basis::RunCompletion {
            books.books.held += credits;
        }
        if !call.test {
            let running = self.begin(call.run, call.flow);
            if basis == Basis::RunCompletion {
                running.completion += credits;
            }
        }
        let (plan, created_at_ms) = (self.plan, self.now_ms);
        self.reservations.insert(
            call.id,
            Reserved {
                content,
                credits,
                basis,
                cycle,
                plan,
                created_at_ms,
                expires_at_ms,
                state: "open",
                settled_at_ms: 0,
                charged: None,
            },
        );
        (answer, None)
    }

    fn begin(&mut self, run: u8, flow: u8) -> &mut Running {
        let started_at_ms = self.now_ms;
        self.runs.entry(run).or_insert(Running { flow, started_at_ms, ended: None, credits: 0, completion: 0 })
    }

    /// What covers so many credits; `run` is what a current run has completed past the limit.
    fn covering(&self, credits: i64, run: Option<i64>) -> Result<Basis, Answer> {
        let cycle = self.peek();
        let total = cycle.books.used + cycle.books.held + credits;
        if total <= cycle.allotment() {
            return Ok(Basis::Allotment);
        }
        if cycle.overages && total <= cycle.overage_bound() {
            return Ok(Basis::Overage);
        }
        let ceiling = self.policy.run_completion_credits.unwrap_or(i64::MAX);
        if self.paid_seat && run.is_some_and(|completion| completion + credits <= ceiling) {
            return Ok(Basis::RunCompletion);
        }
        let reason = match (self.paid_seat, run) {
            (false, _) => Reason::BlocksStopped,
            (true, Some(_)) => Reason::RunCeilingReached,
            (true, None) if cycle.overages => Reason::OverageCapReached,
            (true, None) => Reason::LimitReached,
        };
        let mut remedies = vec![Remedy::WaitForNextCycle];
        match (self.paid_seat, self.plan) {
            (true, Plan::Professional) if cycle.overages => remedies.push(Remedy::RaiseOverageCap),
            (true, Plan::Professional) => remedies.push(Remedy::EnableOverages),
            _ => remedies.push(Remedy::UpgradePlan),
        }
        Err(Answer::Suspend { reason, remedies, resumes_at_ms: self.cycle().end_ms })
    }

    pub(super) fn commit(&mut self, id: u8, units: Option<u32>, model: Option<u8>) -> Answer {
        let Some(mut reserved) = self.reservations.get(&id).cloned() else {
            return Answer::Error("no reservation");
        };
        let (_, run, reserved_model, reserved_units, trigger) = reserved.content;
        let (units, model) = (units.unwrap_or(reserved_units), model.unwrap_or(reserved_model));
        match (reserved.state, reserved.charged) {
            ("released", _) => return Answer::Error("released"),
            (_, Some((credits, before_units, before_model, late))) => {
                return if (units, model) == (before_units, before_model) {
                    Answer::Committed { credits, replayed: true, late }
                } else {
                    Answer::Error("reservation reused")
                };
            }
            _ => {}
        }
        let credits = self.price(model, reserved.plan, units);
        let late = reserved.state == "expired";
        let promised = if late { 0 } else { credits.min(reserved.credits) };
        if !late {
            give_back(&reserved, reserved.credits, &mut self.cycles, &mut self.runs);
        }
        let cycle = self.cycles.get_mut(&reserved.cycle.start_ms).unwrap();
        let (mut entering, excess) = (promised, credits - promised);
        if reserved.basis == Basis::RunCompletion && !late {
            cycle.books.run_completion += promised;
            if let Some(run) = run.and_then(|run| self.runs.get_mut(&run)) {
                run.completion += promised;
            }
            entering = 0;
        }
        let total = cycle.books.used + cycle.books.held + entering + excess;
        if excess > 0 && total <= cycle.allotment() {
            cycle.books.used += entering + excess;
        } else if excess > 0 && cycle.overages && total <= cycle.overage_bound() {
            cycle.books.used += entering + excess;
            cycle.buy();
        } else {
            cycle.enter_promised(entering, reserved.basis);
            cycle.books.above_hold += excess;
        }
        if trigger == Trigger::Run
            && let Some(run) = run.and_then(|run| self.runs.get_mut(&run))
        {
            run.credits += credits;
        }
        let day = day_name(reserved.created_at_ms);
        let row = self.usage.entry((reserved.cycle.start_ms, day, reserved.content.0, model, trigger)).or_default();
        *row = (row.0 + 1, row.1 + i64::from(units), row.2 + credits);
        reserved.state = "committed";
        reserved.settled_at_ms = self.now_ms;
        reserved.charged = Some((credits, units, model, late));
        self.reservations.insert(id, reserved);
        Answer::Committed { credits, replayed: false, late }
    }

    pub(super) fn release(&mut self, id: u8) -> Answer {
        let Some(reserved) = self.reservations.get_mut(&id) else { return Answer::Error("no reservation") };
        match reserved.state {
            "committed" => Answer::Error("committed"),
            "released" => Answer::Released { replayed: true },
            "expired" => Answer::Released { replayed: false },
            _ => {
                reserved.state = "released";
                reserved.settled_at_ms = self.now_ms;
                let reserved = reserved.clone();
                give_back(&reserved, reserved.credits, &mut self.cycles, &mut self.runs);
                Answer::Released { replayed: false }
            }
        }
    }

    pub(super) fn extend(&mut self, id: u8, hold_ms: i64) -> Answer {
        let Some(reserved) = self.reservations.get_mut(&id) else { return Answer::Error("no reservation") };
        match reserved.state {
            "committed" => Answer::Error("committed"),
            "released" => Answer::Error("released"),
            "expired" => Answer::Error("expired"),
            _ => {
                let latest_ms = reserved.created_at_ms + MAX_HOLD_AGE_MS;
                reserved.expires_at_ms = reserved.expires_at_ms.max(self.now_ms + hold_ms).min(latest_ms);
                Answer::Extended { expires_at_ms: reserved.expires_at_ms }
            }
        }
    }

    pub(super) fn begin_run(&mut self, flow: u8, run: u8) -> Answer {
        let max_age_ms = self.policy.run_max_age_ms;
        if let Some(known) = self.runs.get(&run) {
            let expires_at_ms = known.started_at_ms + max_age_ms;
            return if known.flow != flow {
                Answer::Error("run reused")
            } else if known.ended.is_some() || self.now_ms >= expires_at_ms {
                Answer::Error("run ended")
            } else {
                Answer::Admitted { expires_at_ms, replayed: true }
            };
        }
        if let Err(suspended) = self.covering(1, None) {
            return suspended;
        }
        self.current();
        let started_at_ms = self.begin(run, flow).started_at_ms;
        Answer::Admitted { expires_at_ms: started_at_ms + max_age_ms, replayed: false }
    }

    pub(super) fn end_run(&mut self, run: u8) -> Answer {
        let Some(running) = self.runs.get_mut(&run) else { return Answer::Error("no run") };
        let replayed = running.ended.is_some();
        let credits = *running.ended.get_or_insert(running.credits);
        Answer::RunEnds { credits, replayed }
    }

    pub(super) fn put_team(&mut self, plan: Plan, paid_seat: bool, anchor_day: u8, included: Option<i64>) -> Answer {
        let before = self.included();
        let anchor = self.anchor.changed(anchor_day, self.now_ms);
        if (plan, paid_seat, anchor, included) == (self.plan, self.paid_seat, self.anchor, self.included_override) {
            return Answer::Done;
        }
        self.current();
        (self.plan, self.paid_seat, self.included_override) = (plan, paid_seat, included);
        if plan != Plan::Professional || !paid_seat {
            (self.overages, self.cap) = (false, None);
        }
        let (after, overages, cap) = (self.included(), self.overages, self.cap);
        let cycle = self.current();
        (cycle.overages, cycle.cap) = (overages, cap);
        let books = &mut cycle.books;
        books.included = after;
        books.waived = (books.waived - (after - before).max(0)).max(0);
        books.waived = books.waived.max(books.used - after - 1_000 * books.blocks);
        self.anchor = anchor;
        Answer::Done
    }

    pub(super) fn set_overages(&mut self, enabled: bool, cap: Option<i64>) -> Answer {
        if self.plan != Plan::Professional || !self.paid_seat {
            return if enabled { Answer::Error("no overages") } else { Answer::Done };
        }
        if (enabled, cap) != (self.overages, self.cap) {
            (self.overages, self.cap) = (enabled, cap);
            let cycle = self.current();
            (cycle.overages, cycle.cap) = (enabled, cap);
        }
        Answer::Done
    }
}

fn give_back(
    reserved: &Reserved,
    credits: i64,
    cycles: &mut BTreeMap<i64, CycleBooks>,
    runs: &mut BTreeMap<u8, Running>,
) {
    if reserved.basis != Basis::RunCompletion {
        cycles.get_mut(&reserved.cycle.start_ms).unwrap().books.held -= credits;
    } else if let Some(run) = reserved.content.1.and_then(|run| runs.get_mut(&run)) {
        run.completion -= credits;
    }
}

fn replayed(reserved: &Reserved, content: &(u8, Option<u8>, u8, u32, Trigger)) -> Answer {
    if reserved.content != *content {
        return Answer::Error("reservation reused");
    }
    if reserved.state == "released" {
        return Answer::Error("released");
    }
    let (credits, basis, expires_at_ms) = (reserved.credits, reserved.basis, reserved.expires_at_ms);
    Answer::Proceed { credits, basis, state: reserved.state, replayed: true, expires_at_ms }
}
