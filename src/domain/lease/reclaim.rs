//! The credits of a lease that its sidecar has not settled in time come back after its quarantine, whoever notices first (I5).

use super::{CLOCK_MARGIN_MS, field};
use crate::{
    domain::{
        Damaged,
        account::{Account, not_after, not_before},
        hold::{self, Hold},
        id::Id,
        keys,
        policy::Policy,
        terms::Terms,
    },
    transaction::{Guard, Linear, Outcome, PURGE_AT, Read, RecordRef, Reply, Transaction, Value, Write},
};

/// The transaction that ends one lease, and how to read the reply.
#[derive(Debug)]
pub struct Reclaim {
    /// What to send.
    pub transaction: Transaction,
    present_guard: usize,
    /// The option by which what is left comes back, if that is among them.
    ends_with_rest: Option<usize>,
    hold: Hold,
    terms: RecordRef,
    account: RecordRef,
    holds: RecordRef,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReclaimVerdict {
    /// It is ended, or put off, by this step or by somebody who was faster.
    Done,
    /// There is no such lease; its hold is to be removed.
    NoLease,
    /// It is not due, was ended already, or the store's clock shows something else than was believed.
    Stale,
}

impl Reclaim {
    /// Builds the transaction that ends a lease believed to be due, if the store's clock shows what it is believed to within
    /// [`CLOCK_MARGIN_MS`]: a clock that was just set forward says nothing of how long the lease's sidecar has been silent.
    ///
    /// What was neither settled nor given back leaves *leased*. Its record then stays for as long as an expired reservation's would,
    /// for late commits of what was drawn from it.
    pub fn new(team: &Id, lease_id: &Id, hold: &Hold, believed_now_ms: i64, policy: &Policy) -> Self {
        let mut step = Self::of(team, hold);
        let (lease, open_leases) = step.declare(lease_id);
        let holds = step.holds;
        let transaction = &mut step.transaction;
        transaction.require(not_before(believed_now_ms - CLOCK_MARGIN_MS));
        transaction.require(not_after(believed_now_ms + CLOCK_MARGIN_MS));
        let rest = Linear::default().plus(1, lease, field::REST);
        let closed = [Write::IndexRemove(holds, hold.member()), Write::IndexRemove(open_leases, lease_id.to_string())];
        let mut settled = vec![Write::Delete(lease)];
        settled.extend(closed.clone());
        transaction.option(vec![Guard::AtMostZero(rest)], settled);
        let left = Linear::default().plus(1, step.account, "leased").plus(-1, lease, field::REST);
        let mut ended = vec![
            Write::Set(step.account, "leased", Value::from(left)),
            Write::Set(lease, field::RECLAIMED, 1.into()),
            Write::Set(lease, field::RETURNED, 1.into()),
            Write::Set(lease, PURGE_AT, Value::now_plus(policy.unsettled_retention_ms)),
        ];
        ended.extend(closed);
        step.ends_with_rest = Some(step.transaction.options.len());
        step.transaction.option(Vec::new(), ended);
        step
    }

    /// Builds the transaction that puts off the end of a due lease by so many milliseconds from now, for the store's clock jumped: the
    /// lease may be in use.
    pub fn postpone(team: &Id, lease_id: &Id, hold: &Hold, by_ms: i64) -> Self {
        let mut step = Self::of(team, hold);
        let (lease, _) = step.declare(lease_id);
        let holds = step.holds;
        step.transaction.option(
            Vec::new(),
            vec![
                Write::Set(lease, field::RECLAIM_AT, Value::now_plus(by_ms)),
                Write::IndexPut(holds, hold.member(), Value::now_plus(by_ms)),
            ],
        );
        step
    }

    /// Builds the transaction that removes the hold of a lease that does not exist.
    pub fn remove_orphan(team: &Id, lease_id: &Id, hold: &Hold) -> Transaction {
        let mut transaction = Transaction::on(keys::team(team));
        let lease = transaction.record(keys::lease(lease_id), Read::Nothing);
        let holds = transaction.record(keys::open_holds(), Read::Nothing);
        transaction.require(Guard::Absent(lease));
        transaction.option(Vec::new(), vec![Write::IndexRemove(holds, hold.member())]);
        transaction
    }

    /// Whether something was left of the lease that came back by this step: its sidecar never settled it.
    pub fn has_come_back(&self, reply: &Reply) -> bool {
        self.ends_with_rest.is_some_and(|option| reply.outcome == Outcome::Applied { option })
    }

    /// Reads the verdict of a reply.
    pub fn verdict(&self, reply: &Reply) -> Result<ReclaimVerdict, Damaged> {
        Ok(match reply.outcome {
            Outcome::Applied { .. } => ReclaimVerdict::Done,
            Outcome::Stale { guard: Some(guard) } if guard == self.present_guard => {
                let is_left = hold::read(reply, self.holds)?.contains(&self.hold);
                if is_left { ReclaimVerdict::NoLease } else { ReclaimVerdict::Done }
            }
            Outcome::Stale { .. } | Outcome::Refused => ReclaimVerdict::Stale,
        })
    }

    /// The team's terms in a reply; `None` if there is no such team.
    pub fn terms(&self, reply: &Reply) -> Result<Option<Terms>, Damaged> {
        reply.hash(self.terms).map(Terms::from_fields).transpose()
    }

    /// The account of the lease's cycle in a reply.
    pub fn account(&self, reply: &Reply) -> Result<Option<Account>, Damaged> {
        reply.hash(self.account).map(Account::from_fields).transpose()
    }

    fn of(team: &Id, hold: &Hold) -> Self {
        let mut transaction = Transaction::on(keys::team(team));
        let terms = transaction.record(keys::terms(), Read::Whole);
        let account = transaction.record(keys::account(hold.cycle_start_ms), Read::Whole);
        // Who was faster took the hold away with the lease; a hold that is left is damage.
        let holds = hold::declare(&mut transaction);
        Self { transaction, present_guard: 0, ends_with_rest: None, hold: hold.clone(), terms, account, holds }
    }

    fn declare(&mut self, lease_id: &Id) -> (RecordRef, RecordRef) {
        let lease = self.transaction.record(keys::lease(lease_id), Read::Nothing);
        let open_leases = self.transaction.record(keys::open_leases(), Read::Nothing);
        self.present_guard = self.transaction.require(Guard::Present(lease));
        // Whoever was faster ended it, or put that off. A hold of what has ended would stay due, in the way of every call that has to
        // wait for what is.
        self.transaction.require(Guard::FieldEquals(lease, field::RECLAIMED, "0".to_owned()));
        let reclaim_at = Linear::default().plus(1, lease, field::RECLAIM_AT);
        self.transaction.require(Guard::AtMostZero(reclaim_at.plus_now(-1)));
        (lease, open_leases)
    }
}
