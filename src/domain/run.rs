//! Runs: executions of a flow. A run is current from its BeginRun or first Proceed until its EndRun or its maximum age
//! (rule 3).

use super::{Damaged, id::Id, keys, policy::Policy};
use crate::transaction::{FieldMap, Guard, Linear, PURGE_AT, Read, RecordRef, Reply, Transaction, Value, Write};

/// A run as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The flow that it executes.
    pub flow: String,
    /// When it began, in Unix milliseconds.
    pub started_at_ms: i64,
    /// When EndRun was called, in Unix milliseconds.
    pub ended_at_ms: Option<i64>,
    /// Credits that it had committed when EndRun was called.
    pub ended_credits: i64,
    /// Credits that it has committed, on every basis.
    pub credits: i64,
    /// Credits that it has committed or holds past the limit.
    pub completion: i64,
}

impl Run {
    /// Returns whether the run is current at a time, so that it may pass the limit.
    pub fn is_current(&self, now_ms: i64, policy: &Policy) -> bool {
        self.ended_at_ms.is_none() && now_ms < self.expires_at_ms(policy)
    }

    /// Returns when it stops being current without an EndRun, in Unix milliseconds.
    pub fn expires_at_ms(&self, policy: &Policy) -> i64 {
        self.started_at_ms + policy.run_max_age_ms
    }

    /// Reads the record.
    pub fn from_fields(fields: &FieldMap) -> Result<Self, Damaged> {
        let number = |field| fields.number(field).ok_or_else(|| Damaged::field("run", field));
        let ended_at_ms = number("ended_at")?;
        Ok(Self {
            flow: fields.text("flow").ok_or_else(|| Damaged::field("run", "flow"))?.to_owned(),
            started_at_ms: number("started_at")?,
            ended_at_ms: (ended_at_ms > 0).then_some(ended_at_ms),
            ended_credits: number("ended_credits")?,
            credits: number("credits")?,
            completion: number("completion")?,
        })
    }
}

/// Records a run whose first call was answered from a lease, unless the store has a record of it.
#[derive(Debug)]
pub struct RunRecord {
    /// The transaction to send.
    pub transaction: Transaction,
    run: RecordRef,
}

impl RunRecord {
    /// Builds the transaction.
    pub fn new(team: &Id, id: &Id, flow: &Id, policy: &Policy) -> Self {
        let mut transaction = Transaction::on(keys::team(team));
        let run = transaction.starting_record(keys::run(id), Read::Whole, start_fields(flow, policy));
        transaction.option(vec![Guard::Absent(run)], vec![Write::Add(run, "credits", 0)]);
        Self { transaction, run }
    }

    /// Returns the run as the store has it now, whether this transaction recorded it or an earlier one.
    pub fn run(&self, reply: &Reply) -> Result<Option<Run>, Damaged> {
        reply.hash(self.run).map(Run::from_fields).transpose()
    }
}

/// Returns the record of a run that begins now.
pub(crate) fn start_fields(flow: &Id, policy: &Policy) -> Vec<(&'static str, Value)> {
    vec![
        ("flow", flow.as_str().into()),
        ("started_at", Value::now()),
        ("ended_at", 0.into()),
        ("ended_credits", 0.into()),
        ("credits", 0.into()),
        ("completion", 0.into()),
        (PURGE_AT, Value::now_plus(policy.run_retention_ms())),
    ]
}

/// The guards that the run is current: not ended, and below its maximum age. A run that begins in this transaction is
/// current.
pub(crate) fn current(run: RecordRef, policy: &Policy) -> [Guard; 2] {
    [
        Guard::FieldEquals(run, "ended_at", "0".to_owned()),
        Guard::AtMostZero(Linear::now_plus(1 - policy.run_max_age_ms).plus(-1, run, "started_at")),
    ]
}

/// The guard that the run may use this many more credits past the limit. `None` if there is no limit per run.
pub(crate) fn below_ceiling(run: RecordRef, credits: i64, policy: &Policy) -> Option<Guard> {
    let ceiling = policy.run_completion_credits?;
    Some(Guard::AtMostZero(Linear::constant(credits - ceiling).plus(1, run, "completion")))
}
