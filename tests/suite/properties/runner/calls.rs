//! Sends an operation to a gate and turns what it returns into an answer of the model.

use std::{cell::Cell, sync::atomic::Ordering, time::Duration};

use tollgate::{
    domain::{
        plan::Plan,
        reservation::{State, Trigger},
        terms_change::TeamSettings,
    },
    gate::{
        GateError,
        calls::{ActualUse, ReserveCall, ReserveDecision, RunDecision, SettleCall, SuspendAnswer},
    },
};

use super::{
    super::{super::support::catch_up, model::Answer, operation::Operation},
    Answers, OPENED_FROM_LEASES, Runner, id, model_id,
};

/// First byte of a grant from a lease.
const GRANT_FROM_LEASE: u8 = 0x9f;

/// How far the gates' clocks fall behind the store's during each wait. The next reply corrects it.
const LAG_MS: i64 = 450;

/// Time after its grant until a lease and everything opened from it is over, in milliseconds.
const LEASE_LIFETIME_MS: i64 = 131_000;

impl Runner {
    /// Sends an operation to a gate. While it waits for leases to be returned, both gates do their background work.
    pub(super) async fn actual(&mut self, operation: &Operation, asked: usize) -> Answer {
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
                // Live sidecars do their background work more often than every few hours.
                let first_ms = milliseconds.min(LEASE_LIFETIME_MS);
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
