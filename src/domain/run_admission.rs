//! BeginRun and EndRun: when a run becomes current, and when it stops being current (rule 3).

use super::{
    Damaged,
    account::{Account, allotment_covers, overage_covers, overages_on, time_within},
    assumptions::{Assumptions, declare_account},
    hold::{self, Hold},
    id::Id,
    keys,
    lease::{OpenLeases, declare_open_leases},
    policy::Policy,
    run::{self, Run},
    terms::Terms,
};
use crate::transaction::{Guard, Linear, Outcome, Read, RecordRef, Reply, Transaction, Value, Write};

/// Credits that must be available for BeginRun. It holds none of them.
pub const BEGIN_RUN_CREDITS: i64 = 1;

/// One BeginRun: its transaction, and how to read the reply.
#[derive(Debug)]
pub struct BeginRun {
    /// The transaction to send.
    pub transaction: Transaction,
    flow: Id,
    terms: RecordRef,
    account: RecordRef,
    run: RecordRef,
    holds: RecordRef,
    open_leases: RecordRef,
    absent_guard: usize,
}

/// The outcome of a BeginRun.
#[derive(Debug)]
pub enum BeginVerdict {
    /// The run is current from now on.
    Admitted(Run),
    /// The run was already current.
    AlreadyCurrent(Run),
    /// The run has ended, by EndRun or by its age.
    RunEnded,
    /// The run ID belongs to a run of another flow.
    RunOfAnotherFlow,
    /// An assumption was wrong. Decide again with what the reply contains.
    Stale,
    /// No credit is available.
    Refused {
        /// The open holds that run out first.
        holds: Vec<Hold>,
        /// The leases that may still be drawn from.
        open_leases: OpenLeases,
    },
}

impl BeginRun {
    /// Builds the transaction.
    pub fn new(team: &Id, flow: &Id, id: &Id, assumptions: &Assumptions<'_>, policy: &Policy) -> Self {
        let mut transaction = Transaction::on(keys::team(team));
        let terms = transaction.record(keys::terms(), Read::Whole);
        let account = declare_account(&mut transaction, assumptions);
        let run = transaction.starting_record(keys::run(id), Read::Whole, run::start_fields(flow, policy));
        let holds = hold::declare(&mut transaction);
        let open_leases = declare_open_leases(&mut transaction, true);

        let absent_guard = transaction.require(Guard::Absent(run));
        transaction.require(Guard::FieldEquals(terms, "version", assumptions.terms.version.to_string()));
        for guard in time_within(assumptions.terms.anchor.cycle_at(assumptions.now_ms)) {
            transaction.require(guard);
        }
        let record = account.record;
        let mut writes = account.first_writes;
        writes.push(Write::Add(run, "credits", 0));
        transaction.option(vec![allotment_covers(record, BEGIN_RUN_CREDITS)], writes.clone());
        transaction.option(vec![overages_on(record), overage_covers(record, BEGIN_RUN_CREDITS)], writes);
        Self { transaction, flow: flow.clone(), terms, account: record, run, holds, open_leases, absent_guard }
    }

    /// Reads the outcome from the reply.
    pub fn verdict(&self, reply: &Reply, policy: &Policy) -> Result<BeginVerdict, Damaged> {
        let run = reply.hash(self.run).map(Run::from_fields).transpose()?;
        Ok(match (reply.outcome, run) {
            (Outcome::Applied { .. }, Some(run)) => BeginVerdict::Admitted(run),
            (Outcome::Stale { guard: Some(guard) }, Some(run)) if guard == self.absent_guard => {
                if run.flow != self.flow.as_str() {
                    BeginVerdict::RunOfAnotherFlow
                } else if run.is_current(reply.now_ms, policy) {
                    BeginVerdict::AlreadyCurrent(run)
                } else {
                    BeginVerdict::RunEnded
                }
            }
            (Outcome::Applied { .. } | Outcome::Stale { .. }, _) => BeginVerdict::Stale,
            (Outcome::Refused, _) => BeginVerdict::Refused {
                holds: hold::read(reply, self.holds)?,
                open_leases: OpenLeases::read(reply, self.open_leases),
            },
        })
    }

    /// Returns the team's terms in a reply. `None` if the team does not exist.
    pub fn terms(&self, reply: &Reply) -> Result<Option<Terms>, Damaged> {
        reply.hash(self.terms).map(Terms::from_fields).transpose()
    }

    /// Returns the cycle's account in a reply. `None` if the account has no record yet.
    pub fn account(&self, reply: &Reply) -> Result<Option<Account>, Damaged> {
        reply.hash(self.account).map(Account::from_fields).transpose()
    }
}

/// One EndRun: its transaction, and how to read the reply.
#[derive(Debug)]
pub struct EndRun {
    /// The transaction to send.
    pub transaction: Transaction,
    terms: RecordRef,
    run: RecordRef,
}

/// The outcome of an EndRun.
#[derive(Debug)]
pub enum EndVerdict {
    /// The run has ended now.
    Ended(Run),
    /// The run had already ended.
    AlreadyEnded(Run),
    /// The run does not exist.
    NotFound,
    /// The team does not exist.
    TeamNotFound,
}

impl EndRun {
    /// Builds the transaction that ends a run, unless it has ended.
    ///
    /// The credits that it has committed so far are stored beside its counter. Later commits still raise the counter,
    /// but a repeated EndRun returns the first result.
    pub fn new(team: &Id, id: &Id) -> Self {
        let mut transaction = Transaction::on(keys::team(team));
        let terms = transaction.record(keys::terms(), Read::Whole);
        let run = transaction.record(keys::run(id), Read::Whole);
        transaction.require(Guard::FieldEquals(run, "ended_at", "0".to_owned()));
        let committed = Linear::default().plus(1, run, "credits");
        let writes =
            vec![Write::Set(run, "ended_at", Value::now()), Write::Set(run, "ended_credits", committed.into())];
        transaction.option(Vec::new(), writes);
        Self { transaction, terms, run }
    }

    /// Reads the outcome from the reply.
    pub fn verdict(&self, reply: &Reply) -> Result<EndVerdict, Damaged> {
        if reply.hash(self.terms).is_none() {
            return Ok(EndVerdict::TeamNotFound);
        }
        let Some(fields) = reply.hash(self.run) else { return Ok(EndVerdict::NotFound) };
        let run = Run::from_fields(fields)?;
        Ok(match reply.outcome {
            Outcome::Applied { .. } => EndVerdict::Ended(run),
            Outcome::Stale { .. } | Outcome::Refused => EndVerdict::AlreadyEnded(run),
        })
    }
}
