//! The rules as a bookkeeper reads them: one team, one change after the other.

mod reservations;

use std::collections::BTreeMap;

use tollgate::domain::{
    billing_cycle::{Anchor, Cycle},
    plan::{IncludedCredits, Plan},
    policy::Policy,
    rate_card::RateCard,
    reservation::{Basis, Trigger},
    suspension::{Reason, Remedy},
};

use super::books::{Books, CycleBooks};

/// The answer to an operation, as far as the rules determine it.
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
struct KnownRun {
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
    runs: BTreeMap<u8, KnownRun>,
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
        self.current_or_new().books
    }

    /// Returns the number of blocks bought, by the start of their cycle.
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

    fn current_or_new(&self) -> CycleBooks {
        self.cycles.get(&self.cycle().start_ms).cloned().unwrap_or_else(|| CycleBooks {
            books: Books { included: self.included(), ..Books::default() },
            overages: self.overages,
            cap: self.cap,
        })
    }

    fn current(&mut self) -> &mut CycleBooks {
        let new = self.current_or_new();
        self.cycles.entry(self.cycle().start_ms).or_insert(new)
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

    fn begin(&mut self, run: u8, flow: u8) -> &mut KnownRun {
        let started_at_ms = self.now_ms;
        self.runs.entry(run).or_insert(KnownRun { flow, started_at_ms, ended: None, credits: 0, completion: 0 })
    }

    /// Returns what covers this many credits, or the suspension. `run` is what a current run has used past the limit.
    fn covering(&self, credits: i64, run: Option<i64>) -> Result<Basis, Answer> {
        let cycle = self.current_or_new();
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
        let Some(known_run) = self.runs.get_mut(&run) else { return Answer::Error("no run") };
        let replayed = known_run.ended.is_some();
        let credits = *known_run.ended.get_or_insert(known_run.credits);
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
    runs: &mut BTreeMap<u8, KnownRun>,
) {
    if reserved.basis != Basis::RunCompletion {
        cycles.get_mut(&reserved.cycle.start_ms).unwrap().books.held -= credits;
    } else if let Some(run) = reserved.content.1.and_then(|run| runs.get_mut(&run)) {
        run.completion -= credits;
    }
}
