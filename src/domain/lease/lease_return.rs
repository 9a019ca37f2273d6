//! Returning what was never drawn from a lease: when the lease is idle, over or recalled, and when its sidecar shuts
//! down.

use super::{LeaseRemainder, field};
use crate::{
    domain::{Damaged, account::Account, hold::lease_member, id::Id, keys, terms::Terms},
    transaction::{Guard, Linear, Read, RecordRef, Reply, Transaction, Value, Write},
};

/// The return of one lease: its transaction, and how to read the reply. The sidecar has stopped drawing from the lease.
/// Sending the transaction again changes nothing.
#[derive(Debug)]
pub struct LeaseReturn {
    /// The transaction to send.
    pub transaction: Transaction,
    terms: RecordRef,
    account: RecordRef,
}

impl LeaseReturn {
    /// Builds the transaction.
    pub fn new(team: &Id, rest: &LeaseRemainder) -> Self {
        let LeaseRemainder { id, cycle_start_ms, credits, undrawn } = rest;
        let mut transaction = Transaction::on(keys::team(team));
        let terms = transaction.record(keys::terms(), Read::Whole);
        let account = transaction.record(keys::account(*cycle_start_ms), Read::Whole);
        let lease = transaction.record(keys::lease(id), Read::Nothing);
        let holds = transaction.record(keys::open_holds(), Read::Nothing);
        let open_leases = transaction.record(keys::open_leases(), Read::Nothing);
        for state in [field::RETURNED, field::RECLAIMED] {
            transaction.require(Guard::FieldEquals(lease, state, "0".to_owned()));
        }
        let closed = Write::IndexRemove(open_leases, id.to_string());
        // If nothing that was drawn is left to settle, the lease's record can be deleted. A client with a made-up grant
        // may have settled credits that were never drawn. Then only the rest comes back.
        let settled = Guard::AtMostZero(Linear::constant(-undrawn).plus(1, lease, field::REST));
        let all_back = Linear::default().plus(1, account, "leased").plus(-1, lease, field::REST);
        transaction.option(
            vec![settled],
            vec![
                Write::Set(account, "leased", Value::from(all_back)),
                Write::Delete(lease),
                Write::IndexRemove(holds, lease_member(id, *cycle_start_ms, *credits)),
                closed.clone(),
            ],
        );
        transaction.option(
            Vec::new(),
            vec![
                Write::Add(account, "leased", -undrawn),
                Write::Add(lease, field::REST, -undrawn),
                Write::Set(lease, field::RETURNED, 1.into()),
                closed,
            ],
        );
        Self { transaction, terms, account }
    }

    /// Returns the team's terms in a reply. `None` if the team does not exist.
    pub fn terms(&self, reply: &Reply) -> Result<Option<Terms>, Damaged> {
        reply.hash(self.terms).map(Terms::from_fields).transpose()
    }

    /// Returns the account of the lease's cycle in a reply.
    pub fn account(&self, reply: &Reply) -> Result<Option<Account>, Damaged> {
        reply.hash(self.account).map(Account::from_fields).transpose()
    }
}
