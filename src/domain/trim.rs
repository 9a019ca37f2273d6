//! Trimming: a team keeps its latest cycles, and older ones are removed page by page, so that no transaction grows with
//! a team's history.

use super::{Damaged, billing_cycle::day_name, id::Id, keys, usage::UsageKey};
use crate::transaction::{Read, Record, RecordRef, Reply, Transaction, Write};

/// Number of cycles that a team keeps: one year and the current cycle.
pub const CYCLES_KEPT: usize = 13;

/// Maximum number of usage rows that one transaction removes.
const ROWS_PER_STEP: u32 = 200;

/// Query for the cycles of a team.
#[derive(Debug)]
pub struct CyclesQuery {
    /// The transaction to send.
    pub transaction: Transaction,
    cycles: RecordRef,
}

impl CyclesQuery {
    /// Builds the query.
    pub fn new(team: &Id) -> Self {
        let mut transaction = Transaction::on(keys::team(team));
        let limit = u32::try_from(2 * CYCLES_KEPT).unwrap_or(u32::MAX);
        let cycles = transaction.record(keys::cycles(), Read::First { limit, unless_applied: false });
        Self { transaction, cycles }
    }

    /// Returns the starts of the team's cycles, oldest first, in Unix milliseconds.
    pub fn cycle_starts_ms(&self, reply: &Reply) -> Vec<i64> {
        match reply.record(self.cycles) {
            Record::Index(entries) => entries.iter().map(|(start_ms, _)| *start_ms).collect(),
            _ => Vec::new(),
        }
    }
}

/// Query for one page of a cycle's usage rows.
#[derive(Debug)]
pub struct UsageRowsQuery {
    /// The transaction to send.
    pub transaction: Transaction,
    rows: RecordRef,
}

impl UsageRowsQuery {
    /// Builds the query for the page after the row `after`. Empty means the first page.
    pub fn new(team: &Id, cycle_start_ms: i64, after: &str, limit: u32) -> Self {
        let mut transaction = Transaction::on(keys::team(team));
        let read = Read::MembersAfter { member: after.to_owned(), limit };
        let rows = transaction.record(keys::usage_rows(cycle_start_ms), read);
        Self { transaction, rows }
    }

    /// Builds the query for the rows that one trimming transaction removes.
    pub fn to_trim(team: &Id, cycle_start_ms: i64) -> Self {
        Self::new(team, cycle_start_ms, "", ROWS_PER_STEP)
    }

    /// Returns the rows of the page.
    pub fn rows(&self, reply: &Reply) -> Result<Vec<UsageKey>, Damaged> {
        match reply.record(self.rows) {
            Record::Index(entries) => entries.iter().map(|(_, member)| UsageKey::from_member(member)).collect(),
            _ => Ok(Vec::new()),
        }
    }
}

/// Builds the transaction that removes these usage rows of a cycle. If `rows` is empty, no rows are left and it removes
/// the cycle itself.
pub fn remove(team: &Id, cycle_start_ms: i64, rows: &[UsageKey]) -> Transaction {
    let mut transaction = Transaction::on(keys::team(team));
    let mut writes = Vec::new();
    let index = transaction.record(keys::usage_rows(cycle_start_ms), Read::Nothing);
    for row in rows {
        let record = transaction.record(keys::usage_row(cycle_start_ms, &row.member()), Read::Nothing);
        writes.push(Write::Delete(record));
        writes.push(Write::IndexRemove(index, row.member()));
    }
    if rows.is_empty() {
        let account = transaction.record(keys::account(cycle_start_ms), Read::Nothing);
        let charges = transaction.record(keys::charges(cycle_start_ms), Read::Nothing);
        let cycles = transaction.record(keys::cycles(), Read::Nothing);
        writes.extend([
            Write::Delete(account),
            Write::Delete(charges),
            Write::IndexRemove(cycles, day_name(cycle_start_ms)),
        ]);
    }
    transaction.option(Vec::new(), writes);
    transaction
}
