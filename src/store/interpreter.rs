//! The meaning of a transaction, for every store that keeps its records where this process can reach them.
//!
//! Everything is evaluated before anything is written. It must not know how a store keeps its records, nor read a clock.
//! The other place that says what a transaction means is `redis/transact.lua`; the conformance suite holds both to the
//! same answers.

mod planned_writes;
mod records;
mod snapshot;

pub(super) use records::{PackedRecord, Records};

use super::error::StoreError;
use crate::transaction::{Outcome, Reply, Transaction, Write};
use planned_writes::PlannedWrites;
use snapshot::{EvaluationError, Snapshot};

/// What came of a transaction.
pub(super) struct Executed {
    /// The answer.
    pub(super) reply: Reply,
    /// Whether a record changed.
    pub(super) wrote: bool,
}

/// Carries out one transaction at this time. RecordAfter an error of kind fault nothing is written.
pub(super) fn execute(
    records: &mut impl Records,
    transaction: &Transaction,
    now_ms: i64,
) -> Result<Executed, StoreError> {
    let snapshot = Snapshot::load(records, transaction, now_ms)?;
    let decision = match decide(&snapshot, transaction, records) {
        Ok(decision) => decision,
        Err(EvaluationError::Missing) => Decision::Not(Outcome::Stale { guard: None }),
        Err(EvaluationError::Failed(error)) => return Err(error),
    };
    let (outcome, plan) = match decision {
        Decision::Not(outcome) => (outcome, PlannedWrites::nothing(&snapshot)),
        Decision::Apply(option, plan) => (Outcome::Applied { option }, plan),
    };
    let wrote = plan.execute(&snapshot, records)?;
    let records = plan.read(snapshot, records, outcome)?;
    Ok(Executed { reply: Reply { now_ms, outcome, records }, wrote })
}

enum Decision<'w> {
    Not(Outcome),
    Apply(usize, PlannedWrites<'w>),
}

fn decide<'w>(
    snapshot: &Snapshot<'_>,
    transaction: &'w Transaction,
    records: &impl Records,
) -> Result<Decision<'w>, EvaluationError> {
    for (place, guard) in transaction.require.iter().enumerate() {
        match snapshot.holds(guard, records) {
            Ok(true) => {}
            Ok(false) | Err(EvaluationError::Missing) => {
                return Ok(Decision::Not(Outcome::Stale { guard: Some(place) }));
            }
            Err(failed) => return Err(failed),
        }
    }
    for (place, choice) in transaction.options.iter().enumerate() {
        let mut holds = true;
        for guard in &choice.guards {
            holds = snapshot.holds(guard, records)?;
            if !holds {
                break;
            }
        }
        if holds {
            return Ok(Decision::Apply(place, planned(snapshot, &choice.writes)?));
        }
    }
    Ok(Decision::Not(Outcome::Refused))
}

fn planned<'w>(snapshot: &Snapshot<'_>, writes: &'w [Write]) -> Result<PlannedWrites<'w>, EvaluationError> {
    // A dry option makes no record start either.
    if writes.is_empty() { Ok(PlannedWrites::nothing(snapshot)) } else { PlannedWrites::of(snapshot, writes) }
}
