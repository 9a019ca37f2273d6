//! The language between the rules and the stores: one atomic step on the records of one scope.
//!
//! A [`Transaction`] carries everything it assumes. Its `require` guards are what its author believed: if one fails, the
//! transaction is stale and nothing is applied. Then the first of its options whose guards hold is applied, whole; if none
//! does, it is refused, and that answer is as true as an applied one. (Minitransactions: Aguilera et al., *Sinfonia*,
//! SOSP 2007.) This module owns the words only. It must not know credits, teams or any store; `store` gives them effect.

mod expression;
mod key;
mod number;
mod reply;

pub use expression::{Linear, Value};
pub use key::{Key, RecordKind, RecordRef, Scope};
pub use number::{NUMBER_LIMIT, parse_stored_number};
pub use reply::{FieldMap, LogEntry, Outcome, Record, Reply};

/// The field that makes a hash record a passing one: from that time on, in Unix milliseconds, the record counts as absent.
pub const PURGE_AT: &str = "purge_at";

/// One atomic step on the records of one scope.
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction {
    /// The team, or the global collection, that owns every record named here.
    pub scope: Scope,
    /// Every record that the step reads or writes. Guards and writes name them by [`RecordRef`].
    pub records: Vec<RecordUse>,
    /// What the author believed. The first that fails makes the transaction stale.
    pub require: Vec<Guard>,
    /// Ways to go on, in order of preference. Without any, the transaction only reads, and is refused or stale.
    pub options: Vec<Choice>,
}

/// A record, what of it the reply shall carry, and what it starts as.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordUse {
    /// Which record.
    pub key: Key,
    /// What the reply carries of it.
    pub read: Read,
    /// For a hash: the fields it starts with. While the record is absent, guards and writes see these fields, and an
    /// applied option with at least one write makes the record. Empty means that it does not start here.
    pub start: Vec<(&'static str, Value)>,
}

/// What a reply carries of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Nothing.
    Nothing,
    /// A hash's fields or a packed value, as they are after the step.
    Whole,
    /// The entries of an index with the lowest scores.
    First {
        /// At most so many.
        limit: u32,
        /// Leave them out of the reply if an option was applied.
        unless_applied: bool,
    },
    /// The members of an index that come after one, in the order of their bytes. All scores of such an index are equal.
    MembersAfter {
        /// Exclusive; empty means from the first.
        member: String,
        /// At most so many.
        limit: u32,
    },
    /// The entries of a log that come after one, oldest first.
    EntriesAfter {
        /// A [`LogEntry::cursor`], exclusive; empty means from the first.
        cursor: String,
        /// At most so many.
        limit: u32,
    },
}

/// One way to go on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// All of them have to hold.
    pub guards: Vec<Guard>,
    /// Applied in order, all or none. Values are computed from the fields as they were before the step.
    pub writes: Vec<Write>,
}

/// A condition on the records before the step, and on the store's time.
///
/// A guard on a field of a record that is absent and does not start here, or on a field that the record lacks, makes the
/// whole transaction stale: nothing is ever counted from a silent zero.
#[derive(Clone, Debug, PartialEq)]
pub enum Guard {
    /// The record does not exist (a `start` does not count).
    Absent(RecordRef),
    /// The record exists (a `start` does not count).
    Present(RecordRef),
    /// The packed record exists and has exactly this value.
    PackedEquals(RecordRef, String),
    /// The field has exactly this value; a number is compared in its decimal form.
    FieldEquals(RecordRef, &'static str, String),
    /// The expression is not above 0.
    AtMostZero(Linear),
    /// The index has no entry with a score at or below the store's time.
    NothingDue(RecordRef),
    /// The index has no entry with a score above the store's time.
    NothingAhead(RecordRef),
}

/// A change of one record.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Adds to a numeric field of a hash. On an absent hash that does not start here the transaction is stale.
    Add(RecordRef, &'static str, i64),
    /// The same, and nothing at all if the hash is absent.
    AddIfPresent(RecordRef, &'static str, i64),
    /// Sets a field of a hash, and makes the hash if it is absent.
    Set(RecordRef, &'static str, Value),
    /// Replaces a packed record. With a purge time, in Unix milliseconds, the record counts as absent from then on.
    Put(RecordRef, Vec<Value>, Option<Value>),
    /// Removes a hash, a packed record or a whole log. Nothing happens if it is absent.
    Delete(RecordRef),
    /// Puts a member into an index, with a score, or moves it to that score.
    IndexPut(RecordRef, String, Value),
    /// Takes a member out of an index. Nothing happens if it is absent.
    IndexRemove(RecordRef, String),
    /// Appends an entry to a log; `keep` drops the oldest beyond that many.
    Append {
        /// The log.
        log: RecordRef,
        /// The entry.
        fields: Vec<(&'static str, Value)>,
        /// How many entries stay; `None` keeps all.
        keep: Option<u32>,
    },
}

impl Transaction {
    /// An empty step on one scope.
    pub fn on(scope: Scope) -> Self {
        Self { scope, records: Vec::new(), require: Vec::new(), options: Vec::new() }
    }

    /// The whole step, for a store to carry out; what stays here is empty.
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

    /// A declared hash starts with these fields if it is absent.
    pub fn start(&mut self, record: RecordRef, start: Vec<(&'static str, Value)>) {
        if let Some(used) = self.records.get_mut(record.0) {
            used.start = start;
        }
    }

    /// Adds a belief; its place among them is what [`Outcome::Stale`] reports.
    pub fn require(&mut self, guard: Guard) -> usize {
        self.require.push(guard);
        self.require.len() - 1
    }

    /// Adds the next option; its place among them is what [`Outcome::Applied`] reports.
    pub fn option(&mut self, guards: Vec<Guard>, writes: Vec<Write>) -> usize {
        self.options.push(Choice { guards, writes });
        self.options.len() - 1
    }
}
