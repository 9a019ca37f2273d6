//! What a sidecar assumes about a team and its current cycle when it decides.

use super::{account::Account, catalogue::Catalogue, keys, terms::Terms};
use crate::transaction::{Read, RecordRef, Transaction, Write};

/// What a sidecar assumes when it decides. The transaction contains a guard for each assumption, so a wrong one costs a
/// retry and nothing else.
#[derive(Clone, Debug)]
pub struct Assumptions<'a> {
    /// The team's terms.
    pub terms: &'a Terms,
    /// Included credits and rate cards.
    pub catalogue: &'a Catalogue,
    /// Whether the cycle's account has a record in the store.
    pub account_exists: bool,
    /// What remains of the cycle's allotment, in credits. If it covers a call, the transaction has only the option of
    /// the allotment, which keeps it small. `None` means that every option is included.
    pub remaining: Option<i64>,
    /// Whether overages and run completion cover a call only when no lease may be drawn from any more. Leases are
    /// recalled first.
    pub recall_leases_first: bool,
    /// The store's time, in Unix milliseconds.
    pub now_ms: i64,
}

impl Assumptions<'_> {
    /// Returns the assumptions for another attempt, which includes every option.
    #[must_use]
    pub fn with_all_options(self) -> Self {
        Self { remaining: None, ..self }
    }
}

/// An account that is declared in a transaction, and the writes that go with its first change.
pub(crate) struct DeclaredAccount {
    pub(crate) record: RecordRef,
    pub(crate) first_writes: Vec<Write>,
}

/// Declares the account of the cycle at the assumed time. Unless it is known to exist, the transaction creates it.
pub(crate) fn declare_account(transaction: &mut Transaction, assumptions: &Assumptions<'_>) -> DeclaredAccount {
    let cycle = assumptions.terms.anchor.cycle_at(assumptions.now_ms);
    let key = keys::account(cycle.start_ms);
    if assumptions.account_exists {
        return DeclaredAccount { record: transaction.record(key, Read::Whole), first_writes: Vec::new() };
    }
    let included = assumptions.terms.included(&assumptions.catalogue.included_credits);
    let start = Account::new(cycle, included, assumptions.terms).fields();
    let record = transaction.starting_record(key, Read::Whole, start);
    let cycles = transaction.record(keys::cycles(), Read::Nothing);
    let first_writes = vec![Write::IndexPut(cycles, cycle.name(), cycle.start_ms.into())];
    DeclaredAccount { record, first_writes }
}
