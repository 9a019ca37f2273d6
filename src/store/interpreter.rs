//! Carries out transactions for the stores whose records this process can access: memory and embedded.
//!
//! It evaluates everything before it writes anything. It must not know how a store keeps its records, and must not read
//! a clock. For Redis, `redis/transact.lua` does the same; the conformance suite holds both to the same answers.

mod planned_writes;
mod records;
mod snapshot;

pub(super) use records::{PackedRecord, Records};

use super::error::StoreError;
use crate::transaction::{Outcome, Reply, Transaction, Write};
use planned_writes::PlannedWrites;
use snapshot::{EvaluationError, RecordSnapshot};

/// The result of a transaction.
pub(super) struct Executed {
    /// The answer.
    pub(super) reply: Reply,
    /// Whether a record was changed.
    pub(super) wrote: bool,
}

/// Carries out one transaction at the time `now_ms`. If it fails with a fault, nothing was written.
pub(super) fn execute(
    records: &mut impl Records,
    transaction: &Transaction,
    now_ms: i64,
) -> Result<Executed, StoreError> {
    let snapshot = RecordSnapshot::load(records, transaction, now_ms)?;
    let decision = match decide(&snapshot, transaction, records) {
        Ok(decision) => decision,
        Err(EvaluationError::Missing) => Decision::DoNotApply(Outcome::Stale { guard: None }),
        Err(EvaluationError::Failed(error)) => return Err(error),
    };
    let (outcome, plan) = match decision {
        Decision::DoNotApply(outcome) => (outcome, PlannedWrites::nothing(&snapshot)),
        Decision::Apply(option, plan) => (Outcome::Applied { option }, plan),
    };
    let wrote = plan.apply(&snapshot, records)?;
    let records = plan.read(snapshot, records, outcome)?;
    Ok(Executed { reply: Reply { now_ms, outcome, records }, wrote })
}

enum Decision<'w> {
    /// Applies no option: the transaction is stale or refused.
    DoNotApply(Outcome),
    /// Applies the option at this position.
    Apply(usize, PlannedWrites<'w>),
}

fn decide<'w>(
    snapshot: &RecordSnapshot<'_>,
    transaction: &'w Transaction,
    records: &impl Records,
) -> Result<Decision<'w>, EvaluationError> {
    for (position, guard) in transaction.require.iter().enumerate() {
        match snapshot.holds(guard, records) {
            Ok(true) => {}
            Ok(false) | Err(EvaluationError::Missing) => {
                return Ok(Decision::DoNotApply(Outcome::Stale { guard: Some(position) }));
            }
            Err(failed) => return Err(failed),
        }
    }
    for (position, choice) in transaction.options.iter().enumerate() {
        let mut holds = true;
        for guard in &choice.guards {
            holds = snapshot.holds(guard, records)?;
            if !holds {
                break;
            }
        }
        if holds {
            return Ok(Decision::Apply(position, plan(snapshot, &choice.writes)?));
        }
    }
    Ok(Decision::DoNotApply(Outcome::Refused))
}

fn plan<'w>(snapshot: &RecordSnapshot<'_>, writes: &'w [Write]) -> Result<PlannedWrites<'w>, EvaluationError> {
    // An option without writes creates no record either.
    if writes.is_empty() { Ok(PlannedWrites::nothing(snapshot)) } else { PlannedWrites::new(snapshot, writes) }
}
