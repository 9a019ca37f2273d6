//! Transactions: the language in which the rules tell a store what to do, as one atomic step on the records of one
//! scope.
//!
//! A [`Transaction`] contains all its assumptions. A store carries it out as follows:
//!
//! 1. It checks the preconditions (`require`). If one does not hold, the transaction is *stale*: its author decided on outdated
//!    data. Nothing is written.
//! 2. It applies the first option whose guards hold, completely.
//! 3. If no option's guards hold, the transaction is *refused*. Nothing is written. A refusal is verified against the store like
//!    an applied option.
//!
//! In each case the reply has the store's time and the records as they are then. (The model is the minitransaction of
//! Aguilera et al., *Sinfonia*, SOSP 2007.)
//!
//! This module defines the language only, and `store` implements it. It must not know credits, teams or any store.

mod expression;
mod key;
mod number;
mod reply;

pub use expression::{Linear, Value};
pub use key::{Key, RecordKind, RecordRef, Scope};
pub use number::{NUMBER_LIMIT, parse_stored_number};
pub use reply::{FieldMap, LogEntry, Outcome, Record, Reply};

/// Name of the field with a hash's purge time, in Unix milliseconds. From that time on, the hash counts as absent.
pub const PURGE_AT: &str = "purge_at";

/// One atomic step on the records of one scope.
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction {
    /// The scope of all records of the transaction.
    pub scope: Scope,
    /// The records that the transaction reads or writes. Guards and writes refer to them by [`RecordRef`].
    pub records: Vec<RecordUse>,
    /// The preconditions. If one does not hold, the transaction is stale.
    pub require: Vec<Guard>,
    /// The options, in order of preference. A transaction without options only reads; it is stale or refused.
    pub options: Vec<Choice>,
}

/// A record of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordUse {
    /// Name of the record.
    pub key: Key,
    /// What the reply contains of it.
    pub read: Read,
    /// For a hash: the fields that it starts with. If the hash is absent, guards and writes see these fields, and an
    /// applied option with at least one write creates the hash. Empty if the transaction does not create the hash in
    /// this way.
    pub start: Vec<(&'static str, Value)>,
}

/// What the reply contains of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Nothing.
    Nothing,
    /// The fields of a hash, or the value of a packed record, after the writes.
    Whole,
    /// The entries of an index with the lowest scores.
    First {
        /// Maximum number of entries.
        limit: u32,
        /// Whether to leave the entries out of the reply if an option was applied.
        unless_applied: bool,
    },
    /// The members of an index after a given one, ordered by their bytes. All scores of such an index must be equal.
    MembersAfter {
        /// The member before the first to return. Empty to start with the first member.
        member: String,
        /// Maximum number of entries.
        limit: u32,
    },
    /// The entries of a log after a given one, oldest first.
    EntriesAfter {
        /// The [`LogEntry::cursor`] of the entry before the first to return. Empty to start with the oldest entry.
        cursor: String,
        /// Maximum number of entries.
        limit: u32,
    },
}

/// An option of a transaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// The conditions. The option is applied only if all of them hold.
    pub guards: Vec<Guard>,
    /// The writes, in order. Their values are computed from the fields as they were before the transaction.
    pub writes: Vec<Write>,
}

/// A condition on the records before the transaction, and on the store's time.
///
/// If a guard uses a field that does not exist, the whole transaction is stale. A missing field is never taken for
/// zero. The fields that an absent hash starts with do exist.
#[derive(Clone, Debug, PartialEq)]
pub enum Guard {
    /// The record does not exist. The fields that it starts with do not count.
    Absent(RecordRef),
    /// The record exists. The fields that it starts with do not count.
    Present(RecordRef),
    /// The packed record exists and has exactly this value.
    PackedEquals(RecordRef, String),
    /// The field has exactly this value; a number is compared in its decimal form.
    FieldEquals(RecordRef, &'static str, String),
    /// The expression is at most 0.
    AtMostZero(Linear),
    /// The index has no entry with a score at or below the store's time.
    NothingDue(RecordRef),
    /// The index has no entry with a score above the store's time.
    NothingAhead(RecordRef),
}

/// A change of one record.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Adds to a numeric field of a hash. If the field does not exist, the transaction is stale.
    Add(RecordRef, &'static str, i64),
    /// Adds to a numeric field of a hash. If the hash is absent, does nothing.
    AddIfPresent(RecordRef, &'static str, i64),
    /// Sets a field of a hash. Creates the hash if it is absent.
    Set(RecordRef, &'static str, Value),
    /// Replaces the value of a packed record by the joined parts, and its purge time, in Unix milliseconds. From the
    /// purge time on, the record counts as absent.
    Put(RecordRef, Vec<Value>, Option<Value>),
    /// Removes a hash, a packed record or a whole log. Does nothing if it is absent.
    Delete(RecordRef),
    /// Puts a member with this score into an index, or changes its score.
    IndexPut(RecordRef, String, Value),
    /// Removes a member from an index. Does nothing if it is absent.
    IndexRemove(RecordRef, String),
    /// Appends an entry to a log.
    Append {
        /// The log.
        log: RecordRef,
        /// The fields of the entry.
        fields: Vec<(&'static str, Value)>,
        /// Maximum number of entries to keep; the oldest are removed. `None` keeps all.
        keep: Option<u32>,
    },
}

impl Transaction {
    /// Returns an empty transaction on a scope.
    pub fn on(scope: Scope) -> Self {
        Self { scope, records: Vec::new(), require: Vec::new(), options: Vec::new() }
    }

    /// Takes the contents of the transaction, and leaves an empty one.
    pub fn take(&mut self) -> Self {
        let empty = Self::on(self.scope.clone());
        std::mem::replace(self, empty)
    }

    /// Declares a record.
    pub fn record(&mut self, key: Key, read: Read) -> RecordRef {
        self.starting_record(key, read, Vec::new())
    }

    /// Declares a hash that starts with these fields if it is absent.
    pub fn starting_record(&mut self, key: Key, read: Read, start: Vec<(&'static str, Value)>) -> RecordRef {
        self.records.push(RecordUse { key, read, start });
        RecordRef(self.records.len() - 1)
    }

    /// Sets the fields that a declared hash starts with if it is absent.
    pub fn start(&mut self, record: RecordRef, start: Vec<(&'static str, Value)>) {
        if let Some(used) = self.records.get_mut(record.0) {
            used.start = start;
        }
    }

    /// Adds a precondition. Returns its position, which [`Outcome::Stale`] reports.
    pub fn require(&mut self, guard: Guard) -> usize {
        self.require.push(guard);
        self.require.len() - 1
    }

    /// Adds an option after the others. Returns its position, which [`Outcome::Applied`] reports.
    pub fn option(&mut self, guards: Vec<Guard>, writes: Vec<Write>) -> usize {
        self.options.push(Choice { guards, writes });
        self.options.len() - 1
    }
}
