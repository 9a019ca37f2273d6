//! The meaning of a transaction, for every store that keeps its records where this process can reach them.
//!
//! Everything is evaluated before anything is written. It must not know how a store keeps its records, nor read a clock.
//! The other place that says what a transaction means is `redis/transact.lua`; the conformance suite holds both to the
//! same answers.

mod plan;
mod records;
mod view;

pub(super) use records::{PackedRecord, Records};

use super::error::StoreError;
use crate::transaction::{Outcome, Reply, Transaction, Write};
use plan::Plan;
use view::{Trouble, View};

/// What came of a transaction.
pub(super) struct CarriedOut {
    /// The answer.
    pub(super) reply: Reply,
    /// Whether a record changed.
    pub(super) wrote: bool,
}

/// Carries out one transaction at this time. After an error of kind fault nothing is written.
pub(super) fn carry_out(
    records: &mut impl Records,
    transaction: &Transaction,
    now_ms: i64,
) -> Result<CarriedOut, StoreError> {
    let view = View::load(records, transaction, now_ms)?;
    let decision = match decide(&view, transaction, records) {
        Ok(decision) => decision,
        Err(Trouble::Missing) => Decision::Not(Outcome::Stale { guard: None }),
        Err(Trouble::Failed(error)) => return Err(error),
    };
    let (outcome, plan) = match decision {
        Decision::Not(outcome) => (outcome, Plan::nothing(&view)),
        Decision::Apply(option, plan) => (Outcome::Applied { option }, plan),
    };
    let wrote = plan.carry_out(&view, records)?;
    let records = plan.read(view, records, outcome)?;
    Ok(CarriedOut { reply: Reply { now_ms, outcome, records }, wrote })
}

enum Decision<'w> {
    Not(Outcome),
    Apply(usize, Plan<'w>),
}

fn decide<'w>(view: &View<'_>, transaction: &'w Transaction, records: &impl Records) -> Result<Decision<'w>, Trouble> {
    for (place, guard) in transaction.require.iter().enumerate() {
        match view.holds(guard, records) {
            Ok(true) => {}
            Ok(false) | Err(Trouble::Missing) => return Ok(Decision::Not(Outcome::Stale { guard: Some(place) })),
            Err(failed) => return Err(failed),
        }
    }
    for (place, choice) in transaction.options.iter().enumerate() {
        let mut holds = true;
        for guard in &choice.guards {
            holds = view.holds(guard, records)?;
            if !holds {
                break;
            }
        }
        if holds {
            return Ok(Decision::Apply(place, plan_of(view, &choice.writes)?));
        }
    }
    Ok(Decision::Not(Outcome::Refused))
}

fn plan_of<'w>(view: &View<'_>, writes: &'w [Write]) -> Result<Plan<'w>, Trouble> {
    // A dry option makes no record start either.
    if writes.is_empty() { Ok(Plan::nothing(view)) } else { Plan::of(view, writes) }
}
