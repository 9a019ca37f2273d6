//! What a sidecar believes when it decides about the current cycle.

use super::{account::Account, catalogue::Catalogue, keys, terms::Terms};
use crate::transaction::{Read, RecordRef, Transaction, Write};

/// What a sidecar believes when it decides. The transaction carries all of it, so a wrong belief costs a retry only.
#[derive(Clone, Debug)]
pub struct Assumptions<'a> {
    /// The team's terms.
    pub terms: &'a Terms,
    /// Plans and cards.
    pub catalogue: &'a Catalogue,
    /// Whether the cycle's account exists already.
    pub account_exists: bool,
    /// What remains of the cycle's allotment, in credits. A call that fits into it is offered the allotment only, which keeps
    /// its transaction small; `None` offers everything.
    pub remaining: Option<i64>,
    /// Past the allotment, leases are called back first: nothing but the allotment covers a call while one may be drawn from.
    pub recall_leases_first: bool,
    /// The store's time, in Unix milliseconds.
    pub now_ms: i64,
}

impl Assumptions<'_> {
    /// The same for a call that did not fit where it seemed to.
    #[must_use]
    pub fn with_all_options(self) -> Self {
        Self { remaining: None, ..self }
    }
}

/// A declared account, and what its first write also writes.
pub(crate) struct DeclaredAccount {
    pub(crate) record: RecordRef,
    pub(crate) first_writes: Vec<Write>,
}

/// Declares the account of the cycle at the believed time; unless it is known to exist, it starts in this transaction.
pub(crate) fn declare_account(transaction: &mut Transaction, belief: &Assumptions<'_>) -> DeclaredAccount {
    let cycle = belief.terms.anchor.cycle_at(belief.now_ms);
    let key = keys::account(cycle.start_ms);
    if belief.account_exists {
        return DeclaredAccount { record: transaction.record(key, Read::Whole), first_writes: Vec::new() };
    }
    let included = belief.terms.included(&belief.catalogue.included_credits);
    let start = Account::new(cycle, included, belief.terms).fields();
    let record = transaction.starting_record(key, Read::Whole, start);
    let cycles = transaction.record(keys::cycles(), Read::Nothing);
    let first_writes = vec![Write::IndexPut(cycles, cycle.name(), cycle.start_ms.into())];
    DeclaredAccount { record, first_writes }
}
