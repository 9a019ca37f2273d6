//! Reclaiming a lease: after the quarantine, the credits of a lease that was not returned come back, whichever sidecar
//! notices first (I5).

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

/// Ends one lease: its transaction, and how to read the reply.
#[derive(Debug)]
pub struct Reclaim {
    /// The transaction to send.
    pub transaction: Transaction,
    present_guard: usize,
    /// Index of the option that gives a rest back, if the transaction has it.
    ends_with_rest: Option<usize>,
    hold: Hold,
    terms: RecordRef,
    account: RecordRef,
    holds: RecordRef,
}

/// The outcome of a reclaim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReclaimVerdict {
    /// The lease was ended or postponed, by this transaction or by another sidecar before it.
    Done,
    /// The lease does not exist. Its hold has to be removed.
    NoLease,
    /// The lease is not due or has already ended, or the store's clock shows another time than was assumed.
    Stale,
}

impl Reclaim {
    /// Builds the transaction that ends a lease. It assumes that the lease is due.
    ///
    /// The store applies it only if its clock shows the assumed time to within [`CLOCK_MARGIN_MS`]. If the clock was
    /// just set forward, a lease can look due although its sidecar still draws from it.
    ///
    /// What was neither settled nor returned leaves *leased*. The lease's record is then kept as long as that of an
    /// expired reservation, so that reservations drawn from the lease can be committed late.
    pub fn new(team: &Id, lease_id: &Id, hold: &Hold, assumed_now_ms: i64, policy: &Policy) -> Self {
        let mut step = Self::of(team, hold);
        let (lease, open_leases) = step.declare(lease_id);
        let holds = step.holds;
        let transaction = &mut step.transaction;
        transaction.require(not_before(assumed_now_ms - CLOCK_MARGIN_MS));
        transaction.require(not_after(assumed_now_ms + CLOCK_MARGIN_MS));
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

    /// Builds the transaction that postpones the end of a due lease by `by_ms` from now. It is used after the store's
    /// clock has jumped, because the lease may still be in use.
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

    /// Returns the team's terms in a reply. `None` if the team does not exist.
    pub fn terms(&self, reply: &Reply) -> Result<Option<Terms>, Damaged> {
        reply.hash(self.terms).map(Terms::from_fields).transpose()
    }

    /// Returns the account of the lease's cycle in a reply.
    pub fn account(&self, reply: &Reply) -> Result<Option<Account>, Damaged> {
        reply.hash(self.account).map(Account::from_fields).transpose()
    }

    fn of(team: &Id, hold: &Hold) -> Self {
        let mut transaction = Transaction::on(keys::team(team));
        let terms = transaction.record(keys::terms(), Read::Whole);
        let account = transaction.record(keys::account(hold.cycle_start_ms), Read::Whole);
        // A sidecar that ended the lease before has removed its hold too. A hold that is still there is damaged data.
        let holds = hold::declare(&mut transaction);
        Self { transaction, present_guard: 0, ends_with_rest: None, hold: hold.clone(), terms, account, holds }
    }

    fn declare(&mut self, lease_id: &Id) -> (RecordRef, RecordRef) {
        let lease = self.transaction.record(keys::lease(lease_id), Read::Nothing);
        let open_leases = self.transaction.record(keys::open_leases(), Read::Nothing);
        self.present_guard = self.transaction.require(Guard::Present(lease));
        // Another sidecar may have ended or postponed the lease before. Without these guards the hold of an ended lease
        // could become due again, and every call that waits for due holds would wait for it.
        self.transaction.require(Guard::FieldEquals(lease, field::RECLAIMED, "0".to_owned()));
        let reclaim_at = Linear::default().plus(1, lease, field::RECLAIM_AT);
        self.transaction.require(Guard::AtMostZero(reclaim_at.plus_now(-1)));
        (lease, open_leases)
    }
}
