//! Queries, one page at a time: the list of teams, accounts of past cycles, usage rows, charges and audit logs.

use super::{
    Damaged,
    account::Account,
    audit::AuditEntry,
    catalogue,
    charge::ChargeEntry,
    id::Id,
    keys,
    usage::{UsageCounts, UsageKey},
};
use crate::transaction::{Read, Record, RecordRef, Reply, Transaction};

/// Query for a page of the list of all teams.
#[derive(Debug)]
pub struct TeamsQuery {
    /// The transaction to send.
    pub transaction: Transaction,
    registry: RecordRef,
}

impl TeamsQuery {
    /// Builds the query for the page after the team `after`. Empty means the first page.
    pub fn new(after: &str, limit: u32) -> Self {
        let mut transaction = Transaction::on(keys::registry_scope());
        let registry = transaction.record(keys::registry(), Read::MembersAfter { member: after.to_owned(), limit });
        Self { transaction, registry }
    }

    /// Returns the IDs of the teams.
    pub fn ids(&self, reply: &Reply) -> Result<Vec<Id>, Damaged> {
        let Record::Index(entries) = reply.record(self.registry) else { return Ok(Vec::new()) };
        let id = |member: &str| Id::parse(member).map_err(|problem| Damaged::new("teams", problem.to_string()));
        entries.iter().map(|(_, member)| id(member)).collect()
    }
}

/// Query for the account of one cycle.
#[derive(Debug)]
pub struct AccountQuery {
    /// The transaction to send.
    pub transaction: Transaction,
    account: RecordRef,
}

impl AccountQuery {
    /// Builds the query.
    pub fn new(team: &Id, cycle_start_ms: i64) -> Self {
        let mut transaction = Transaction::on(keys::team(team));
        let account = transaction.record(keys::account(cycle_start_ms), Read::Whole);
        Self { transaction, account }
    }

    /// Returns the account. `None` if it has no record.
    pub fn account(&self, reply: &Reply) -> Result<Option<Account>, Damaged> {
        reply.hash(self.account).map(Account::from_fields).transpose()
    }
}

/// Query for the counters of some usage rows.
#[derive(Debug)]
pub struct UsageCountsQuery {
    /// The transaction to send.
    pub transaction: Transaction,
    rows: Vec<RecordRef>,
}

impl UsageCountsQuery {
    /// Builds the query.
    pub fn new(team: &Id, cycle_start_ms: i64, rows: &[UsageKey]) -> Self {
        let mut transaction = Transaction::on(keys::team(team));
        let rows = rows
            .iter()
            .map(|row| transaction.record(keys::usage_row(cycle_start_ms, &row.member()), Read::Whole))
            .collect();
        Self { transaction, rows }
    }

    /// Returns the counters in the order of the rows. `None` stands for rows that were trimmed since their names were
    /// read.
    pub fn counts(&self, reply: &Reply) -> Result<Vec<Option<UsageCounts>>, Damaged> {
        self.rows.iter().map(|row| reply.hash(*row).map(UsageCounts::from_fields).transpose()).collect()
    }
}

/// Query for the charges of several cycles of a team.
#[derive(Debug)]
pub struct ChargesQuery {
    /// The transaction to send.
    pub transaction: Transaction,
    logs: Vec<RecordRef>,
}

impl ChargesQuery {
    /// Builds the query. It reads the entries of the first cycle after `cursor` and all entries of the other cycles, at
    /// most `limit` per cycle.
    pub fn new(team: &Id, cycle_starts_ms: &[i64], cursor: &str, limit: u32) -> Self {
        let mut transaction = Transaction::on(keys::team(team));
        let mut cursor = cursor;
        let logs = cycle_starts_ms
            .iter()
            .map(|start_ms| {
                let read = Read::EntriesAfter { cursor: std::mem::take(&mut cursor).to_owned(), limit };
                transaction.record(keys::charges(*start_ms), read)
            })
            .collect();
        Self { transaction, logs }
    }

    /// Returns the entries of each cycle, each entry with its own cursor.
    pub fn entries(&self, reply: &Reply) -> Result<Vec<Vec<(String, ChargeEntry)>>, Damaged> {
        let entries = |log: &RecordRef| match reply.record(*log) {
            Record::Log(entries) => entries
                .iter()
                .map(|entry| Ok((entry.cursor.clone(), ChargeEntry::from_fields(&entry.fields)?)))
                .collect(),
            _ => Ok(Vec::new()),
        };
        self.logs.iter().map(entries).collect()
    }
}

/// Query for entries of one audit log.
#[derive(Debug)]
pub struct AuditQuery {
    /// The transaction to send.
    pub transaction: Transaction,
    log: RecordRef,
}

impl AuditQuery {
    /// Builds the query for the entries after `cursor` of a team's log, or of the catalogue's if `team` is `None`.
    pub fn new(team: Option<&Id>, cursor: &str, limit: u32) -> Self {
        let mut transaction = Transaction::on(team.map_or_else(catalogue::scope, keys::team));
        let log = transaction.record(keys::audit(), Read::EntriesAfter { cursor: cursor.to_owned(), limit });
        Self { transaction, log }
    }

    /// Returns the entries, each with its own cursor.
    pub fn entries(&self, reply: &Reply) -> Result<Vec<(String, AuditEntry)>, Damaged> {
        let Record::Log(entries) = reply.record(self.log) else { return Ok(Vec::new()) };
        entries.iter().map(|entry| Ok((entry.cursor.clone(), AuditEntry::from_fields(&entry.fields)?))).collect()
    }
}
