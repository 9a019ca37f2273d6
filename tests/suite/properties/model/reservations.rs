//! Reserve, commit, release and extend, as a bookkeeper reads the rules.

use tollgate::domain::{
    billing_cycle::day_name,
    policy::MAX_HOLD_AGE_MS,
    reservation::{Basis, Trigger},
};

use super::{Answer, Call, Model, Reserved, give_back};

impl Model {
    /// Returns the answer, and another one that is acceptable for a second after a sidecar was refused as much. Within
    /// that second the sidecar does not ask the store whose run it is (for a team without a seat), nor whether another
    /// sidecar made a reservation with that ID.
    pub(in super::super) fn reserve(&mut self, call: &Call) -> (Answer, Option<Answer>) {
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
            let known_run = self.begin(call.run, call.flow);
            if basis == Basis::RunCompletion {
                known_run.completion += credits;
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

    pub(in super::super) fn commit(&mut self, id: u8, units: Option<u32>, model: Option<u8>) -> Answer {
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

    pub(in super::super) fn release(&mut self, id: u8) -> Answer {
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

    pub(in super::super) fn extend(&mut self, id: u8, hold_ms: i64) -> Answer {
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
