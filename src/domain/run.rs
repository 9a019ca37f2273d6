//! Runs: one execution of a flow, current from its BeginRun or first Proceed until its EndRun or its greatest age (rule 3).

use super::{Damaged, id::Id, keys, policy::Policy};
use crate::transaction::{FieldMap, Guard, Linear, PURGE_AT, Read, RecordRef, Reply, Transaction, Value, Write};

/// A run as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The flow that it executes.
    pub flow: String,
    /// Unix milliseconds.
    pub started_at_ms: i64,
    /// When EndRun was called, in Unix milliseconds.
    pub ended_at_ms: Option<i64>,
    /// The credits that it had committed by then.
    pub ended_credits: i64,
    /// Credits that it has committed, on every basis.
    pub credits: i64,
    /// Credits that it has committed past the limit, or holds there.
    pub completion: i64,
}

impl Run {
    /// Whether it may complete past the limit at a time.
    pub fn is_current(&self, now_ms: i64, policy: &Policy) -> bool {
        self.ended_at_ms.is_none() && now_ms < self.expires_at_ms(policy)
    }

    /// When it stops being current without an EndRun, in Unix milliseconds.
    pub fn expires_at_ms(&self, policy: &Policy) -> i64 {
        self.started_at_ms + policy.run_max_age_ms
    }

    /// Reads the record.
    pub fn from_fields(fields: &FieldMap) -> Result<Self, Damaged> {
        let number = |field| fields.number(field).ok_or_else(|| Damaged::new("run", field));
        let ended_at_ms = number("ended_at")?;
        Ok(Self {
            flow: fields.text("flow").ok_or_else(|| Damaged::new("run", "flow"))?.to_owned(),
            started_at_ms: number("started_at")?,
            ended_at_ms: (ended_at_ms > 0).then_some(ended_at_ms),
            ended_credits: number("ended_credits")?,
            credits: number("credits")?,
            completion: number("completion")?,
        })
    }
}

/// The transaction that records a run whose first call was answered from memory, unless it is known, and how to read the reply.
#[derive(Debug)]
pub struct RunRecord {
    /// What to send.
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

    /// The run as the store has it now, whoever recorded it.
    pub fn run(&self, reply: &Reply) -> Result<Option<Run>, Damaged> {
        reply.hash(self.run).map(Run::from_fields).transpose()
    }
}

/// The record of a run that starts now.
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

/// The run is neither ended nor over its age; one that starts in this transaction is not.
pub(crate) fn current(run: RecordRef, policy: &Policy) -> [Guard; 2] {
    [
        Guard::FieldEquals(run, "ended_at", "0".to_owned()),
        Guard::AtMostZero(Linear::now_plus(1 - policy.run_max_age_ms).plus(-1, run, "started_at")),
    ]
}

/// The run's ceiling leaves room for so many credits past the limit.
pub(crate) fn below_ceiling(run: RecordRef, credits: i64, policy: &Policy) -> Option<Guard> {
    let ceiling = policy.run_completion_credits?;
    Some(Guard::AtMostZero(Linear::constant(credits - ceiling).plus(1, run, "completion")))
}
