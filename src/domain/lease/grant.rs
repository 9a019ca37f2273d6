//! Granting a lease: credits move from what remains of the allotment to *leased*, in one transaction.

use super::{LeaseTerms, field};
use crate::{
    domain::{
        Damaged,
        account::{Account, allotment_covers, time_within},
        assumptions::{Assumptions, declare_account},
        billing_cycle::Cycle,
        hold::lease_member,
        id::Id,
        keys,
        terms::{NO_LEASES_UNTIL, Terms},
    },
    transaction::{Guard, Linear, Outcome, Read, Record, RecordRef, Reply, Transaction, Value, Write},
};

/// Maximum number of a team's leases that a reply contains. Those that can no longer be drawn from come first.
pub(super) const MAX_LEASES_READ: u32 = 64;

/// The grant of one lease: its transaction, and how to read the reply.
#[derive(Debug)]
pub struct LeaseGrant {
    /// The transaction to send.
    pub transaction: Transaction,
    /// The cycle whose allotment it is taken from.
    pub cycle: Cycle,
    absent_guard: usize,
    offers: Vec<i64>,
    terms: RecordRef,
    account: RecordRef,
    lease: RecordRef,
    open_leases: RecordRef,
}

/// The outcome of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseVerdict {
    /// The lease is granted.
    Granted {
        /// Number of credits granted.
        credits: i64,
        /// When it was granted, in Unix milliseconds of the store.
        granted_at_ms: i64,
    },
    /// No lease: too little remains, leases are being recalled, or an assumption was wrong.
    NotNow,
}

impl LeaseGrant {
    /// Builds the transaction that takes a lease of `credits`, or of a quarter of them if no more remains.
    ///
    /// It can be sent again when its outcome is unknown, because the store grants an ID only once.
    pub fn new(team: &Id, id: &Id, credits: i64, assumptions: &Assumptions<'_>, lease_terms: &LeaseTerms) -> Self {
        let cycle = assumptions.terms.anchor.cycle_at(assumptions.now_ms);
        let mut transaction = Transaction::on(keys::team(team));
        let terms = transaction.record(keys::terms(), Read::Whole);
        let account = declare_account(&mut transaction, assumptions);
        let lease = transaction.record(keys::lease(id), Read::Whole);
        let holds = transaction.record(keys::open_holds(), Read::Nothing);
        let open_leases =
            transaction.record(keys::open_leases(), Read::First { limit: MAX_LEASES_READ, unless_applied: false });

        let absent_guard = transaction.require(Guard::Absent(lease));
        transaction.require(Guard::FieldEquals(terms, "version", assumptions.terms.version.to_string()));
        for guard in time_within(cycle) {
            transaction.require(guard);
        }
        transaction.require(Guard::AtMostZero(Linear::default().plus(1, terms, NO_LEASES_UNTIL).plus_now(-1)));
        let mut offers = vec![credits];
        offers.extend(Some(credits / 4).filter(|quarter| *quarter > 0));
        for credits in &offers {
            let mut writes = account.first_writes.clone();
            writes.extend([
                Write::Add(account.record, "leased", *credits),
                Write::Set(lease, field::CYCLE, cycle.start_ms.into()),
                Write::Set(lease, field::CREDITS, (*credits).into()),
                Write::Set(lease, field::REST, (*credits).into()),
                Write::Set(lease, field::GRANTED_AT, Value::now()),
                Write::Set(lease, field::RECLAIM_AT, Value::now_plus(lease_terms.reclaim_after_ms())),
                Write::Set(lease, field::RETURNED, 0.into()),
                Write::Set(lease, field::RECLAIMED, 0.into()),
                Write::IndexPut(
                    holds,
                    lease_member(id, cycle.start_ms, *credits),
                    Value::now_plus(lease_terms.reclaim_after_ms()),
                ),
                Write::IndexPut(open_leases, id.to_string(), Value::now_plus(lease_terms.term_ms)),
            ]);
            transaction.option(vec![allotment_covers(account.record, *credits)], writes);
        }
        Self { transaction, cycle, absent_guard, offers, terms, account: account.record, lease, open_leases }
    }

    /// Reads the outcome from the reply.
    ///
    /// If an earlier copy of the transaction was applied, the lease counts as granted. No caller learned of it, so
    /// nothing was drawn from it.
    pub fn verdict(&self, reply: &Reply) -> Result<LeaseVerdict, Damaged> {
        match reply.outcome {
            Outcome::Applied { option } => {
                let credits = self
                    .offers
                    .get(option)
                    .ok_or_else(|| Damaged::new("reply", "the applied option was not in the transaction"))?;
                Ok(LeaseVerdict::Granted { credits: *credits, granted_at_ms: reply.now_ms })
            }
            Outcome::Stale { guard: Some(guard) } if guard == self.absent_guard => self.granted_before(reply),
            Outcome::Stale { .. } | Outcome::Refused => Ok(LeaseVerdict::NotNow),
        }
    }

    fn granted_before(&self, reply: &Reply) -> Result<LeaseVerdict, Damaged> {
        let Some(fields) = reply.hash(self.lease) else { return Ok(LeaseVerdict::NotNow) };
        let number = |field| fields.number(field).ok_or_else(|| Damaged::field("lease", field));
        let is_whole = number(field::RECLAIMED)? == 0 && number(field::REST)? == number(field::CREDITS)?;
        Ok(if is_whole {
            LeaseVerdict::Granted { credits: number(field::CREDITS)?, granted_at_ms: number(field::GRANTED_AT)? }
        } else {
            LeaseVerdict::NotNow
        })
    }

    /// Returns how many leases of the team may be drawn from now, by any sidecar.
    pub fn open_leases(&self, reply: &Reply) -> usize {
        match reply.record(self.open_leases) {
            Record::Index(entries) => entries.iter().filter(|(until_ms, _)| *until_ms > reply.now_ms).count(),
            _ => 0,
        }
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
